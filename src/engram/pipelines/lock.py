"""The lock file: a pipeline file in which everything that was found is said, with the reason beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import tomlkit
from tomlkit.items import InlineTable, Table

from engram.records import Pipeline

__all__ = ["dump"]


def dump(pipeline: Pipeline, reasons: Mapping[str, str], facts: Mapping[str, Any]) -> str:
    """The text of the lock file.

    Args:
        pipeline: with everything found made explicit.
        reasons: place (``train.batch``) → why it was found to be so; written as a comment.
        facts: the ``[lock]`` section: data digest, versions, seeds.

    Returns:
        TOML that ``parse`` reads back to the same pipeline.
    """
    document = tomlkit.document()
    document.add(tomlkit.comment(f"What was found for {pipeline.name}.toml; running this file repeats the run."))
    for section, values in _sections(pipeline).items():
        if values:
            document[section] = _table(section, values, reasons)
    document["lock"] = _table("lock", facts, {})
    return tomlkit.dumps(document)


def _sections(pipeline: Pipeline) -> dict[str, Mapping[str, Any]]:
    data = {"from": _place(pipeline.data.source), **_stated(pipeline.data, skip=("source", "options"))}
    keep = {**_stated(pipeline.keep, skip=("conditions",)), "if": pipeline.keep.conditions}
    return {
        "data": {**data, **pipeline.data.options},
        "columns": pipeline.columns,
        "model": {"kind": pipeline.model.kind, **pipeline.model.options},
        "augment": _stated(pipeline.augment),
        "train": _stated(pipeline.train),
        "evaluate": _stated(pipeline.evaluate),
        "keep": {key: value for key, value in keep.items() if value},
    }


def _place(source: tuple[str, ...]) -> str | list[str]:
    return source[0] if len(source) == 1 else list(source)


def _stated(record: object, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a section that say something."""
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in skip}  # type: ignore[arg-type]
    return {key: value for key, value in values.items() if value is not None and value != "" and value not in ((), {})}


def _table(section: str, values: Mapping[str, Any], reasons: Mapping[str, str]) -> Table:
    table = tomlkit.table()
    for key, value in values.items():
        if value is None:
            continue
        item = tomlkit.item(_plain(value))
        if reason := reasons.get(f"{section}.{key}"):
            item.comment(reason)
        table.add(tomlkit.key(key), item)
    return table


def _plain(value: Any) -> Any:  # noqa: ANN401 - any TOML value
    """The value in types that TOML knows, tables written on one line."""
    if isinstance(value, Mapping):
        inline: InlineTable = tomlkit.inline_table()
        for key, inner in value.items():
            if inner is not None:
                inline.append(tomlkit.key(str(key)), _plain(inner))
        return inline
    if isinstance(value, (list, tuple)):
        array = tomlkit.array()
        for inner in value:
            array.append(_plain(inner))
        return array
    return value
