"""Programs that serve: how they are found, started, waited for and ended."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60

# Reads until the tests say a word or are gone, however they ended; then the server goes, and its folder.
_WATCH = """
import os, shutil, sys, time
number, ending, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if not sys.stdin.buffer.read(1):
    try:
        os.killpg(number, ending)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            os.killpg(number, 0)
            time.sleep(0.05)
    except ProcessLookupError:
        pass
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
"""


@dataclass(frozen=True)
class Started:
    """A program that runs, with the file that its words go to."""

    process: subprocess.Popen[bytes]
    words: IO[bytes]

    def said(self) -> str:
        self.words.seek(0)
        return self.words.read().decode(errors="replace")[-2000:]


def program(name: str) -> str:
    """The path of a program from PATH, from beside this Python or from the node packages that make test installs."""
    places = [Path(sys.executable).parent, ROOT / ".stamps" / "node" / "node_modules" / ".bin"]
    found = shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip(f"{name} is not installed; make test installs what it can, PostgreSQL comes with the system")
    return found


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: Sequence[str], ready: Callable[[], bool], words: Path, **how: Any) -> Iterator[Started]:
    """A program for as long as the block lasts; its whole process group ends with it."""
    with words.open("w+b") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, **how)
        started = Started(process, file)
        watch = watched(process)
        try:
            wait(started, ready)
            yield started
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            unwatched(watch)


def watched(
    process: subprocess.Popen[bytes], ending: signal.Signals = signal.SIGKILL, folder: Path | str = ""
) -> subprocess.Popen[bytes]:
    """A process that ends a server, and removes its folder, when the tests are killed and cannot."""
    words = [sys.executable, "-S", "-E", "-c", _WATCH, str(process.pid), str(int(ending)), str(folder)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)


def unwatched(watch: subprocess.Popen[bytes]) -> None:
    """Let the watcher go: the server is gone already."""
    watch.communicate(b".")


def wait(started: Started, ready: Callable[[], bool]) -> None:
    """Return when a program is ready; fail with its own words where it ended or never is."""
    until = time.monotonic() + PATIENCE_S
    while not ready():
        if started.process.poll() is not None or time.monotonic() > until:
            pytest.fail(f"{started.process.args} did not come up: {started.said()}")
        time.sleep(0.05)


def answers(port: int) -> bool:
    """Whether somebody accepts connections at a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
