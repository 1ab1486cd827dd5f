"""Which steps each column gets: found from the training rows, except for what the pipeline file says.

``plan`` only reads and decides; nothing is fitted. A column's own name in ``[columns]`` comes before a pattern, and of
several patterns the last that fits decides alone, as the last word does.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from numpy import ndarray

from engram.errors import DataError, UnknownName, UsageError
from engram.plugins import nearest
from engram.preprocessing import scale
from engram.preprocessing._columns import STEPS, ColumnPlan, Step, parse
from engram.preprocessing._found import steps, useless
from engram.preprocessing._gather import sample
from engram.records import Column, Dataset, Task
from engram.records.dataset import KINDS

__all__ = ["ColumnPlan", "Step", "plan"]


def plan(dataset: Dataset, task: Task, overrides: Mapping[str, Any]) -> tuple[ColumnPlan, ...]:
    """The plan for every column but the target, in the order of the data.

    Args:
        dataset: with a part ``train``, or, before it was split, ``all``.
        task: names the target.
        overrides: ``[columns]`` of the pipeline file, see ``_columns``.

    Raises:
        UnknownName: a key fits no column, or a table has an unknown step or option.
        UsageError: a value that a step refuses.
        DataError: there are no training rows.
    """
    _known(dataset, overrides)
    part = dataset.parts["train"] if "train" in dataset.parts else dataset.parts["all"]
    if not len(part):
        raise DataError(f"{dataset.origin or 'the data'}: no rows to train on; add rows or hold out fewer")
    columns = [column for column in dataset.columns if column.name not in {dataset.target, task.target}]
    values = sample(part, [column for column in columns if column.kind != "ignore"])
    numbers = sum(column.kind == "number" for column in columns)
    return tuple(_column_plan(column, values.get(column.name), overrides, numbers=numbers) for column in columns)


def _column_plan(column: Column, values: ndarray | None, overrides: Mapping[str, Any], *, numbers: int) -> ColumnPlan:
    key = _key(column.name, overrides)
    said = overrides[key] if key is not None else {}
    kind = _kind(said, str(key))
    if values is None or kind == "ignore":
        return ColumnPlan(column.name, "ignore", reason=column.reason if kind != "ignore" else "")
    if kind and kind != column.kind:
        raise UsageError(
            f"[columns] {key} = {said!r} is refused: {column.name!r} was read as {column.kind}; say {column.kind!r}",
            place=f"columns.{key}",
        )
    stated = parse(column, said if isinstance(said, Mapping) else {}, str(key))
    why = useless(column, values)
    # Whoever names a column's steps wants it; that it is text is no wish to read it.
    if why and (not stated if column.kind == "text" else not said):
        return ColumnPlan(column.name, "ignore", reason=why)
    chosen = _chosen(column.kind, {step.name: step for step in steps(column, values, numbers)} | stated, str(key))
    return ColumnPlan(column.name, column.kind, chosen, column.reason)


def _chosen(kind: str, wanted: Mapping[str, Step | None], key: str) -> tuple[Step, ...]:
    """The steps in their order; a place in an order is scaled like any number, zeros and ones are not."""
    found = {name: step for name in STEPS[kind] if (step := wanted.get(name)) is not None}
    encoded = found.get("encode")
    if encoded is not None and encoded.options.method == "ordinal" and "scale" not in wanted:
        found["scale"] = Step("scale", scale.Options(), "an ordinal is a number")
    elif encoded is not None and encoded.options.method != "ordinal" and "scale" in found:
        raise UsageError(
            f'[columns] {key}: scale has nothing to do after encode = "{encoded.options.method}"; leave it out',
            place=f"columns.{key}",
        )
    return tuple(found.values())


def _key(name: str, overrides: Mapping[str, Any]) -> str | None:
    """Under which key the pipeline file speaks of this column: its own name, or the last pattern that fits."""
    if name in overrides:
        return name
    return next((pattern for pattern in reversed(list(overrides)) if fnmatchcase(name, pattern)), None)


def _kind(said: Any, key: str) -> str:  # noqa: ANN401 - any TOML value
    """The kind that is said, empty if none is.

    Raises:
        UnknownName: there is no such kind.
        UsageError: neither text nor a table.
    """
    kind = said.get("kind", "") if isinstance(said, Mapping) else said
    if not isinstance(kind, str):
        raise UsageError(
            f'[columns] {key} = {said!r} is refused: it is "ignore", a kind, or a table of steps',
            place=f"columns.{key}",
        )
    known = (*KINDS, "ignore")
    if kind and kind not in known:
        raise UnknownName(
            f"[columns] {key}: kind {kind!r} does not exist; {nearest(kind, known)}", place=f"columns.{key}"
        )
    return kind


def _known(dataset: Dataset, overrides: Mapping[str, Any]) -> None:
    """Raises UnknownName for a key that fits no column, which is a column misspelled."""
    names = [column.name for column in dataset.columns]
    for key in overrides:
        if key not in names and not any(fnmatchcase(name, key) for name in names):
            raise UnknownName(f"[columns] {key} fits no column; {nearest(key, names)}", place=f"columns.{key}")
