"""Requests to a web service: slowly enough, again where it helps, and not for ever.

A service that is busy (429) or fails (5xx), and a connection that breaks, are tried again with pauses that double; any
other refusal will be the same the next time. A redirection is not followed: it could carry the token to a stranger.
"""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from engram.errors import DataError, MissingLibrary

if TYPE_CHECKING:
    from httpx import Response

__all__ = ["Asker", "Manner"]

_PAUSE = 0.5
_LONGEST = 60.0
_LARGEST = 256 << 20
_BUSY = 429
_REASONS = {
    401: "it refuses the login; set ENGRAM_DATA_TOKEN, or the variable that token in [data] names",
    403: "it refuses access; check the token and its rights",
    404: "there is nothing at this address; check from in [data]",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How a service is asked.

    Attributes:
        headers: with every request; they may hold a token.
        rate: requests a second, 0 for no limit.
        tries: attempts at one page.
        timeout: of an answer, in seconds.
        wait: how a pause is made.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    rate: float = 0.0
    tries: int = 5
    timeout: float = 60.0
    wait: Callable[[float], None] = time.sleep


class Asker:
    """A service that is asked, over one connection."""

    def __init__(self, manner: Manner, home: str) -> None:
        try:
            import httpx
        except ModuleNotFoundError:
            raise MissingLibrary(
                "data source 'http' needs httpx, which is not installed; pip install 'engram[http]'"
            ) from None
        self._httpx, self._manner, self._home = httpx, manner, home
        self._client = httpx.Client(
            headers={"Accept": "application/json, text/csv;q=0.9", **manner.headers}, timeout=manner.timeout
        )
        self._last = -1e9

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, address: str, title: str) -> Response:
        """The answer, whole.

        Args:
            address: on the service.
            title: what messages call it.

        Raises:
            DataError: the service refuses or fails, or sends less than it says.
        """
        self._at_home(address, title)
        for attempt in range(1, self._manner.tries + 1):
            self._slowly()
            pause = min(_PAUSE * 2 ** (attempt - 1), _LONGEST) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
            try:
                response = self._got(address, title)
            except self._httpx.TransportError as broken:
                why = _broken(broken)
            except self._httpx.InvalidURL as wrong:
                raise DataError(f"{title}: {address!r} is no address ({wrong})") from None
            else:
                if response.is_success:
                    return response
                why = f"it answers {response.status_code}"
                if response.status_code != _BUSY and response.status_code < 500:
                    raise DataError(f"{title}: {_refused(response)}")
                pause = _asked(response, pause)
            if attempt < self._manner.tries:
                self._manner.wait(pause)
        count = "1 attempt" if self._manner.tries == 1 else f"{self._manner.tries} attempts"
        raise DataError(
            f"{title} does not come, after {count} ({why}); try again later, and say rate or tries in [data]"
        )

    def _got(self, address: str, title: str) -> Response:
        with self._client.stream("GET", address) as response:
            pieces, size = [], 0
            for piece in response.iter_bytes():
                size += len(piece)
                if size > _LARGEST:
                    raise DataError(f"{title} has more than {_LARGEST >> 20} MB; ask for pages with limit in [data]")
                pieces.append(piece)
        return self._httpx.Response(
            response.status_code,
            headers=[(k, v) for k, v in response.headers.items() if k not in {"content-encoding", "content-length"}],
            content=b"".join(pieces),
            request=response.request,
        )

    def _at_home(self, address: str, title: str) -> None:
        parts = urlsplit(address)
        if f"{parts.scheme}://{parts.netloc}" != self._home:
            raise DataError(
                f"{title} would be at {parts.scheme}://{parts.netloc}, another service than {self._home}, which is not"
                " asked; give its address in from"
            )

    def _slowly(self) -> None:
        if self._manner.rate:
            self._manner.wait(max(0.0, self._last + 1 / self._manner.rate - time.monotonic()))
            self._last = time.monotonic()


def _broken(error: Exception) -> str:
    kind = type(error).__name__
    if "Timeout" in kind:
        return "it does not answer in time"
    if kind == "ConnectError":
        return "it cannot be reached"
    return f"the answer breaks off: {error}" if str(error) else "the answer breaks off"


def _refused(response: Response) -> str:
    if response.is_redirect:
        return f"it has moved to {response.headers.get('location', '')[:200]}; give that address in from"
    said = " ".join(response.text.split())[:120]
    reason = _REASONS.get(response.status_code, "it refuses; check the address and the parameters")
    return f"it answers {response.status_code}{f' ({said})' if said else ''}: {reason}"


def _asked(response: Response, pause: float) -> float:
    """The pause that a service asks for with ``Retry-After`` (seconds, or a date), a minute at most; else ours."""
    said = response.headers.get("retry-after", "")
    if said.isdigit():
        return min(float(said), _LONGEST)
    try:
        moment = email.utils.parsedate_to_datetime(said).timestamp()
    except (TypeError, ValueError):
        return pause
    return min(max(moment - time.time(), 0.0), _LONGEST)
