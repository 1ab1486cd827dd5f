"""A NATS server with JetStream, and streams that tests fill."""

import asyncio
import contextlib
import json
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from servers.processes import PATIENCE_S, Started, free_port, program, unwatched, wait, watched


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Callable[[Sequence[Any]], str]]:
    """Give messages (bytes as they are, all else as JSON), and get the address of a stream that holds them."""
    nats = pytest.importorskip("nats")
    port, words = free_port(), (folder / "words").open("w+b")
    command = [program("nats-server"), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)]
    process = subprocess.Popen(command, stdout=words, stderr=words, start_new_session=True)
    guard = watched(process, signal.SIGTERM, folder)
    wait(Started(process, words), lambda: b"Server is ready" in (folder / "words").read_bytes())
    count = iter(range(1_000_000))

    async def fill(name: str, messages: Sequence[Any]) -> None:
        client = await nats.connect(f"nats://127.0.0.1:{port}")
        stream = client.jetstream()
        await stream.add_stream(name=name, subjects=[f"{name}.*"])
        for message in messages:
            body = message if isinstance(message, bytes) else json.dumps(message).encode()
            await stream.publish(f"{name}.new", body)
        await client.close()

    def make(messages: Sequence[Any]) -> str:
        name = f"rows{next(count)}"
        asyncio.run(fill(name, messages))
        return f"nats://127.0.0.1:{port}/{name}.new"

    yield make
    process.terminate()
    process.wait(PATIENCE_S)
    unwatched(guard)
    words.close()
