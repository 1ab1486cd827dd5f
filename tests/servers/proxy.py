"""A server between a client and a real one that misbehaves on request.

Nothing here knows what the real server speaks; a fault is something that networks and overloaded servers do to any
HTTP exchange. ``lost`` is the mean one: the request was carried out and its answer never arrives.
"""

import contextlib
import http.client
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Self
from urllib.parse import urlsplit

FAULTS = ("500", "503", "half", "stall", "stall-half", "reset", "lost")
_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your rate.</Message></Error>"
_BROKEN = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We are sorry.</Message></Error>"
_OWN = {"transfer-encoding", "connection", "keep-alive", "content-length", "date", "server"}


@dataclass
class Fault:
    """Which requests a fault meets, counted from when it was set.

    Attributes:
        kind: one of ``FAULTS``.
        on: numbers of requests, from 1; empty for all of them.
        chance: of meeting a request that ``on`` lets through.
        methods: only requests of these; empty for all.
        seed: of the draws.
    """

    kind: str
    on: frozenset[int] = frozenset()
    chance: float = 1.0
    methods: frozenset[str] = frozenset()
    seed: int = 0
    seen: int = 0

    def __post_init__(self) -> None:
        assert self.kind in FAULTS, self.kind
        self._draws = random.Random(self.seed)

    def meets(self, method: str) -> bool:
        if self.methods and method not in self.methods:
            return False
        self.seen += 1
        return (not self.on or self.seen in self.on) and self._draws.random() < self.chance


@dataclass
class Request:
    """What a client asked, and what became of it; headers may be changed before they go on."""

    method: str
    path: str
    headers: dict[str, str]
    fault: str = ""


@dataclass
class Proxy:
    """A proxy that is up for as long as its block lasts.

    Attributes:
        upstream: the address of the real server.
        before: may change a request before it goes on.
        after: may change the answer's headers before they go back.
        requests: what was asked so far.
    """

    upstream: str
    before: Callable[[Request], None] = lambda _: None
    after: Callable[[dict[str, str]], None] = lambda _: None
    requests: list[Request] = field(default_factory=list)
    _fault: Fault | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ending: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def faulty(self, kind: str, **which: object) -> Iterator[Fault]:
        """Misbehave within the block: ``faulty("reset", on=frozenset({3}))``, ``faulty("503", chance=0.3, seed=7)``."""
        fault = Fault(kind, **which)  # type: ignore[arg-type]
        with self._lock:
            self._fault = fault
        try:
            yield fault
        finally:
            with self._lock:
                self._fault = None

    def note(self, request: Request) -> str:
        """Write a request down and say which fault meets it; empty for none."""
        with self._lock:
            request.fault = self._fault.kind if self._fault and self._fault.meets(request.method) else ""
            self.requests.append(request)
            return request.fault

    def hold(self, connection: socket.socket) -> None:
        """Say nothing until the client gives up or the proxy ends."""
        connection.settimeout(0.1)
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                if connection.recv(65536) == b"":
                    return
            time.sleep(0)


class _Handler(BaseHTTPRequestHandler):
    """One connection: each request goes on over a connection of its own."""

    proxy: ClassVar[Proxy]
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing: tests read what was asked from ``Proxy.requests``."""

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
        fault = self.proxy.note(request)
        with contextlib.suppress(OSError):
            if fault in {"500", "503"}:
                self._answer(int(fault), {"content-type": "application/xml"}, _SLOW_DOWN if fault == "503" else _BROKEN)
            elif fault == "stall":
                self._stall()
            elif fault == "reset":
                self._reset()
            else:
                self._pass_on(request, body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815 - the words of http.server

    def _pass_on(self, request: Request, body: bytes, fault: str) -> None:
        self.proxy.before(request)
        upstream = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc, timeout=60)
        try:
            upstream.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name not in _OWN - {"date"}:
                    upstream.putheader(name, value)
            upstream.putheader("content-length", str(len(body)))
            upstream.endheaders(body)
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        headers = {k.lower(): v for k, v in answer.getheaders()}
        self.proxy.after(headers)
        if fault == "lost":
            self._reset()
        else:
            self._answer(answer.status, headers, content, fault)

    def _answer(self, status: int, headers: dict[str, str], content: bytes, fault: str = "") -> None:
        length = headers.get("content-length", "0") if self.command == "HEAD" else str(len(content))
        self.send_response_only(status)
        for name, value in headers.items():
            if name not in _OWN - {"date", "server"}:
                self.send_header(name, value)
        if status != http.HTTPStatus.NO_CONTENT:
            self.send_header("content-length", length)
        half = fault in {"half", "stall-half"} and len(content) > 0
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if half else content)
        self.wfile.flush()
        if half and fault == "stall-half":
            self._stall()
        elif half:
            self.close_connection = True

    def _stall(self) -> None:
        self.proxy.hold(self.connection)
        self.close_connection = True

    def _reset(self) -> None:
        """End the connection with an RST, as a machine does that was switched off and on."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
