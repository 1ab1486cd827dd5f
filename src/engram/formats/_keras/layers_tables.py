"""Preprocessing layers that are small tables or comparisons; those that hash or split texts are not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engram.formats._keras.kind import Drawn, Kind, Task

__all__ = ["KINDS"]

_WORDS = 10_000
"""Entries of a vocabulary: each input is compared with all of them."""


def _discretization(task: Task) -> Drawn:
    """The number of bin boundaries that are not above a value."""
    sheet, value = task.sheet, task.value
    bounds = task.settings.get("bin_boundaries")
    if not isinstance(bounds, list) or not all(type(one) in {int, float} for one in bounds):
        raise task.refused("has no bin_boundaries in its config; give them when it is made")
    wide = sheet.node("Unsqueeze", sheet.cast(value, "float32"), sheet.constant([-1], "int64"))
    above = sheet.node("GreaterOrEqual", wide, sheet.constant(np.asarray(bounds), "float32"))
    places = sheet.node("ReduceSum", sheet.cast(above, "int64"), sheet.constant([-1], "int64"), keepdims=0)
    return _encoded(task, places, len(bounds) + 1, task.text("output_mode", "int"))


def _category(task: Task) -> Drawn:
    value = task.sheet.cast(task.value, "int64")
    if "count_weights" in task.named:
        raise task.refused("is called with weights for its counts, which is not read")
    return _encoded(task, value, task.whole("num_tokens", 1)[0], task.text("output_mode", "multi_hot"))


def _encoded(task: Task, places: str, many: int, mode: str) -> str:
    """Places as they are, or as columns with a one in each."""
    sheet = task.sheet
    if task.truth("sparse"):
        raise task.refused("answers with a sparse tensor, which is not read")
    if mode == "int":
        return places
    if mode not in {"one_hot", "multi_hot", "count"}:
        raise task.refused(f"has output_mode = {mode!r}, which is not read")
    if mode == "one_hot" and sheet.shape(places)[-1] == 1 and sheet.rank(places) > 1:
        places = sheet.node("Squeeze", places, sheet.constant([-1], "int64"))
    columns = sheet.node("OneHot", places, sheet.constant(many, "int64"), sheet.constant([0.0, 1.0]), axis=-1)
    if mode == "one_hot":
        return columns
    axis = sheet.constant([-2], "int64")
    operator = "ReduceMax" if mode == "multi_hot" else "ReduceSum"
    return sheet.node(operator, columns, axis, keepdims=0) if sheet.rank(places) > 1 else columns


def _lookup(task: Task) -> Drawn:
    """The place of a number or a word in a vocabulary; behind the mask and before it stands what is not in it."""
    sheet, settings = task.sheet, task.settings
    words, mask = settings.get("vocabulary"), settings.get("mask_token")
    kind = sheet.dtype(task.value)
    if not isinstance(words, list) or not words or len(words) > _WORDS:
        raise task.refused(
            f"has its vocabulary in a file of its own, or more than {_WORDS:,} entries; give it as a list"
        )
    if settings.get("num_oov_indices", 1) != 1 or task.truth("invert") or settings.get("idf_weights"):
        raise task.refused("looks up more than places in a vocabulary (num_oov_indices, invert, idf_weights)")
    if mask is not None and task.text("output_mode", "int") != "int":
        raise task.refused("counts with a mask_token, which is not read")
    if not all(type(word) is (str if kind == "string" else int) for word in words):
        raise task.refused(f"has a vocabulary of other than {kind}, which is what it is asked for")
    listed, own = (words[1:], 1) if mask is not None and words[0] == mask else (words, int(mask is not None))
    table = np.asarray(listed, dtype=object) if kind == "string" else np.asarray(listed, kind)
    last = sheet.constant([-1], "int64")
    known = sheet.node("Equal", sheet.node("Unsqueeze", task.value, last), sheet.constant(table))
    numbers = sheet.constant(np.arange(1, len(listed) + 1), "int64")
    places = sheet.node("ReduceSum", sheet.node("Mul", sheet.cast(known, "int64"), numbers), last, keepdims=0)
    if own:
        places = sheet.node("Add", places, sheet.like(1, places))
        masked = sheet.node("Equal", task.value, sheet.constant(np.asarray([mask], table.dtype)))
        places = sheet.node("Where", masked, sheet.like(0, places), places)
    return _encoded(task, places, len(listed) + 1 + own, task.text("output_mode", "int"))


KINDS: Mapping[str, Kind] = {
    "CategoryEncoding": Kind(_category, masks="ends"),
    "Discretization": Kind(_discretization, masks="ends"),
    "IntegerLookup": Kind(_lookup, masks="ends"),
    "StringLookup": Kind(_lookup, masks="ends"),
}
