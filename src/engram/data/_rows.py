"""Rows of a file as a kept model wants them, read by its signature and not by what the file looks like.

What is found in a file of ten rows says little; the signature says what every column is. Columns that the model does
not know are passed over, the target is read if it is there, so that the same file can be predicted and judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from engram.data import _digest, _kinds, _layout, _places, _source, _target
from engram.data._pictures import common_shape, stacked
from engram.data._table import Table, column_of
from engram.errors import DataError, ShapeError
from engram.plugins import nearest
from engram.records import Dataset, TensorSpec
from engram.runtime._images import SUFFIXES, colored, decode

__all__ = ["Opened", "open_rows"]

_WRITTEN = ("number", "boolean", "category", "date", "text")


@dataclass(frozen=True, slots=True)
class Opened:
    """Rows of a file.

    Attributes:
        columns: input → raw values, as ``Part.take`` gives them.
        truth: the target as written, object array of str or float64 (rows,); None where the file has none.
        digest: of the file.
        notes: rows left out, one sentence each.
    """

    columns: Mapping[str, ndarray]
    truth: ndarray | None
    digest: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


def open_rows(  # noqa: PLR0913 - how the training data were read, and what is wanted
    path: str | Path | Sequence[str],
    inputs: tuple[TensorSpec, ...],
    *,
    target: str = "",
    labels: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
    options: Mapping[str, Any] | None = None,
    kind: str = "",
    whole: bool = False,
) -> Opened:
    """The rows of a file, ready for a model.

    Args:
        path: of a text table, a folder or zip of images, or one image; or ``sklearn:NAME``.
        inputs: of the model's signature, raw.
        target: the column that is the truth; empty where none is wanted.
        labels: of the model; a label in the file that differs from one by a full stop is read as that one.
        names: of the columns, where the file has no header; with or without the target.
        options: as in ``[data]``; what another kind of source does not know is passed over, because rows may come from
            another kind than those that were learned from.
        kind: of the source that was learned from, which decides where a place does not (windows of a table).
        whole: a row that cannot be read is an error and not left out, so that answers stand beside their rows.

    Raises:
        ShapeError: a column that the model needs is not there.
        DataError: the file cannot be read, or values do not fit the signature.
    """
    places = _places.resolve((str(path),) if isinstance(path, (str, Path)) else tuple(path), (Path(),))
    image = next((spec for spec in inputs if spec.kind == "image"), None)
    if image and all(Path(place).suffix.lower() in SUFFIXES for place in places):
        return Opened({image.name: _alone(places, image)}, None, _digest.files(places))
    chosen = kind if kind and getattr(_source.plug_in(places, kind), "BY_NAME", False) else ""
    given = _given(_source.known(places, chosen), options or {}, target, whole=whole)
    bare = getattr(_source.plug_in(places, chosen), "BARE", False)
    headers = _fitting(places, names, target) if bare else ()
    dataset = _source.read(places, (Path(),), kind=chosen, names=headers, given=given)
    _complete(dataset, inputs, places[0])
    kinds = {spec.name: spec.kind for spec in inputs if spec.kind in _WRITTEN}
    part = _kinds.apply(dataset, kinds, "the model says so").parts["all"]
    columns = {spec.name: _array(column_of(part, spec.name), spec) for spec in inputs}
    have = {column.name for column in dataset.columns}
    truth = _truth(dataset, target, labels) if target in have else None
    notes = tuple(note for note in dataset.notes if " is ignored" not in note)
    return Opened(columns, truth, dataset.digest, notes)


def _given(known: frozenset[str], options: Mapping[str, Any], target: str, *, whole: bool) -> dict[str, Any]:
    """The options that the plug-in knows; by those of `whole` it leaves nothing out."""
    strict = dict.fromkeys({"wrong_rows", "damaged"} & known, 0.0) if whole else {}
    named = {"target": target} if "target" in known and target else {}
    return {**{key: value for key, value in options.items() if key in known}, **named, **strict}


def _fitting(places: Sequence[str], names: tuple[str, ...], target: str) -> tuple[str, ...]:
    """The names, without the target where the file has one column less."""
    if target not in names or not Path(places[0]).is_file():
        return names
    width = len(_layout.find(Path(places[0]), names=()).names)
    return tuple(name for name in names if name != target) if width == len(names) - 1 else names


def _complete(dataset: Dataset, inputs: tuple[TensorSpec, ...], place: str) -> None:
    have = [column.name for column in dataset.columns]
    for spec in inputs:
        if spec.name not in have:
            bare = "; it has no header, so say the names of its columns" if "column_1" in have else ""
            near = bare or f"; {nearest(spec.name, have)}"
            raise ShapeError(f"{place} has no column {spec.name!r}, which the model needs{near}")


def _truth(dataset: Dataset, target: str, labels: tuple[str, ...]) -> ndarray:
    part = dataset.parts["all"]
    if isinstance(part, Table) and (labels or part.values[target].array.dtype != np.float64):
        part = part.converted({target: "category"}, "it is the target")[1]
    words = column_of(part, target)
    change = _target.renames(words, labels) if labels else {}
    return np.array([change.get(word, word) for word in words], dtype=object) if change else words


def _alone(places: Sequence[str], spec: TensorSpec) -> ndarray:
    """Images that were given one by one."""
    images = []
    for place in places:
        try:
            images.append(decode(Path(place).read_bytes()))
        except DataError as wrong:
            raise DataError(f"image {place} {wrong}; give another image") from None
    channels = spec.shape[-1] if isinstance(spec.shape[-1], int) else common_shape([i.shape for i in images])[2]
    images = [colored(image, channels) for image in images]
    return stacked(images, common_shape([image.shape for image in images]))


def _array(values: ndarray, spec: TensorSpec) -> ndarray:
    """The values; images with as many channels as the model wants."""
    channels = spec.shape[-1] if spec.kind == "image" else None
    if not isinstance(channels, int) or not len(values) or values[0].shape[-1] == channels:
        return values
    images = [colored(image, channels) for image in values]
    return stacked(images, common_shape([image.shape for image in images]))
