"""A connection that does not wait for ever and does not guess.

uvicorn's own leaves slow, half-open connections open, lets headers grow without end, and takes a request that gives
its length twice (``Content-Length`` beside ``Transfer-Encoding``), which two servers in a row may cut differently.
This is its protocol class with a clock, a count and that one refusal added.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from engram.serving.limits import RequestLimits

__all__ = ["connection"]


def connection(limits: RequestLimits) -> type[asyncio.Protocol]:
    """The protocol class of a server with these limits, as uvicorn takes it."""
    return type("LimitedConnection", (_Connection,), {"limits": limits})


class _Connection(HttpToolsProtocol):
    limits: RequestLimits

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **named)
        self._clock: asyncio.TimerHandle | None = None
        self._head = 0
        self._in_head = True
        self._too_many = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._too_many = len(self.connections) > self.limits.connections
        self._wait("the request's head")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head += len(data)
        super().data_received(data)
        if not self._in_head or self._head == 0 or self.transport.is_closing():
            return
        if self._head > self.limits.head:
            self._refuse(431, f"the request's head is longer than {self.limits.head:,} bytes; send fewer headers")
        elif self._clock is None:  # line ends between two requests begin no message
            self._wait("the request's head")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._wait("the request's head")

    def on_headers_complete(self) -> None:
        self._in_head, self._head = False, 0
        if self.transport.is_closing():
            return
        names = [name for name, _ in self.headers]
        if names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
            self._refuse(400, "the request gives its length twice; send Content-Length or Transfer-Encoding, once")
        elif self._too_many:
            self._refuse(503, f"{self.limits.connections:,} connections are open, and no more are allowed; try later")
        else:
            self._wait("the request's body")
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop()
        self._in_head = True
        if not self.transport.is_closing():
            super().on_message_complete()

    def _wait(self, part: str) -> None:
        self._stop()
        self._clock = self.loop.call_later(self.limits.seconds, self._late, part)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _late(self, part: str) -> None:
        self._clock = None
        if self.transport.is_closing():
            return
        answering = self._in_head and self.cycle is not None and not self.cycle.response_complete
        if answering or self.pipeline:  # then the client waits for us and not we for the client
            self._wait(part)
        else:
            self._refuse(408, f"{part} did not arrive within {self.limits.seconds:g} s; send it faster")

    def _refuse(self, status: int, sentence: str) -> None:
        self._stop()
        content = orjson.dumps({"error": sentence})
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(content)
        self.transport.write(STATUS_LINE[status] + head + content)
        self.transport.close()
