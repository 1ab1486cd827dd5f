"""Texts: what preprocessing and answers are made of.

TensorFlow has lookup tables for this, which are objects with a state that must be set up before the first row. A text
is compared with every key here instead: the graph needs no state, and TensorFlow.js can do it, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engram.formats._tensorflow.job import Job, Writers
from engram.formats._tensorflow.sheet import Kind, Operand
from engram.formats._tensorflow.write_elementwise import where
from engram.formats._tensorflow.write_shape import joined

__all__ = ["WRITERS"]


def _compared(job: Job, value: Operand, keys: np.ndarray) -> Operand:
    """Which key each text is: (…, keys), truth."""
    column = job.one(
        "ExpandDims", value, job.sheet.constant(-1, "int32"), shape=(*(value.shape or ()), 1), Tdim=Kind("int32")
    )
    found = job.sheet.constant(keys)
    said: dict[str, Any] = {"T": Kind(value.dtype), "incompatible_shape_error": True}
    return job.sheet.emit("Equal", column, found, dtype="bool", shape=(*(value.shape or ()), len(keys)), **said)


def _label_encoder(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    keys, values, default = _entries(job)
    same = job.cast(_compared(job, value, keys), "int32")
    last = job.sheet.constant([-1], "int32")
    said: dict[str, Any] = {"Tidx": Kind("int32")}
    place = job.one(
        "ArgMax",
        same,
        job.sheet.constant(-1, "int32"),
        dtype="int64",
        shape=value.shape,
        output_type=Kind("int64"),
        **said,
    )
    known = job.one("Max", same, last, shape=value.shape, keep_dims=False, **said)
    given: dict[str, Any] = {
        "Tparams": Kind("string" if values.dtype.kind in "OUS" else values.dtype.name),
        "Tindices": Kind("int64"),
    }
    given |= {"Taxis": Kind("int32"), "batch_dims": 0}
    table = job.sheet.constant(values)
    taken = job.sheet.emit("GatherV2", table, place, job.sheet.constant(0, "int32"), shape=value.shape, **given)
    truth = job.sheet.emit(
        "Greater", known, job.sheet.constant(0, "int32"), dtype="bool", shape=value.shape, T=Kind("int32")
    )
    return (where(job, truth, taken, job.sheet.constant(default, "" if taken.dtype == "string" else taken.dtype)),)


def _entries(job: Job) -> tuple[np.ndarray, np.ndarray, object]:
    """Keys, values, and what an unknown key becomes."""
    said = job.step.attributes
    kinds = {"strings": object, "int64s": np.int64, "floats": np.float32}
    found: list[np.ndarray] = []
    ending = ""
    for role in ("keys", "values"):
        for word, kind in kinds.items():
            if f"{role}_{word}" in said:
                found.append(np.array(said[f"{role}_{word}"], dtype=kind))
                ending = word
    if len(found) != 2:
        raise job.refused("keeps its entries in another way than lists")
    defaults = {
        "strings": ("default_string", "_Unused"),
        "int64s": ("default_int64", -1),
        "floats": ("default_float", -0.0),
    }
    key, usual = defaults[ending]
    return found[0], found[1], said.get(key, usual)


def _one_hot_encoder(job: Job) -> tuple[Operand, ...]:
    value, said = job.get(0), job.step.attributes
    if "cats_strings" in said:
        keys = np.array(said["cats_strings"], dtype=object)
    else:
        keys = np.array(said["cats_int64s"], dtype=value.dtype)
    return (job.cast(_compared(job, value, keys), "float32"),)


def _label_binary(job: Job) -> tuple[Operand, ...]:
    values = [value for value in job.inputs if value is not None]
    return (joined(job, values, 1),)


WRITERS: Writers = {
    "FeatureVectorizer": _label_binary,
    "LabelEncoder": _label_encoder,
    "OneHotEncoder": _one_hot_encoder,
}
