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

from engram.data import _classes, _contents, _digest
from engram.data._archive import Shelf, open_place
from engram.data._classes import Entry, some
from engram.data._pictures import Pictures, common_shape, load, stacked
from engram.data._values import Values, as_words
from engram.errors import DataError, UsageError
from engram.records import Column, Dataset
from engram.runtime._images import SUFFIXES, colored

__all__ = ["Options", "open", "recognizes"]

_IN_MEMORY = 2 << 30  # bytes of decoded pixels


@dataclass(frozen=True, slots=True)
class Options:
    """How the images are read.

    Attributes:
        color: whether images have three channels; None means color if any image is in color.
        damaged: the largest share of images that may be left out because they cannot be decoded.
    """

    color: bool | None = None
    damaged: float = 0.01


def recognizes(place: str) -> bool:
    """Whether this is a folder that holds no other kind of data, or a zip."""
    path = Path(place)
    return _contents.held(path) == "images" or (path.is_file() and zipfile.is_zipfile(path))


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
    entries, notes = _classes.entries(path.name, shelf.names(), SUFFIXES, "image")
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


def _size(shelf: Shelf, entries: list[Entry]) -> int:
    """Bytes of all images decoded, estimated from a hundred of them."""
    sample = [entry.name for entry in entries[:: max(1, len(entries) // 100)]]
    pixels = [one.nbytes for one in load(shelf, sample) if isinstance(one, np.ndarray)]
    return int(np.mean(pixels) * len(entries)) if pixels else 0


def _decoded(shelf: Shelf, entries: list[Entry], options: Options, place: str) -> tuple[dict[str, Pictures], list[str]]:
    images: list[ndarray] = []
    good: list[Entry] = []
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
            f" damaged = {options.damaged:g} allows ({some(broken)}); mend them, or say damaged in [data]"
        )
    shape = _shape(images, options)
    images = [colored(image, shape[2]) for image in images]
    parts = {}
    for part in dict.fromkeys(entry.part for entry in good):
        chosen = [i for i, entry in enumerate(good) if entry.part == part]
        pixels = stacked([images[i] for i in chosen], shape)
        parts[part] = Pictures(tuple(good[i].name for i in chosen), _labels([good[i] for i in chosen]), shape, pixels)
    count = f"{len(broken):,} of {len(entries):,} images cannot be read and were left out"
    return parts, [f"{place}: {count} ({some(broken)})"] if broken else []


def _lazy(shelf: Shelf, entries: list[Entry], options: Options) -> dict[str, Pictures]:
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


def _labels(entries: Sequence[Entry]) -> Values:
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
