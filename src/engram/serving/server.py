"""The application behind a real port: one uvicorn process with the defaults a stranger cannot misuse.

The port is bound here and without ``SO_REUSEPORT``, because two servers that both set it share a port silently and
each answers half of the requests.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from engram.errors import UsageError
from engram.serving.connection import connection
from engram.serving.limits import RequestLimits

__all__ = ["bind", "serve"]

_BACKLOG = 2048
_LAST_PORT = 65_535


def serve(
    application: FastAPI,
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    ready: Callable[[str], None] | None = None,
    limits: RequestLimits | None = None,
) -> None:
    """Answer requests until SIGTERM or Ctrl-C; requests in flight are finished first.

    Args:
        application: as ``serving.application`` makes it.
        host: address to listen on; the default is reachable from this machine only.
        port: 0 picks a free one.
        ready: called once with the URL, when the server listens.
        limits: of connections; those of bodies belong to the application's data plane.

    Raises:
        UsageError: the port is in use or may not be bound, or the host is not an address of this machine.
    """
    allowed = limits or RequestLimits()
    listener = bind(host, port)
    configuration = uvicorn.Config(
        application,
        http=connection(allowed),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=allowed.grace,
        backlog=_BACKLOG,
    )
    with listener, _quiet_signals():
        _Server(configuration, lambda: ready(_url(listener)) if ready else None).run(sockets=[listener])


def bind(host: str, port: int) -> socket.socket:
    """A socket that has this address for itself, not yet listening.

    Raises:
        UsageError: the address cannot be had; the message says why and what to do.
    """
    if not 0 <= port <= _LAST_PORT:
        raise UsageError(f"port {port} does not exist; choose one from 1 to {_LAST_PORT}, or 0 for a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise UsageError(f"host {host!r} is not an address of this machine; use 127.0.0.1 or 0.0.0.0") from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as refused:
        listener.close()
        raise UsageError(_reason(refused, host, port)) from None
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


@contextlib.contextmanager
def _quiet_signals() -> Iterator[None]:
    """After a graceful stop uvicorn raises the signal again, which would end the process as if it had failed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, lambda *_: None) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _reason(refused: OSError, host: str, port: int) -> str:
    number = refused.errno
    if number == errno.EADDRINUSE:
        return f"port {port} on {host} is in use by another program; choose another port, or 0 for a free one"
    if number == errno.EACCES:
        return f"port {port} on {host} needs privileges; choose one from 1024 to 65535, or 0 for a free one"
    if number == errno.EADDRNOTAVAIL:
        return f"host {host!r} is not an address of this machine; use 127.0.0.1 or 0.0.0.0"
    return f"port {port} on {host} cannot be used ({refused}); choose one from 1 to 65535, or 0 for a free one"


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
