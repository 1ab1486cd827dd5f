"""Raw columns as a person reads them: a date is a date, and not the seconds since 1970 that a network is given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
from numpy import ndarray

__all__ = ["readable", "written"]

_DAY = 86_400


def readable(
    take: Callable[[ndarray], Mapping[str, ndarray]], dates: Collection[str]
) -> Callable[[ndarray], dict[str, ndarray]]:
    """The same rows, with the columns that are dates written out.

    Args:
        take: row numbers, int64 (rows,), to raw columns.
        dates: names of the columns that hold seconds since 1970-01-01T00:00Z.
    """

    def taken(rows: ndarray) -> dict[str, ndarray]:
        return {name: written(values) if name in dates else values for name, values in take(rows).items()}

    return taken


def written(seconds: ndarray) -> ndarray:
    """Moments as ISO 8601, days alone where none has a time; ``""`` for a gap. Object array of str (rows,)."""
    there = np.isfinite(seconds)
    whole = np.where(there, seconds, 0).astype(np.int64)
    unit = "s" if (whole % _DAY).any() else "D"
    texts = np.datetime_as_string(whole.astype("datetime64[s]").astype(f"datetime64[{unit}]")).astype(object)
    texts[~there] = ""
    return np.asarray(texts, dtype=object)
