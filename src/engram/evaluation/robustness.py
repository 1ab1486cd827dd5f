"""How fast a network gets worse when its inputs do: noise on numbers, missing fields, blur on images.

Every amount disturbs the same rows with the same draw, so that the curve shows the amount and not the draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from engram.evaluation.answers import Answers
from engram.evaluation.intervals import mean_interval
from engram.records import Curve

__all__ = ["blurred", "missing", "noisy", "robustness"]

_NOISE = (0.0, 0.1, 0.25, 0.5, 1.0)
_MISSING = (0.0, 0.05, 0.1, 0.25, 0.5)
_BLUR = (0.0, 0.5, 1.0, 2.0, 4.0)
_IMAGES = "blur, radius in pixels"
_NUMBERS = "noise on numbers, in standard deviations"
_GAPS = "share of fields missing"

Columns = Mapping[str, ndarray]


def robustness(ask: Callable[[Columns], Answers], columns: Columns, *, seed: int = 0) -> tuple[Curve, ...]:
    """The error over the amount of each disturbance that these columns allow.

    Args:
        ask: columns of the same rows to their answers.
        columns: column → raw values: numbers, text, or images (rows, height, width, channels) of 8-bit pixels.
        seed: of the noise and of the fields that go missing.
    """
    images = [name for name, values in columns.items() if pictorial(values)]
    rest = [name for name in columns if name not in images]
    numbers = [name for name in rest if columns[name].dtype.kind == "f"]
    made = []
    if numbers:
        made.append(_curve(_NUMBERS, _NOISE, lambda amount: ask(noisy(columns, numbers, amount, seed=seed))))
    if rest:
        made.append(_curve(_GAPS, _MISSING, lambda amount: ask(missing(columns, rest, amount, seed=seed))))
    if images:
        made.append(_curve(_IMAGES, _BLUR, lambda amount: ask(blurred(columns, images, amount))))
    return tuple(made)


def pictorial(values: ndarray) -> bool:
    """Whether a column holds images."""
    first: Any = values[0] if len(values) else None
    return isinstance(first, np.ndarray) and first.ndim == 3


def noisy(columns: Columns, chosen: list[str], amount: float, *, seed: int = 0) -> dict[str, ndarray]:
    """Numbers with normal noise of so many of their own standard deviations; of nothing but 0 and 1, as they are."""
    generator = np.random.default_rng(seed)
    made = dict(columns)
    for name in chosen:
        values = columns[name]
        drawn = generator.normal(size=len(values))
        there = values[np.isfinite(values)]
        if len(there) and not np.isin(there, (0.0, 1.0)).all():
            made[name] = (values + amount * there.std() * drawn).astype(values.dtype)
    return made


def missing(columns: Columns, chosen: list[str], amount: float, *, seed: int = 0) -> dict[str, ndarray]:
    """The columns with such a share of the fields taken out: NaN for numbers, ``""`` for text."""
    generator = np.random.default_rng(seed)
    made = dict(columns)
    for name in chosen:
        values = columns[name]
        gone = generator.uniform(size=len(values)) < amount
        if values.dtype.kind in "fO":
            made[name] = np.where(gone, np.nan if values.dtype.kind == "f" else "", values).astype(values.dtype)
    return made


def blurred(columns: Columns, chosen: list[str], amount: float) -> dict[str, ndarray]:
    """Images under a Gaussian blur of this radius in pixels."""
    made = dict(columns)
    for name in chosen:
        softened = [_blur(image, amount) for image in columns[name]]
        array = np.empty(len(softened), object)
        array[:] = softened
        made[name] = np.stack(softened) if columns[name].ndim == 4 else array
    return made


def _blur(image: ndarray, radius: float) -> ndarray:
    from PIL import Image, ImageFilter  # only for data that are images

    shades = [Image.fromarray(np.ascontiguousarray(image[:, :, i], dtype=np.uint8)) for i in range(image.shape[2])]
    return np.stack([np.asarray(one.filter(ImageFilter.GaussianBlur(radius))) for one in shades], axis=2)


def _curve(name: str, amounts: tuple[float, ...], ask: Callable[[float], Answers]) -> Curve:
    points = [mean_interval(ask(amount).errors()) for amount in amounts]
    return Curve(name, amounts, *(tuple(values) for values in zip(*points, strict=True)))
