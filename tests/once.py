"""What takes seconds to make and nobody changes is made once in a run, whichever of its workers comes first."""

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["once"]


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder for the whole run.

    Args:
        factory: of this worker.
        name: of the folder; the same everywhere.
        make: fills an empty folder; whoever comes second waits for it.
    """
    base = factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / name).exists():
            part = Path(tempfile.mkdtemp(dir=shared, prefix=f"{name}."))
            make(part)
            part.rename(shared / name)
    return shared / name
