"""Images brought to another size, as ONNX's ``Resize`` does it (linear, antialias, half_pixel, exclude_outside).

Each pixel made is a weighted mean of the pixels under a triangle as wide as the step between pixels made, so that a
small picture of a large one does not flicker. It is what PIL calls ``BILINEAR`` and torch ``antialias=True``, but in
float32 throughout instead of rounded to whole levels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy import ndarray

__all__ = ["resample"]


def resample(images: ndarray, size: tuple[int, int]) -> ndarray:
    """float32 (images, channels, height, width) → the same with this height and width."""
    height, width = images.shape[2:]
    if (height, width) == size:
        return images
    sized: ndarray = np.matmul(np.matmul(_weights(height, size[0]), images), _weights(width, size[1]).T)
    return sized


@lru_cache(maxsize=256)
def _weights(given: int, made: int) -> ndarray:
    """How much each pixel given counts in each pixel made, float32 (made, given), rows sum to 1."""
    step = given / made
    centers = (np.arange(made) + 0.5) * step - 0.5
    distance = np.abs(np.arange(given) - centers[:, None]) / max(step, 1.0)
    triangle = np.maximum(0.0, 1.0 - distance)
    weights: ndarray = (triangle / triangle.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights
