"""A web service on this machine that answers what a test says, and remembers what it was asked."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request: how many came before it, its parameters and its headers."""

    number: int
    said: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Said:
    """One answer; `body` that is no text is sent as JSON, `cut` bytes of it are promised and not sent."""

    body: Any = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0


@contextlib.contextmanager
def serving() -> Iterator[Callable[[Callable[[Asked], Any]], str]]:
    """Give a function that answers requests, and get the address at which it does."""
    servers = []

    def serve(answer: Callable[[Asked], Any]) -> str:
        count = iter(range(1_000_000))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                asked = Asked(
                    next(count), dict(parse_qsl(parts.query)), {k.lower(): v for k, v in self.headers.items()}
                )
                said = answer(asked) if parts.path == "/rows" else Said("no", 404)
                said = said if isinstance(said, Said) else Said(said)
                text = isinstance(said.body, (str, bytes))
                body = said.body if text else json.dumps(said.body)
                body = body.encode() if isinstance(body, str) else body
                self.send_response(said.status)
                given = {"Content-Type": "text/csv" if text else "application/json", **said.headers}
                for name, value in given.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) - said.cut])
                self.close_connection = bool(said.cut)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/rows"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
