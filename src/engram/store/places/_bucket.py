"""Requests to a bucket: the only user of obstore's functions.

What a server says is not taken on trust: what comes back is measured against the size that the server itself names, and
what may pass is tried again, within bounds, where obstore does not do so by itself.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from engram.errors import StoreError
from engram.store.places._contract import check_size
from engram.store.places._refusals import Kind, absent, passes, sentence, unsatisfiable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

__all__ = ["PART", "PATIENCE", "Bucket", "Patience"]

PART = 8 << 20
_PARTS_AT_ONCE = 4
_RANGES_AT_ONCE = 8
_LISTED_AT_ONCE = 1000
_ATTEMPTS = 4
_PAUSE = 0.1
_WRITER = "engramwriter"  # Azure takes no name that is no identifier


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server may take, each in seconds.

    Attributes:
        connect: until it accepts a connection.
        stall: until it has taken a request and answers, and between two pieces of an answer.
        request: for one request with its answer; 8 MB of a blob at most.
        retries: from when a request was first made, until no further attempt is made at it.
    """

    connect: float = 5.0
    stall: float = 60.0
    request: float = 300.0
    retries: float = 30.0

    def client(self) -> ClientConfig:
        """The same for obstore; whoever names an address with http:// is taken to mean it."""
        return {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=self.connect),
            "read_timeout": timedelta(seconds=self.stall),
            "timeout": timedelta(seconds=self.request),
        }

    def retry(self) -> RetryConfig:
        """The same for obstore."""
        return {
            "max_retries": 8,
            "retry_timeout": timedelta(seconds=self.retries),
            "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2},
        }


PATIENCE = Patience()


@cache
def _process() -> int:
    """The process that first asked a server for something; its threads do not come along into a fork."""
    return os.getpid()


