"""Where an alias stands after all its moves: how far back a rollback leads, and what an undo brings back.

The log tells everything and is only read: a rollback leads to the step before, which leaves the later ones out for good
unless an undo follows, as the pages of a browser are. So no rollback leads to a version that was rolled back,
unless it is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engram.records import Move

__all__ = ["UNMET", "Step", "stand"]

UNMET = "-unmet"
"""At the end of the kind of a step back to a version that does not meet what protects the alias."""


@dataclass(frozen=True, slots=True)
class Step:
    """A target of an alias, and the step that a rollback from here leads to."""

    target: str
    before: Step | None


def stand(moves: Sequence[Move]) -> tuple[Step, list[Step]]:
    """Where an alias stands after all its moves, and from where rollbacks led that can be undone, the newest last."""
    at: Step | None = None
    left: list[Step] = []
    for made in moves:
        kind = made.kind.removesuffix(UNMET)
        if kind == "rollback" and at is not None:
            left.append(at)
            at = _back(at, made.target)
        elif kind == "undo" and left and left[-1].target == made.target:
            at = left.pop()
        else:
            left.clear()
            at = at if at is not None and at.target == made.target else Step(made.target, at)
    assert at is not None
    return at, left


def _back(at: Step, target: str) -> Step:
    """The last step before this one that led to a target; a new one where a later rollback had left it out."""
    step = at.before
    while step is not None and step.target != target:
        step = step.before
    return step or Step(target, at)
