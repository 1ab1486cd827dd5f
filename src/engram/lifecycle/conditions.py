"""``[keep]``: conditions that are none, and names that can be no names, are found before anything is trained.

Both are only needed when training is over, which may be in a week.
"""

from __future__ import annotations

from engram.errors import UsageError
from engram.evaluation.conditions import parse
from engram.records import Pipeline
from engram.store.references import check_name

__all__ = ["can_be_kept"]


def can_be_kept(described: Pipeline) -> None:
    """What is only needed at the end is looked at before anything is done.

    Raises:
        UsageError: the name cannot be one, or a condition is none.
    """
    for metric, condition in described.keep.conditions.items():
        _can_be_met(metric, condition)
    for place, name in (("name", described.keep.name or described.name), ("alias", described.keep.alias)):
        try:
            if name:
                check_name(name, place)
        except UsageError as wrong:
            said = getattr(described.keep, place)
            hint = "" if said else '; or say another with name = "…" in [keep]'
            raise type(wrong)(f"{wrong}{hint}", place=f"keep.{place}") from None


def _can_be_met(metric: str, condition: str) -> None:
    try:
        relative = parse(metric, condition).relative
    except UsageError as wrong:
        raise UsageError(f"[keep] if: {wrong}", place="keep.if") from None
    if relative:
        raise UsageError(
            f"[keep] if: {metric} = {condition!r} compares with the version that is there now, which only the gate of "
            "an alias can (engram protect NAME@ALIAS); write a number",
            place="keep.if",
        )