class Bucket:
    """Objects under a prefix of a bucket, by their names below it; every method raises ``StoreError``.

    Attributes:
        url: of the bucket and the prefix.
    """

    def __init__(self, url: str, kind: Kind, connect: Callable[[], ObjectStore], patience: Patience) -> None:
        self.url = url
        self._kind = kind
        self._patience = patience
        with self._sentences("reach", ""):
            self._store = connect()

    def size(self, name: str) -> int:
        """The bytes of an object; -1 if there is none."""
        with self._sentences("read", name):
            try:
                return int(obstore.head(self._store, name)["size"])
            except FileNotFoundError as refused:
                if absent(refused):
                    return -1
                raise

    def read(self, name: str, start: int = 0, stop: int = sys.maxsize) -> bytes:
        """The bytes of an object that does not change; many parts of a large one are on their way at a time."""
        with self._sentences("read", name):
            first, size = self._part(name, start, min(stop, start + PART))
            stop = min(stop, size)
            cuts = range(start + PART, stop, PART)
            if not cuts:
                return first
            with ThreadPoolExecutor(_RANGES_AT_ONCE) as pool:
                rest = pool.map(lambda cut: self._part(name, cut, min(cut + PART, stop))[0], cuts)
                return b"".join([first, *rest])

    def parts(self, name: str) -> Iterator[bytes]:
        """The same, a part after the other; a few of those that come next are on their way meanwhile."""
        with self._sentences("read", name):
            first, size = self._part(name, 0, PART)
        yield first
        cuts = iter(range(PART, size, PART))
        pool, coming = ThreadPoolExecutor(_RANGES_AT_ONCE), deque[Future[tuple[bytes, int]]]()
        try:
            for cut in itertools.islice(cuts, _RANGES_AT_ONCE):
                coming.append(pool.submit(self._part, name, cut, cut + PART))
            while coming:
                with self._sentences("read", name):
                    part, _ = coming.popleft().result()
                for cut in itertools.islice(cuts, 1):
                    coming.append(pool.submit(self._part, name, cut, cut + PART))
                yield part
        finally:
            pool.shutdown(cancel_futures=True)

    def whole(self, name: str, most: int) -> bytes:
        """The bytes of an object that may be replaced meanwhile, those before or those after, if it has few enough."""
        with self._sentences("read", name):
            answer = obstore.get(self._store, name)
            size = check_size(f"{self.url}/{name}", int(answer.meta["size"]), most)
            return self._measured(name, bytes(answer.bytes()), size)

    def write(self, name: str, content: bytes) -> None:
        """Make or replace an object."""
        with self._sentences("write", name):
            obstore.put(self._store, name, content, use_multipart=False)

    def upload(self, name: str, pieces: Iterable[memoryview]) -> None:
        """Make an object from pieces of at most ``PART`` bytes, several of which are on their way at a time.

        If the pieces raise, or a part does not arrive, the upload is aborted.
        """
        sent = 0

        def counted() -> Iterator[memoryview]:
            nonlocal sent
            for piece in pieces:
                sent += len(piece)
                yield piece

        with self._sentences("write", name):
            obstore.put(
                self._store, name, counted(), use_multipart=True, chunk_size=PART, max_concurrency=_PARTS_AT_ONCE
            )
        if (size := self.size(name)) != sent:
            self.delete(name)
            raise StoreError(f"{self.url}/{name} was sent {sent} bytes and has {size}; try again, or another server")

    def create(self, name: str, content: bytes) -> bool:
        """Make an object unless it is there.

        It is marked with who made it: an attempt whose answer was lost would otherwise make the next one believe that
        somebody else was first.
        """
        mark = {_WRITER: token_hex(16)}
        with self._sentences("write", name):
            for failed in self._attempts():
                try:
                    obstore.put(self._store, name, content, mode="create", attributes=mark, use_multipart=False)
                except AlreadyExistsError:
                    return self._attributes(name).get(_WRITER) == mark[_WRITER]
                except BaseError as refused:
                    failed(refused)
                else:
                    return True
        raise AssertionError("the last attempt returns or raises")

    def delete(self, name: str) -> None:
        """Remove an object; harmless if there is none."""
        with self._sentences("remove", name):
            for failed in self._attempts():
                try:
                    obstore.delete(self._store, name)
                except FileNotFoundError as refused:
                    if not absent(refused):
                        raise
                    break
                except BaseError as refused:
                    failed(refused)
                else:
                    break

    def list(self, folder: str, after: str = "") -> Iterator[tuple[str, int]]:
        """The names below a folder that come after another, with their sizes, a page of them at a time."""
        with self._sentences("list", folder):
            for failed in self._attempts():
                pages = obstore.list(self._store, folder, offset=after or None, chunk_size=_LISTED_AT_ONCE)
                try:
                    for entry in itertools.chain.from_iterable(pages):
                        after = entry["path"]
                        yield after, int(entry["size"])
                except BaseError as refused:
                    failed(refused)
                else:
                    return

    def top(self) -> tuple[Sequence[str], Sequence[str]]:
        """The names that are in no folder, and the folders."""
        with self._sentences("list", ""):
            for failed in self._attempts():
                try:
                    seen = obstore.list_with_delimiter(self._store)
                except BaseError as refused:
                    failed(refused)
                else:
                    return [entry["path"] for entry in seen["objects"]], list(seen["common_prefixes"])
        raise AssertionError("the last attempt returns or raises")

    def _part(self, name: str, start: int, stop: int) -> tuple[bytes, int]:
        """The bytes of a range as far as there are any, and the size of the whole object."""
        if stop <= start:
            return b"", stop
        try:
            answer = obstore.get(self._store, name, options={"range": (start, stop)})
        except BaseError as refused:
            if unsatisfiable(refused):  # also what an empty object answers
                return b"", start
            raise
        size = int(answer.meta["size"])
        return self._measured(name, bytes(answer.bytes()), min(stop, size) - start), size

    def _measured(self, name: str, content: bytes, size: int) -> bytes:
        if len(content) != size:
            raise StoreError(
                f"the store cannot read {self.url}/{name}: {len(content)} of {size} bytes came; try again, and if it "
                f"stays so, run engram verify"
            )
        return content

    def _attributes(self, name: str) -> Mapping[Any, Any]:
        """What an object was marked with; nothing where it is gone meanwhile."""
        try:
            return obstore.get(self._store, name, options={"head": True}).attributes
        except FileNotFoundError:
            return {}

    def _attempts(self) -> Iterator[Callable[[BaseError], None]]:
        """Turns at a request that obstore makes only once; each is told of its failure, and the last one raises it."""
        until = time.monotonic() + self._patience.retries
        for attempt in range(_ATTEMPTS):

            def failed(refused: BaseError, attempt: int = attempt) -> None:
                if attempt == _ATTEMPTS - 1 or not passes(refused) or time.monotonic() > until:
                    raise refused
                time.sleep(_PAUSE * 2**attempt)

            yield failed

    @contextmanager
    def _sentences(self, verb: str, name: str) -> Iterator[None]:
        if os.getpid() != _process():
            raise StoreError(
                f"{self.url} cannot be asked from a forked process once its parent did, where the threads that talk to "
                "the server stayed; start processes with spawn"
            )
        try:
            yield
        except (BaseError, FileNotFoundError) as refused:
            if isinstance(refused, FileNotFoundError) and not absent(refused):
                raise  # not obstore's: whoever makes the bytes to be written read them from a file
            raise sentence(self._kind, verb, f"{self.url}/{name}".rstrip("/"), refused) from refused
        except BaseException as odd:
            if type(odd).__name__ != "PanicException":  # what obstore makes of an address that is none
                raise
            raise sentence(self._kind, verb, f"{self.url}/{name}".rstrip("/"), odd) from odd
