"""A PostgreSQL server of its own that may be stopped hard and started again.

Its data are flushed as in production, because what a test asks is whether an acknowledged commit is still there.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from servers.processes import PATIENCE_S, Started, free_port, program, unwatched, wait, watched

_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


@dataclass
class Server:
    """A database server at a free port of this machine that trusts whoever can connect.

    Attributes:
        folder: its data and its words.
        port: where it listens.
        url: ``postgresql://…`` of the database that is always there.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    _started: Started | None = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
        return self.url.removesuffix("postgres") + name

    def start(self) -> None:
        """Start it and return when it accepts connections, recovered from however it ended."""
        assert self._started is None
        listens = ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        words = (self.folder / "words").open("w+b")
        process = subprocess.Popen(
            [program("postgres"), "-D", str(self.folder / "data"), *listens, "-c", "max_connections=200"],
            stdout=words,
            stderr=words,
            start_new_session=True,
            cwd=self.folder,
            **_somebody(),
        )
        self._started = Started(process, words)
        self._watch = watched(process, signal.SIGQUIT, self.folder)
        wait(self._started, self._accepts)

    def stop(self, mode: str = "fast") -> None:
        """End it: ``fast`` in order, ``immediate`` without a checkpoint, ``kill`` as if the machine had no time to."""
        if self._started is None:
            return
        process = self._started.process
        if mode == "kill":
            _kill(process.pid)
        else:
            process.send_signal(_SIGNALS[mode])
        process.wait(PATIENCE_S)
        unwatched(self._watch)
        self._started.words.close()
        self._started = None

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextlib.contextmanager
def postgresql(folder: Path | None = None) -> Iterator[Server]:
    """A server that runs, and is gone with its data when the block ends.

    Args:
        folder: an empty one where another user may go; one under the system's temporary folder if not given.
    """
    place = Path(tempfile.mkdtemp(prefix="engram-postgresql-", dir=folder))
    server = Server(place)
    try:
        _make(place)
        server.start()
        yield server
    finally:
        server.stop("kill")
        shutil.rmtree(place, ignore_errors=True)


def _kill(number: int) -> None:
    """End the server and what it started, each of which has a process group of its own, before any can react."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGSTOP)
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        for child in [*map(int, children), number]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _make(place: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(place, user=_user(), group=_user())
    made = subprocess.run(
        [
            program("initdb"),
            "-D",
            str(place / "data"),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "-N",
        ],
        capture_output=True,
        check=False,
        cwd=place,
        **_somebody(),
    )
    if made.returncode:
        pytest.fail(f"initdb: {made.stderr.decode()}")


def _somebody() -> dict[str, Any]:
    """PostgreSQL refuses to run as root; this user has no rights worth mentioning."""
    return {"user": _user(), "group": _user(), "extra_groups": []} if os.geteuid() == 0 else {}


def _user() -> str:
    return "postgres" if Path("/etc/passwd").read_text().find("\npostgres:") >= 0 else "nobody"
