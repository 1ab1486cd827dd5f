"""Remembering the best epoch, and when to give up waiting for a better one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engram.errors import UnknownName, UsageError
from engram.plugins import nearest, options

__all__ = ["Rule", "Watch", "rule_for"]


@dataclass(frozen=True, slots=True)
class Rule:
    """``[train] stop``.

    Attributes:
        watch: the number that decides, as in the history (``validation.loss``); losses and errors should fall, every
            other metric should rise.
        after: epochs without a better one before training stops; 0 is never.
        least: how much better is better.
    """

    watch: str = "validation.loss"
    after: int = 10
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Watch:
    """What was best so far.

    Attributes:
        best: the best number seen; NaN before the first epoch.
        epoch: in which it was seen, from 1.
        waited: epochs since.
    """

    best: float = math.nan
    epoch: int = 0
    waited: int = 0

    def seen(self, number: float, *, epoch: int, falling: bool, least: float) -> Watch:
        """The memory after one more epoch."""
        gain = self.best - number if falling else number - self.best
        if not math.isnan(number) and (math.isnan(self.best) or gain > least):
            return Watch(number, epoch, 0)
        return replace(self, waited=self.waited + 1)


def rule_for(written: Mapping[str, Any], watched: tuple[str, ...]) -> Rule:
    """The rule as written, checked against the numbers that there will be."""
    rule: Rule = options(Rule, written, "train.stop")
    if rule.watch not in watched:
        raise UnknownName(f"[train] stop watches {rule.watch!r}; {nearest(rule.watch, watched)}", place="train.stop")
    if rule.after < 0:
        raise UsageError(
            f"[train] stop: after = {rule.after} is refused: 0 is never, 5 is five epochs", place="train.stop"
        )
    return rule
