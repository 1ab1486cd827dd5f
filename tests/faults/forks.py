"""Processes made by fork, so that sixteen of them, or a thousand one after the other, take seconds."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["forked", "told"]


@contextmanager
def forked(work: Callable[[Callable[[object], None]], None]) -> Iterator[tuple[int, int]]:
    """A process that does the work; what it tells comes as lines of JSON through the pipe."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            work(lambda said: os.write(writer, json.dumps(said).encode() + b"\n") and None)
            code = 0
        except BaseException:  # noqa: BLE001 - nothing else would show it
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    try:
        yield child, reader
    finally:
        os.close(reader)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def told(reader: int) -> list[object]:
    """All that a process has told when it is gone."""
    content = b""
    while piece := os.read(reader, 65_536):
        content += piece
    return [json.loads(line) for line in content.decode().splitlines()]
