"""Real servers on real ports, each in a process of its own."""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import httpx
import pytest

PROGRAM = Path(__file__).with_name("served_models.py")


@pytest.fixture(scope="session")
def models() -> ModuleType:
    """The file beside this one, as a module."""
    spec = importlib.util.spec_from_file_location("served_models", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its URL; it is ended whatever happens."""
    command = [sys.executable, str(PROGRAM), *options]
    with (
        tempfile.TemporaryFile("w+") as log,  # a pipe that nobody reads would stop a server that logs much
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            log.seek(0)
            assert url, log.read()
            yield process, url
        finally:
            process.kill()


@pytest.fixture(scope="session")
def start() -> Callable[..., object]:
    """Start a server process of one's own, with limits as ``NAME=NUMBER``."""
    return running


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """One server process with the default limits, for all tests that leave it as it was."""
    with running() as found:
        yield found


@pytest.fixture(scope="session")
def client(server) -> Iterator[httpx.Client]:
    """A client of that server."""
    with httpx.Client(base_url=server[1], timeout=10) as made:
        yield made
