"""``[keep]``: conditions on metrics as users write them (``accuracy = ">= 0.85"``), and names that can be names.

Both are only needed when training is over, and both are looked at before it begins.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping

from engram.errors import UsageError
from engram.records import Pipeline, Report
from engram.store.references import check_name

__all__ = ["can_be_kept", "parse", "unmet"]

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


def can_be_kept(described: Pipeline) -> None:
    """What is only needed at the end is looked at before anything is done.

    Raises:
        UsageError: the name cannot be one, or a condition is none.
    """
    for metric, condition in described.keep.conditions.items():
        parse(metric, condition)
    for place, name in (("name", described.keep.name or described.name), ("alias", described.keep.alias)):
        try:
            if name:
                check_name(name, place)
        except UsageError as wrong:
            said = getattr(described.keep, place)
            hint = "" if said else '; or say another with name = "…" in [keep]'
            raise type(wrong)(f"{wrong}{hint}", place=f"keep.{place}") from None
