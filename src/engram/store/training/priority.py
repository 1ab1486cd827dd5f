"""Letting others go first, for work that nobody waits for."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

__all__ = ["apart", "give_way"]

_LEAST = 19
"""The least urgent there is: a seventieth of a core that the rest of the process wants as well, all of an idle one.
More would show: at 10, a training on all cores takes a fifth longer for its next steps."""


def give_way() -> None:
    """Make this thread, and those it starts, the least urgent from now on, where the system knows how."""
    if sys.platform == "linux":  # elsewhere the number of a thread may be taken for that of a process
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LEAST)


def apart(work: Callable[[], object]) -> None:
    """Do something in a thread that gives way, and wait for it."""
    with ThreadPoolExecutor(1, initializer=give_way) as single:
        single.submit(work).result()
