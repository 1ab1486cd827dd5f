"""Images as a ``Part``: decoded once where all of them fit, else whenever they are taken.

Decoding is what reading images costs (35 µs for a digit, milliseconds for a photograph). Up to two gigabytes of pixels
are therefore kept, which also finds every damaged image before training starts and not in its third epoch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy import ndarray

from engram.data._archive import Shelf
from engram.data._values import Values
from engram.errors import DataError
from engram.runtime._images import colored, decode

__all__ = ["Pictures", "common_shape", "load", "stacked"]

_LARGE = 16_384  # bytes; below, threads cost more than they win, because decoding is mostly Python
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Pictures:
    """Images with labels.

    Attributes:
        names: of the images in their source.
        labels: one a row.
        shape: (height, width, channels), 0 where it varies.
        pixels: uint8 (rows, height, width, channels), or an object array where sizes differ; None where the images
            are decoded when taken.
        shelf: where they lie; None where `pixels` holds them.
    """

    names: tuple[str, ...]
    labels: Values
    shape: tuple[int, int, int]
    pixels: ndarray | None = None
    shelf: Shelf | None = None

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: ndarray) -> Mapping[str, ndarray]:
        """As a ``Part`` does: ``image`` and ``label``.

        Raises:
            DataError: an image turned out to be damaged; with its name.
        """
        return {"image": self.column("image", rows), "label": self.labels.take(rows)}

    def column(self, name: str, rows: ndarray | None = None) -> ndarray:
        """One column alone, of all rows where none are named."""
        numbers = np.arange(len(self)) if rows is None else rows
        if name == "label":
            return self.labels.take(numbers)
        if self.pixels is not None:
            taken: ndarray = self.pixels[numbers]
            return taken
        assert self.shelf is not None
        found = list(load(self.shelf, [self.names[i] for i in numbers]))
        broken = [str(one) for one in found if isinstance(one, DataError)]
        if broken:
            raise DataError(f"{broken[0]}; mend the image or delete it")
        return stacked([colored(one, self.shape[2]) for one in found if isinstance(one, np.ndarray)], self.shape)

    def renamed(self, name: str, change: Callable[[str], str]) -> Pictures:
        """The images with their labels changed."""
        assert name == "label"
        assert self.labels.words is not None
        words = np.array([change(word) for word in self.labels.words], dtype=object)
        labels = Values(self.labels.array, words)
        return Pictures(self.names, labels, self.shape, self.pixels, self.shelf)


def load(shelf: Shelf, names: Sequence[str]) -> Iterator[ndarray | DataError]:
    """The images of these names in order, each decoded, or what is wrong with it."""

    def one(name: str) -> ndarray | DataError:
        try:
            return decode(shelf.read(name))
        except DataError as wrong:
            return DataError(f"image {name} {wrong}")
        except OSError as wrong:
            return DataError(f"image {name} cannot be read ({wrong})")

    sample = names[:: max(1, len(names) // 100)]
    if not names or sum(map(shelf.size, sample)) / len(sample) < _LARGE:
        yield from map(one, names)
        return
    waiting = iter(names)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while block := list(islice(waiting, _BLOCK)):  # in blocks, so that no more than one waits in memory
            yield from pool.map(one, block)


def common_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, int, int]:
    """(height, width, channels) of all these images, 0 where it varies; color where any is in color."""
    heights, widths, channels = ({shape[axis] for shape in shapes} for axis in range(3))
    return (
        heights.pop() if len(heights) == 1 else 0,
        widths.pop() if len(widths) == 1 else 0,
        max(channels, default=1),
    )


def stacked(images: Sequence[ndarray], shape: tuple[int, int, int]) -> ndarray:
    """The images as one array: uint8 (rows, height, width, channels), or an object array (rows,) where sizes vary."""
    if 0 not in shape and images:
        return np.stack(images)
    if 0 not in shape:
        return np.empty((0, *shape), dtype=np.uint8)
    array = np.empty(len(images), dtype=object)
    for i, image in enumerate(images):
        array[i] = image
    return array
