"""What happens to one column, and how a pipeline file says it.

The value of a key of ``[columns]`` is ``"ignore"``, a kind (``"category"``), or a table. What a table may hold depends
on the kind:

====================  ==================================================================
number                ``clip``, ``impute``, ``scale``, ``bins``
boolean               ``impute``, ``scale``
category, text        ``encode``, and ``scale`` where ``encode = "ordinal"``
date                  ``date``, ``impute``, ``scale``
image                 the options of ``image``: ``resize crop normalize mean std``
all                   ``kind``
====================  ==================================================================

The steps run in this order whatever the order in the table. The value of a step is a table of the options of its
plug-in, or for short the value of its main option: ``impute`` a strategy, ``scale`` a method, ``encode`` a method,
``clip`` the bounds, ``bins`` how many, ``date`` the parts. The value ``"none"`` leaves out a ``clip``, ``scale`` or
``bins`` that would be found.

``as_table`` writes every step of the kind, so that a table it wrote leaves nothing to be found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from engram.errors import UnknownName, UsageError
from engram.plugins import nearest, options
from engram.preprocessing import SHELF
from engram.records import Column

__all__ = ["STEPS", "ColumnPlan", "Step", "parse"]

STEPS: Mapping[str, tuple[str, ...]] = {
    "number": ("clip", "impute", "scale", "bins"),
    "boolean": ("impute", "scale"),
    "category": ("encode", "scale"),
    "text": ("encode", "scale"),
    "date": ("date", "impute", "scale"),
    "image": ("image",),
}
_OPTIONAL = {"clip", "scale", "bins"}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a column.

    Attributes:
        name: the plug-in, as on the shelf.
        options: its ``Options``.
        reason: why it was found; empty where the pipeline file says it.
    """

    name: str
    options: Any
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """What happens to one column, in order.

    Attributes:
        name: of the column.
        kind: as in ``records.Column``; ``ignore`` is not looked at and has no steps.
        steps: from the raw value to features.
        reason: why it is of this kind, or why it is ignored.
    """

    name: str
    kind: str
    steps: tuple[Step, ...] = ()
    reason: str = ""

    @property
    def why(self) -> str:
        """All reasons in one line, for the comment in a lock file."""
        found = [self.reason, *(f"{step.name}: {step.reason}" for step in self.steps if step.reason)]
        return "; ".join(reason for reason in found if reason)

    def as_table(self) -> str | dict[str, Any]:
        """The plan as a pipeline file says it, with nothing left to be found.

        ``plan`` over the same data with this table as its override gives the same steps.
        """
        if self.kind == "ignore":
            return "ignore"
        table: dict[str, Any] = {"kind": self.kind}
        if self.kind == "image":
            return table | _stated(self.steps[0].options)
        given = {step.name: step for step in self.steps}
        for name in STEPS[self.kind]:
            table[name] = _short(given[name]) if name in given else "none"
        return table


def parse(column: Column, table: Mapping[str, Any], key: str) -> dict[str, Step | None]:
    """The steps that a table of ``[columns]`` says; None for one that is left out on purpose.

    Args:
        column: as it was found.
        table: what the pipeline file says of it.
        key: under which name or pattern it says so.

    Raises:
        UnknownName: a key that does not belong to columns of this kind.
        UsageError: a value that the step refuses.
    """
    stated = {name: value for name, value in table.items() if name != "kind"}
    if column.kind == "image":
        return {"image": _step("image", stated, key)} if stated else {}
    known = STEPS[column.kind]
    for name in stated:
        if name not in known:
            raise UnknownName(
                f"[columns] {key}: a {column.kind} has no step {name!r}; {nearest(name, [*known, 'kind'])}",
                place=f"columns.{key}",
            )
    return {name: _stated_step(name, value, key) for name, value in stated.items()}


def _stated_step(name: str, value: Any, key: str) -> Step | None:  # noqa: ANN401 - any TOML value
    if value == "none" and name in _OPTIONAL:
        return None
    main = SHELF.take(name).MAIN
    return _step(name, value if isinstance(value, Mapping) else {main: value}, key)


def _step(name: str, given: Mapping[str, Any], key: str) -> Step:
    """The step with its options checked; an error names the column's key, which has a line in the file."""
    module = SHELF.take(name)
    where = f"columns.{key}" if name == "image" else f"columns.{key}.{name}"
    try:
        read = options(module.Options, given, where)
    except UsageError as refused:
        raise type(refused)(str(refused), place=f"columns.{key}") from None
    wrong = module.wrong(read) if hasattr(module, "wrong") else ""
    if wrong:
        raise UsageError(f"[{where}] is refused: {wrong}", place=f"columns.{key}")
    return Step(name, read)


def _short(step: Step) -> Any:  # noqa: ANN401 - any TOML value
    """The step as a table, or as the value of its main option where that says it all."""
    main = SHELF.take(step.name).MAIN
    stated = _stated(step.options)
    if set(stated) <= {main} and getattr(step.options, main) is not None:
        return _plain(getattr(step.options, main))
    return stated or {f.name: _plain(getattr(step.options, f.name)) for f in fields(step.options) if f.name != main}


def _stated(record: Any) -> dict[str, Any]:  # noqa: ANN401 - the Options of any plug-in
    """The options that differ from their defaults."""
    values = {f.name: (getattr(record, f.name), f.default) for f in fields(record)}
    return {name: _plain(value) for name, (value, default) in values.items() if value != default}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any TOML value
    return list(value) if isinstance(value, tuple) else value
