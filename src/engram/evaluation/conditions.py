"""Conditions on metrics as users write them (``accuracy = ">= 0.85"``): what ``[keep] if`` and a protected alias ask.

A bound is a number, or what the version that is there now reaches, give or take a number (``>= present - 0.01``).
A metric that was not measured, or that is no number, meets no condition: what nobody knows is not good enough.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engram.errors import UsageError

__all__ = ["Condition", "parse", "stated", "unmet"]

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_CONDITION = re.compile(rf"\s*(>=|<=|>|<)\s*(?:([+-]?{_NUMBER})|(present)(?:\s*([+-])\s*({_NUMBER}))?)\s*")
_STATED = re.compile(r"\s*([^\s<>=]+)\s*([<>=].*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a metric has to reach.

    Attributes:
        sign: ``>=``, ``<=``, ``>`` or ``<``.
        bound: a number, or what is added to the value of the version that is there now.
        relative: whether it is the latter.
    """

    sign: str
    bound: float
    relative: bool = False


def parse(metric: str, condition: str) -> Condition:
    """A condition, taken apart.

    Raises:
        UsageError: it is not one.
    """
    found = _CONDITION.fullmatch(condition)
    if not found:
        raise UsageError(
            f'{metric} = {condition!r} is no condition; write it as ">= 0.85", or as ">= present - 0.01" to compare '
            "with the version that is there now"
        )
    sign, number, present, plus, more = found.groups()
    return Condition(sign, float(number or f"{plus or '+'}{more or 0}"), relative=bool(present))


def stated(text: str) -> tuple[str, str]:
    """The metric and the condition of ``accuracy >= 0.85``.

    Raises:
        UsageError: it is not a metric and a condition.
    """
    found = _STATED.fullmatch(text)
    if not found:
        raise UsageError(f'{text!r} is no condition on a metric; write it as "accuracy >= 0.85"')
    metric, condition = found[1], found[2].strip()
    parse(metric, condition)
    return metric, condition


def unmet(
    conditions: Mapping[str, str], scores: Mapping[str, float], present: Mapping[str, float] | None = None
) -> tuple[str, ...]:
    """The conditions that are not met, each in words.

    Args:
        conditions: metric → condition.
        scores: metric → value of the one that is asked about.
        present: the same of the version that is there now; None if there is none, which every relative bound allows.
    """
    said = (_failing(metric, parse(metric, text), scores, present) for metric, text in conditions.items())
    return tuple(words for words in said if words)


def _failing(
    metric: str, condition: Condition, scores: Mapping[str, float], present: Mapping[str, float] | None
) -> str:
    """Why a condition is not met; empty if it is."""
    if condition.relative and present is None:
        return ""
    bound, note = condition.bound, ""
    if condition.relative:
        assert present is not None
        bound, note = present.get(metric, math.nan) + condition.bound, _note(metric, condition.bound, present)
    wanted = f"must be {condition.sign} {bound:.6g}{note}"
    if metric not in scores:
        return f"{metric} was not measured and {wanted}"
    return "" if _OPERATORS[condition.sign](scores[metric], bound) else f"{metric} is {scores[metric]:.6g} and {wanted}"


def _note(metric: str, more: float, present: Mapping[str, float]) -> str:
    """What a bound is made of."""
    if metric not in present:
        return f" (of the version that is there now no {metric} is known)"
    return f" ({present[metric]:.6g} now{f', {more:+g}' if more else ''})"
