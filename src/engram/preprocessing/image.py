"""Pictures become numbers: brought to one size, cut, and scaled channel by channel.

``resize`` to one side length takes the central square of the picture first and scales that. Elsewhere the shorter side
is scaled and the longer one cut after; the pixels are the same but for a blend at the cut, while here the largest array
on the way is the picture itself, whatever proportions a stranger sends.

Pictures that have the right size already pass the resizing untouched, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy import ndarray

from engram.graphs.build import Builder, element_type
from engram.preprocessing._resample import resample

__all__ = [
    "Fitted",
    "Moments",
    "Options",
    "fit",
    "groups",
    "measure",
    "names",
    "nodes",
    "settle",
    "side",
    "transform",
    "wrong",
]

_LARGEST_FOUND = 64  # pixels a side; more than this trains too slowly on a laptop to be a default
_FLAT = 1e-6  # a channel that varies less holds one color


@dataclass(frozen=True, slots=True)
class Options:
    """Options of an image column; they stand directly in the column's table.

    Attributes:
        resize: the side of a square in pixels, to which the central square of each picture is scaled; or height and
            width, to which the whole picture is stretched. Found from the training pictures when left out.
        crop: the side of the square that is cut from the middle after that; 0 cuts nothing.
        normalize: ``standard`` (each channel to mean 0 and standard deviation 1 over the training pictures), ``unit``
            (0 to 1) or ``fixed`` (by ``mean`` and ``std``).
        mean, std: of each channel where black is 0 and white 1; for ``fixed``.
    """

    resize: int | tuple[int, int] | None = None
    crop: int = 0
    normalize: Literal["standard", "unit", "fixed"] = "standard"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is done to each picture.

    Attributes:
        square: whether the central square is taken before resizing.
        size: height and width after resizing.
        crop: side of the square cut from the middle; 0 is none.
        mean, std: of each channel where black is 0 and white 1.
    """

    square: bool
    size: tuple[int, int]
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the tensor that is made."""
        height, width = (self.crop, self.crop) if self.crop else self.size
        return len(self.mean), height, width


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over pictures, which add up chunk by chunk.

    Attributes:
        pixels: pixels summed, in each channel.
        total: sum of each channel, white is 1.
        squares: sum of the squares.
    """

    pixels: int = 0
    total: tuple[float, ...] = ()
    squares: tuple[float, ...] = ()

    def __add__(self, other: Moments) -> Moments:
        if not self.pixels or not other.pixels:
            return other if other.pixels else self
        total = tuple(a + b for a, b in zip(self.total, other.total, strict=True))
        squares = tuple(a + b for a, b in zip(self.squares, other.squares, strict=True))
        return Moments(self.pixels + other.pixels, total, squares)

    @property
    def mean(self) -> tuple[float, ...]:
        """Of each channel, white is 1."""
        return tuple(total / self.pixels for total in self.total)

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel, white is 1."""
        spread = zip(self.squares, self.mean, strict=True)
        return tuple(float(np.sqrt(max(square / self.pixels - mean**2, 0.0))) for square, mean in spread)


def wrong(options: Options) -> str:
    """What contradicts itself in these options, as the end of a sentence; empty if nothing does."""
    sides = (options.resize,) if isinstance(options.resize, int) else options.resize or ()
    if any(s < 1 for s in sides) or options.crop < 0:
        return f"resize = {options.resize} and crop = {options.crop} are lengths in pixels and must be positive"
    if sides and options.crop > min(sides):
        return f"crop = {options.crop} is larger than resize = {options.resize}; make it at most {min(sides)}"
    if options.normalize == "fixed" and (not options.mean or len(options.mean) != len(options.std)):
        return 'normalize = "fixed" needs mean and std, one number a channel each'
    return "every std must be above 0" if any(s <= 0 for s in options.std) else ""


def fit(values: ndarray, options: Options) -> Fitted:
    """Size and scale from pictures: uint8 (rows, height, width, channels), or an object array of such pictures."""
    sized = replace(options, resize=_found(options, values))
    return settle(measure(values, sized), sized)


def measure(values: ndarray, options: Options) -> Moments:
    """The sums over these pictures, resized and cut as the options say, which must name a size; add them up."""
    plain = _geometry(options)
    total = Moments()
    for _, pictures in groups(values):
        pixels = _placed(pictures, plain).astype(np.float64) / 255
        sums, squares = pixels.sum(axis=(0, 2, 3)), np.square(pixels).sum(axis=(0, 2, 3))
        total += Moments(pixels[:, 0].size, tuple(sums.tolist()), tuple(squares.tolist()))
    return total


def settle(moments: Moments, options: Options) -> Fitted:
    """What is done to each picture, from the sums over all of them and options that name a size."""
    plain, channels = _geometry(options), len(moments.total)
    if options.normalize == "fixed":
        return replace(plain, mean=options.mean, std=options.std)
    if options.normalize == "unit":
        return replace(plain, mean=(0.0,) * channels, std=(1.0,) * channels)
    std = tuple(spread if spread > _FLAT else 1.0 for spread in moments.std)
    return replace(plain, mean=moments.mean, std=std)


def transform(values: ndarray, fitted: Fitted) -> ndarray:
    """uint8 pictures, (rows, height, width, channels) or objects → float32 (rows, channels, height, width)."""
    made = np.empty((len(values), *fitted.shape), np.float32)
    offset, spread = _scale(fitted)
    for rows, pictures in groups(values):
        made[rows] = (_placed(pictures, fitted) - offset) / spread
    return made


def nodes(fitted: Fitted, builder: Builder, value: str) -> str:
    """The same as nodes: uint8 (batch, height, width, channels) → float32 (batch, channels, height, width)."""
    whole = _square(builder, value) if fitted.square else value
    pixels = builder.node("Cast", builder.node("Transpose", whole, perm=[0, 3, 1, 2]), to=element_type("float32"))
    # All four lengths are given: with the attribute "axes" onnxruntime takes a way that is seven times slower.
    start = builder.node("Shape", pixels, start=0, end=2)
    sizes = builder.node("Concat", start, builder.constant(np.array(fitted.size)), axis=0)
    sized = builder.node(
        "Resize", pixels, "", "", sizes, mode="linear", antialias=1, exclude_outside=1,
        coordinate_transformation_mode="half_pixel",
    )  # fmt: skip
    offset, spread = _scale(fitted)
    moved = builder.node("Sub", _cut(builder, sized, fitted), builder.constant(offset))
    return builder.node("Div", moved, builder.constant(spread))


def names(fitted: Fitted, names: Sequence[str]) -> list[str]:  # noqa: ARG001 - the contract of the shelf
    """None: pixels have no names."""
    return []


def side(heights: Sequence[int], widths: Sequence[int]) -> int | tuple[int, int]:
    """The size found for pictures of these sizes: their own where all have one that is small enough.

    Pictures of one size that is not square keep their proportions. All others become squares, as large as the shorter
    side of the one in the middle, and at most 64 pixels.
    """
    if len(set(heights)) == len(set(widths)) == 1 and max(heights[0], widths[0]) <= _LARGEST_FOUND:
        return heights[0] if heights[0] == widths[0] else (heights[0], widths[0])
    shorter = sorted(map(min, heights, widths))
    return min(shorter[len(shorter) // 2], _LARGEST_FOUND)


def groups(values: ndarray) -> Iterator[tuple[ndarray, ndarray]]:
    """Pictures of one size at a time: row numbers, and uint8 (rows, height, width, channels)."""
    if values.dtype != object:
        yield np.arange(len(values)), values
        return
    shapes: dict[tuple[int, ...], list[int]] = {}
    for row, picture in enumerate(values):
        shapes.setdefault(picture.shape, []).append(row)
    for rows in shapes.values():
        yield np.array(rows), np.stack([values[row] for row in rows])


def _found(options: Options, values: ndarray) -> int | tuple[int, int]:
    if options.resize is not None:
        return options.resize
    shapes = [picture.shape for picture in values]
    return side([shape[0] for shape in shapes], [shape[1] for shape in shapes])


def _geometry(options: Options) -> Fitted:
    """Where pixels go, without what they are scaled by."""
    assert options.resize is not None, "a plan names the size"
    if isinstance(options.resize, int):
        return Fitted(True, (options.resize, options.resize), options.crop, (), ())
    return Fitted(False, (options.resize[0], options.resize[1]), options.crop, (), ())


def _placed(pictures: ndarray, fitted: Fitted) -> ndarray:
    """uint8 (rows, height, width, channels) → float32 (rows, channels, height, width) 0 to 255, resized and cut."""
    if fitted.square:
        height, width = pictures.shape[1:3]
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        pictures = pictures[:, top : top + short, left : left + short]
    sized = resample(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32), fitted.size)
    if not fitted.crop:
        return sized
    top, left = ((length - fitted.crop) // 2 for length in fitted.size)
    return sized[:, :, top : top + fitted.crop, left : left + fitted.crop]


def _scale(fitted: Fitted) -> tuple[ndarray, ndarray]:
    """What is taken off each channel and what it is divided by, in levels from 0 to 255, (1, channels, 1, 1)."""
    offset, spread = (np.array(side, np.float64) * 255 for side in (fitted.mean, fitted.std))
    return (offset.astype(np.float32).reshape(1, -1, 1, 1), spread.astype(np.float32).reshape(1, -1, 1, 1))


def _square(builder: Builder, value: str) -> str:
    """The central square of (batch, height, width, channels)."""
    lengths = builder.node("Shape", value, start=1, end=3)
    short = builder.node("ReduceMin", lengths, keepdims=1)
    start = builder.node("Div", builder.node("Sub", lengths, short), builder.constant(np.array([2])))
    return builder.node("Slice", value, start, builder.node("Add", start, short), builder.constant(np.array([1, 2])))


def _cut(builder: Builder, value: str, fitted: Fitted) -> str:
    """The central crop of (batch, channels, height, width)."""
    if not fitted.crop or fitted.size == (fitted.crop, fitted.crop):
        return value
    start = np.array([(length - fitted.crop) // 2 for length in fitted.size])
    return builder.node(
        "Slice",
        value,
        builder.constant(start),
        builder.constant(start + fitted.crop),
        builder.constant(np.array([2, 3])),
    )
