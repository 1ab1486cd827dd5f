"""Ctrl-C, made into a question that long work asks itself between two steps.

A signal that interrupts at any instruction would leave a step half done; asked between steps, the same signal leaves a
checkpoint. Only the main thread can hear signals, so elsewhere nothing is changed and nothing is heard.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["halting"]


@contextmanager
def halting(
    told: Callable[[], None] = lambda: None, signals: tuple[signal.Signals, ...] = (signal.SIGINT,)
) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed while what is inside runs: once stops at the next step, twice at once.

    Args:
        told: called at the first one.
        signals: those that mean the same as Ctrl-C.

    Raises:
        KeyboardInterrupt: the second time.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = False

    def press(_number: int, _frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        told()

    before = {number: signal.signal(number, press) for number in signals}
    try:
        yield lambda: pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
