"""Which checkpoints of a run are held, in words that a reader of the pipeline file understands at once.

``last 3, best, every 10th``: a checkpoint is held as long as one of the clauses speaks for it. The last one is held
whatever the words say, because without it there is nothing to go on from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from engram.errors import UnknownName, UsageError
from engram.plugins import nearest

__all__ = ["USUAL", "Countable", "Retention", "parse"]

_LAST = re.compile(r"last(?:\s+(\d{1,9}))?")
_EVERY = re.compile(r"every\s+(\d{1,9})(?:st|nd|rd|th)?")
_WORDS = ("all", "best", "every 10th", "last 2")
_ENDINGS: Mapping[int, str] = {1: "st", 2: "nd", 3: "rd"}


class Countable(Protocol):
    """What retention looks at in a checkpoint: whether it is the best of its run, and its number within it."""

    @property
    def best(self) -> bool:
        """Whether it is the best of its run so far."""
        ...

    @property
    def number(self) -> int:
        """Counted from 1 within the run; 0 where nobody counted."""
        ...


@dataclass(frozen=True, slots=True)
class Retention:
    """Which checkpoints of a run are held.

    Attributes:
        last: so many of the newest.
        best: the best so far.
        every: each whose number within the run is a multiple of this; 0 for none.
        all: every one, whatever the others say.
    """

    last: int = 1
    best: bool = False
    every: int = 0
    all: bool = False

    def __str__(self) -> str:
        """The words, as ``parse`` reads them."""
        if self.all:
            return "all"
        words = [f"last {self.last}"]
        words += ["best"] if self.best else []
        words += [f"every {self.every}{_ending(self.every)}"] if self.every else []
        return ", ".join(words)

    def held(self, checkpoints: Sequence[Countable]) -> list[bool]:
        """Which of a run's checkpoints, the newest first, are held."""
        return [self._holds(place, checkpoint) for place, checkpoint in enumerate(checkpoints)]

    def _holds(self, place: int, checkpoint: Countable) -> bool:
        tenth = self.every and checkpoint.number and checkpoint.number % self.every == 0
        return bool(self.all or place < self.last or (self.best and checkpoint.best) or tenth)


USUAL = Retention(last=2, best=True)
"""Where nothing is said: the last two, of which one may be damaged when a disk fails, and the best."""


def parse(words: str) -> Retention:
    """The retention that these words mean; empty means what is usual.

    Args:
        words: clauses with commas between: ``last N``, ``best``, ``every Nth``, ``all``.

    Raises:
        UnknownName: a clause is none of these; the message gives the nearest.
        UsageError: a number is 0, or a clause stands twice.
    """
    if not words.strip():
        return USUAL
    said: dict[str, int] = {}
    for clause in (part.strip().lower() for part in words.split(",")):
        name, count = _clause(clause, words)
        if name in said:
            raise UsageError(f"hold = {words!r} is refused: {name!r} stands twice; say it once")
        said[name] = count
    return Retention(max(said.get("last", 1), 1), "best" in said, said.get("every", 0), "all" in said)


def _clause(clause: str, words: str) -> tuple[str, int]:
    """The name of a clause and the number in it."""
    if clause in {"all", "best"}:
        return clause, 1
    for name, pattern in (("last", _LAST), ("every", _EVERY)):
        if found := pattern.fullmatch(clause):
            count = int(found[1] or 1)
            if not count:
                raise UsageError(f"hold = {words!r} is refused: {clause!r} counts from 1")
            return name, count
    raise UnknownName(
        f"hold = {words!r} is refused: {clause!r} is no rule; {nearest(clause, _WORDS)} (clauses are last N, best, "
        "every Nth and all, with commas between)"
    )


def _ending(count: int) -> str:
    return "th" if count // 10 % 10 == 1 else _ENDINGS.get(count % 10, "th")
