"""What training saw of each raw input, as plain JSON: for probes, for monitoring, and for a reader.

Quantiles are of all rows that were fitted on. Examples are real values, of the same rows in every column, so that a
probe can be a row that could have been. Of pictures none is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from engram.preprocessing._moments import columns, mean, quantile, standard_deviation
from engram.preprocessing.image import Moments

__all__ = ["of_images", "of_numbers", "of_words"]

_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_EXAMPLES = 32
_TOP = 64


def of_numbers(kind: str, values: ndarray) -> dict[str, Any]:
    """Of float64 (rows,) with NaN for a gap: range, moments, quantiles, share of gaps, examples."""
    (present,) = columns(values[:, None])
    found: dict[str, Any] = {"kind": kind, "rows": len(values), "gaps": 1 - len(present) / len(values)}
    if len(present):
        found |= {"min": float(present.min()), "max": float(present.max())}
        found |= {"mean": mean(present), "std": standard_deviation(present)}
        found["quantiles"] = {f"{share:g}": quantile(present, share) for share in _QUANTILES}
    found["examples"] = [None if np.isnan(value) else float(value) for value in _examples(values)]
    return found


def of_words(kind: str, values: ndarray) -> dict[str, Any]:
    """Of str (rows,) with ``""`` for a gap: the most frequent with their counts, share of gaps, examples."""
    counts = Counter(values.tolist())
    top = sorted(counts, key=lambda word: (-counts[word], word))[:_TOP]
    return {
        "kind": kind,
        "rows": len(values),
        "gaps": counts[""] / len(values),
        "distinct": len(counts) - ("" in counts),
        "values": [[word, counts[word]] for word in top if word],
        "examples": [str(word) for word in _examples(values)],
    }


def of_images(shapes: Mapping[tuple[int, ...], int], moments: Moments) -> dict[str, Any]:
    """Of pictures: smallest and largest sizes, and mean and standard deviation with white as 1; no picture is kept.

    Args:
        shapes: (height, width, channels) → how many pictures have it.
        moments: of all pixels after resizing.
    """
    heights, widths, channels = zip(*shapes, strict=True)
    mean, squares = np.array(moments.mean), np.array(moments.std) ** 2 + np.array(moments.mean) ** 2
    return {
        "kind": "image",
        "rows": sum(shapes.values()),
        "gaps": 0.0,
        "height": [min(heights), max(heights)],
        "width": [min(widths), max(widths)],
        "channels": max(channels),
        "mean": float(mean.mean()),
        "std": float(np.sqrt(max(squares.mean() - mean.mean() ** 2, 0.0))),
        "channel_mean": list(moments.mean),
        "channel_std": list(moments.std),
    }


def _examples(values: ndarray) -> Sequence[Any]:
    """Up to 32 values, evenly spaced."""
    count = min(_EXAMPLES, len(values))
    return [values[row * len(values) // count] for row in range(count)]
