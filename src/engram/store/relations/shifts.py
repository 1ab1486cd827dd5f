"""How far the weights of one version have moved from those of another.

Weights that are the same blob are the same and are not read; the others are compared a piece at a time, so that two
versions larger than memory can be. Differences are figures of 64 bits, whatever the weights are stored in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from engram.errors import StoreError
from engram.records import Version
from engram.store.files import Files
from engram.store.manifests import Manifest
from engram.store.weights import contents

__all__ = ["Shift", "Side", "extent", "shifts"]

_PIECE = 1_000_000
"""Numbers of a weight that are compared at a time."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a weight has moved.

    Attributes:
        name: of the weight.
        before, after: type and shape (``float32 64×282``); empty where a version does not have it.
        relative: norm of the difference over the norm before [1]; NaN where the two cannot be subtracted.
        largest: absolute difference of any one number, in its own unit; NaN likewise.
    """

    name: str
    before: str
    after: str
    relative: float = math.nan
    largest: float = math.nan


@dataclass(frozen=True, slots=True)
class Side:
    """One of two versions that are compared."""

    version: Version
    manifest: Manifest
    files: Files

    def text(self, path: str) -> str:
        """A text file; empty where there is none."""
        return self.files.content(path).decode(errors="replace") if path in self.files else ""

    def shards(self) -> dict[str, str]:
        """Weight → the file it is in.

        Raises:
            StoreError: the index names a file that the version does not have.
        """
        found: dict[str, str] = self.files.document(contents.INDEX)["weight_map"]
        for path in set(found.values()) - self.manifest.files.keys():
            raise StoreError(f"the index of the weights of {self.files.name} names {path}; run engram verify")
        return found


def extent(shape: Iterable[object]) -> str:
    """A shape in words: ``64×282``; 1 for a single number."""
    return "×".join(map(str, shape)) or "1"


def shifts(before: Side, after: Side) -> tuple[tuple[Shift, ...], int]:
    """The weights that moved, came or went, and how many did not."""
    one, other = before.shards(), after.shards()
    both = sorted(one.keys() & other.keys())
    files = (before.manifest.files, after.manifest.files)
    read = [name for name in both if files[0][one[name]].digest != files[1][other[name]].digest]
    moved = list(_moved(before, after, _together(read, one, other)))
    gone = [Shift(name, words, "") for name, words in _described(before, one, one.keys() - other.keys())]
    come = [Shift(name, "", words) for name, words in _described(after, other, other.keys() - one.keys())]
    return tuple(sorted([*moved, *gone, *come], key=lambda shift: shift.name)), len(both) - len(moved)


def _together(
    names: Sequence[str], one: Mapping[str, str], other: Mapping[str, str]
) -> dict[tuple[str, str], list[str]]:
    """The names that lie in the same two files, so that each file is opened once."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in names:
        found.setdefault((one[name], other[name]), []).append(name)
    return found


def _moved(before: Side, after: Side, wanted: Mapping[tuple[str, str], list[str]]) -> Iterator[Shift]:
    for (path, new), names in wanted.items():
        was, now = before.files.arrays({path: names}), after.files.arrays({new: names})
        for name in names:
            if shift := _shift(name, was[name], now[name]):
                yield shift


def _described(side: Side, shards: Mapping[str, str], names: Iterable[str]) -> Iterator[tuple[str, str]]:
    wanted = sorted(names)
    entries = side.files.entries({shards[name] for name in wanted}) if wanted else {}
    return ((name, f"{entries[name].name} {extent(entries[name].true)}") for name in wanted)


def _shift(name: str, was: ndarray, now: ndarray) -> Shift | None:
    """How far a weight has moved; None if it has not."""
    old, new = (f"{array.dtype.name} {extent(array.shape)}" for array in (was, now))
    if was.shape != now.shape:
        return Shift(name, old, new)
    if old == new and all(_same(a, b) for a, b in _pieces(was, now)):
        return None
    before = moved = largest = 0.0
    for a, b in _pieces(was, now):
        numbers, others = _wide(a), _wide(b)
        with np.errstate(all="ignore"):
            apart = np.where(_equal(numbers, others), 0, others - numbers)
            before += float(np.sum(np.abs(numbers) ** 2))
            moved += float(np.sum(np.abs(apart) ** 2))
            largest = float(np.maximum(largest, np.max(np.abs(apart))))  # not max(): NaN must not get lost
    return Shift(name, old, new, relative=_ratio(math.sqrt(moved), math.sqrt(before)), largest=largest)


def _pieces(was: ndarray, now: ndarray) -> Iterator[tuple[ndarray, ndarray]]:
    a, b = was.reshape(-1), now.reshape(-1)
    for start in range(0, a.size, _PIECE):
        yield a[start : start + _PIECE], b[start : start + _PIECE]


def _same(a: ndarray, b: ndarray) -> bool:
    """Whether two pieces have the same bits."""
    return a.tobytes() == b.tobytes()


def _wide(numbers: ndarray) -> ndarray:
    return numbers.astype(np.complex128 if numbers.dtype.kind == "c" else np.float64)


def _equal(a: ndarray, b: ndarray) -> ndarray:
    """Where numbers are equal, two infinities or two NaN among them."""
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))


def _ratio(moved: float, before: float) -> float:
    if math.isnan(moved) or math.isnan(before):
        return math.nan
    return moved / before if before else math.inf if moved else 0.0
