"""What every HTTP door does before and after its own protocol: take a body within limits, work off the loop, answer.

The body is counted while it arrives, because its announced length is the sender's word. What is wrong with a request
as HTTP (its size, its type, its pace) leaves as starlette's ``HTTPException``; what is wrong with its content leaves
as an error of ``engram.errors``, and the application turns both into the same shape.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio.to_thread
import orjson
from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from engram.serving.limits import RequestLimits

__all__ = ["answer", "in_thread", "media_type", "read_body"]

_CLOSE = {"Connection": "close"}  # the rest of a body that was refused is not waited for


async def read_body(request: Request, limits: RequestLimits) -> bytes:
    """The body of a request, read until a limit says stop.

    Raises:
        HTTPException: 413 it is longer than allowed, 415 it is compressed, 400 it ended early.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "compressed bodies are not taken; send the body without Content-Encoding", _CLOSE)
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > limits.body:
        raise _too_large(f"{int(announced[:20]):,} bytes long", limits)
    read = bytearray()
    try:
        async for piece in request.stream():
            read += piece
            if len(read) > limits.body:
                raise _too_large("longer than allowed", limits)
    except ClientDisconnect:
        raise HTTPException(400, "the body ended before its announced length; send all of it", _CLOSE) from None
    return bytes(read)


def media_type(request: Request, accepted: tuple[str, ...]) -> str:
    """The type of the body, one of those accepted; the first of them where the request does not say.

    Raises:
        HTTPException: 415 it is another, or JSON in another encoding than UTF-8.
    """
    given = request.headers.get("content-type", "")
    kind, _, parameters = given.partition(";")
    kind = kind.strip().lower() or accepted[0]
    if kind not in accepted:
        wanted = " or ".join(accepted)
        raise HTTPException(415, f"Content-Type {given[:80]!r} is not taken here; send {wanted}", _CLOSE)
    charset = parameters.replace(" ", "").lower().partition("charset=")[2].split(";")[0].strip('"')
    if charset not in {"", "utf-8", "utf8"}:
        raise HTTPException(415, f"charset {charset[:40]!r} is not taken; send JSON in UTF-8", _CLOSE)
    return kind


async def in_thread(work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - of `work`
    """The result of work that blocks, done in a thread so that the event loop goes on."""
    return await anyio.to_thread.run_sync(partial(work, *arguments, **named))


def answer(content: Any, status: int = 200) -> Response:  # noqa: ANN401 - any JSON value
    """A JSON response; NaN and infinities, which JSON does not have, become null."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return Response(body, status, media_type="application/json")


def _too_large(given: str, limits: RequestLimits) -> HTTPException:
    return HTTPException(413, f"the body is {given}, and {limits.body:,} bytes are allowed; send it in parts", _CLOSE)
