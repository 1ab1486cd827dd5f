"""A folder of class folders, or a zip of one: the folder an image lies in is its label.

Top folders named ``train``, ``test`` and ``validation`` are an official split. One common folder around everything
(as a zip of a folder has it) is looked through.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy import ndarray

from engram.data import _digest
from engram.data._archive import Shelf, open_place
from engram.data._pictures import Pictures, common_shape, load, stacked
from engram.data._values import Values, as_words
from engram.errors import DataError, UsageError
from engram.records import Column, Dataset
from engram.runtime._images import SUFFIXES, colored

__all__ = ["Options", "open", "recognizes"]

_PARTS = {
    "train": "all",
    "training": "all",
    "test": "test",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
}
_IN_MEMORY = 2 << 30  # bytes of decoded pixels
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Options:
    """How the images are read.

    Attributes:
        color: whether images have three channels; None means color if any image is in color.
        damaged: the largest share of images that may be left out because they cannot be decoded.
    """

    color: bool | None = None
    damaged: float = 0.01


@dataclass(frozen=True, slots=True)
class _Entry:
    """One image: its name in the source, the part it belongs to, and its label."""

    name: str
    part: str
    label: str


def recognizes(place: str) -> bool:
    """Whether this is a folder, or a zip."""
    path = Path(place)
    return path.is_dir() or (path.is_file() and zipfile.is_zipfile(path))


def open(places: tuple[str, ...], names: tuple[str, ...] = (), options: Options | None = None) -> Dataset:  # noqa: A001 - the contract
    """The images of one folder or zip, as the columns ``image`` and ``label``.

    Args:
        places: the one folder or zip.
        names: must be empty; the columns of images have their names.
        options: how the images are read.

    Raises:
        DataError: there is no image in a class folder, the zip is damaged, or too many images are.
        UsageError: more than one place, or names were given.
    """
    chosen = options or Options()
    if len(places) != 1 or names:
        raise UsageError(
            f"images are read from one folder or zip, without names = […]; {len(places)} places were given",
            place="data.from",
        )
    path = Path(places[0])
    shelf = open_place(path)
    entries, notes = _entries(path.name, shelf.names())
    if _size(shelf, entries) <= _IN_MEMORY:
        parts, found = _decoded(shelf, entries, chosen, path.name)
        notes += found
    else:
        parts = _lazy(shelf, entries, chosen)
    return Dataset(
        columns=_columns(parts),
        parts=dict(parts),
        digest=_digest.files(places),
        target="label",
        origin=places[0],
        notes=tuple(notes),
        sources=places,
    )


def _entries(place: str, names: list[str]) -> tuple[list[_Entry], list[str]]:
    """The images among these names, and a note on those that lie in no class folder."""
    paths = [tuple(name.split("/")) for name in names]
    images = [p for p in paths if _is_image(p)]
    skip = 0
    while images and len({p[skip] for p in images}) == 1 and min(map(len, images)) >= skip + 3:
        if images[0][skip].lower() in _PARTS:
            break
        skip += 1
    official = any(p[skip].lower() in {"train", "training"} for p in images)
    entries, homeless = [], []
    for path in images:
        inner = path[skip:]
        part = _PARTS.get(inner[0].lower(), "") if official else "all"
        if part and len(inner) >= 2 + official:
            entries.append(_Entry("/".join(path), part, inner[int(official)]))
        else:
            homeless.append("/".join(path))
    if not any(entry.part == "all" for entry in entries):
        raise DataError(
            f"{place} has no image in a class folder ({len(names):,} files, {len(homeless):,} images outside); put each"
            " image into a folder named after its label, such as cat/1.png"
        )
    notes = [f"{place}: {len(homeless):,} images lie in no class folder and were left out ({_some(homeless)})"]
    return entries, notes if homeless else []


def _is_image(path: tuple[str, ...]) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in path)
    return not hidden and Path(path[-1]).suffix.lower() in SUFFIXES


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _size(shelf: Shelf, entries: list[_Entry]) -> int:
    """Bytes of all images decoded, estimated from a hundred of them."""
    sample = [entry.name for entry in entries[:: max(1, len(entries) // 100)]]
    pixels = [one.nbytes for one in load(shelf, sample) if isinstance(one, np.ndarray)]
    return int(np.mean(pixels) * len(entries)) if pixels else 0


def _decoded(
    shelf: Shelf, entries: list[_Entry], options: Options, place: str
) -> tuple[dict[str, Pictures], list[str]]:
    images: list[ndarray] = []
    good: list[_Entry] = []
    broken: list[str] = []
    for entry, found in zip(entries, load(shelf, [e.name for e in entries]), strict=True):
        if isinstance(found, DataError):
            broken.append(str(found).removeprefix("image "))
        else:
            images.append(found)
            good.append(entry)
    if len(broken) > np.ceil(options.damaged * len(entries)) or not images:
        raise DataError(
            f"{place}: {len(broken):,} of {len(entries):,} images cannot be read, more than"
            f" damaged = {options.damaged:g} allows ({_some(broken)}); mend them, or say damaged in [data]"
        )
    shape = _shape(images, options)
    images = [colored(image, shape[2]) for image in images]
    parts = {}
    for part in dict.fromkeys(entry.part for entry in good):
        chosen = [i for i, entry in enumerate(good) if entry.part == part]
        pixels = stacked([images[i] for i in chosen], shape)
        parts[part] = Pictures(tuple(good[i].name for i in chosen), _labels([good[i] for i in chosen]), shape, pixels)
    count = f"{len(broken):,} of {len(entries):,} images cannot be read and were left out"
    return parts, [f"{place}: {count} ({_some(broken)})"] if broken else []


def _lazy(shelf: Shelf, entries: list[_Entry], options: Options) -> dict[str, Pictures]:
    """Images that stay where they are; whether they have one size is found from a thousand of them."""
    sample = [entry.name for entry in entries[:: max(1, len(entries) // 1000)]]
    found = [one for one in load(shelf, sample) if isinstance(one, np.ndarray)]
    shape = (0, 0, _shape(found, options)[2])  # a size that a sample has need not be the size of all
    parts = {}
    for part in dict.fromkeys(entry.part for entry in entries):
        own = [entry for entry in entries if entry.part == part]
        parts[part] = Pictures(tuple(entry.name for entry in own), _labels(own), shape, shelf=shelf)
    return parts


def _shape(images: Sequence[ndarray], options: Options) -> tuple[int, int, int]:
    height, width, channels = common_shape([image.shape for image in images])
    return height, width, channels if options.color is None else (3 if options.color else 1)


def _labels(entries: Sequence[_Entry]) -> Values:
    return as_words(pl.Series([entry.label for entry in entries], dtype=pl.String))


def _columns(parts: dict[str, Pictures]) -> tuple[Column, Column]:
    everything = sum(map(len, parts.values()))
    shape = parts["all"].shape
    size = f"of {shape[1]} × {shape[0]} pixels" if shape[0] and shape[1] else "of several sizes"
    tone = "in color" if shape[2] == 3 else "in grey"
    classes = Counter(label for part in parts.values() for label in part.column("label"))
    return (
        Column("image", "image", f"{everything:,} images {size} {tone}", 0, everything, shape),
        Column("label", "category", f"{len(classes):,} class folders", 0, len(classes)),
    )
