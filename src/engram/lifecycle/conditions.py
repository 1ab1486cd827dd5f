"""Conditions on metrics, as users write them: ``accuracy = ">= 0.85"``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping

from engram.errors import UsageError
from engram.records import Report

__all__ = ["parse", "unmet"]

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"^\s*(>=|<=|>|<)\s*([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*$")


def parse(metric: str, condition: str) -> tuple[str, float]:
    """(operator, bound) of a condition; UsageError if it is not one."""
    found = _CONDITION.match(condition)
    if not found:
        raise UsageError(f'[keep] if: {metric} = {condition!r} is no condition; write it as ">= 0.85"', place="keep.if")
    return found[1], float(found[2])


def unmet(conditions: Mapping[str, str], report: Report) -> tuple[str, ...]:
    """The conditions that the report does not meet, each in words; a score that is no number meets none."""
    failed = []
    for metric, condition in conditions.items():
        sign, bound = parse(metric, condition)
        value = report.score(metric)
        if not _OPERATORS[sign](value, bound):
            failed.append(f"{metric} is {value:.4g} and must be {sign} {bound:g}")
    return tuple(failed)
