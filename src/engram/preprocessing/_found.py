"""Which steps a column gets when the pipeline file does not say, and why.

The rules look at training rows only. They are few and each gives its reason, because what is found here is written into
the lock file for a person to read.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy import ndarray

from engram.preprocessing import bins, clip, date, encode, image, impute, scale
from engram.preprocessing._columns import Step
from engram.preprocessing._moments import columns, mean, standard_deviation
from engram.records import Column

__all__ = ["steps", "useless"]

_GAPS = 0.01  # share of gaps from which that a value is missing may say something
_SKEW = 3.0  # beyond this a few rows decide mean and standard deviation
_FAR = 12.0  # standard deviations; a normal column of any size does not get there
_MANY = 1000  # categories beyond which a column each costs more than it tells
_ROWS = 500  # from which a bin has rows enough to learn from
_BINNED = 1024  # features that the bins of all columns may make together
_OWN = 0.9  # distinct values per row from which a column names rows rather than describes them


def useless(column: Column, values: ndarray) -> str:
    """Why a sample of training rows says that this column cannot help; empty if it may."""
    if column.kind == "image":
        return ""
    present = _present(values)
    distinct = set(present.tolist())
    if not distinct:
        return "no row of the training data has a value"
    if len(distinct) == 1 and len(values) - len(present) <= _GAPS * len(values):
        return f"every row of the training data has {next(iter(distinct))!r}"
    if column.kind in {"category", "text"} and len(distinct) >= _OWN * len(values) and len(values) >= 50:
        return f"{len(distinct):,} different texts in {len(values):,} rows"
    if column.kind == "text" and 2 * len(distinct) > len(values):
        return "free text is not read"
    return ""


def steps(column: Column, values: ndarray, numbers: int = 1) -> tuple[Step, ...]:
    """The steps for a column.

    Args:
        column: as it was found.
        values: a sample of its training rows; of pictures the sample is of their shapes.
        numbers: columns of numbers in the table, which share what bins may cost.
    """
    if column.kind == "image":
        return _image(values)
    present = _present(values)
    if column.kind in {"category", "text"}:
        return _words(len(set(present.tolist())))
    gaps = 1 - len(present) / len(values)
    if column.kind == "number":
        return (*_number(present, gaps), *_bins(present, numbers))
    return {"boolean": _boolean, "date": _date}[column.kind](present, gaps)


def _present(values: ndarray) -> ndarray:
    present: ndarray = values[values != ""] if values.dtype == object else values[~np.isnan(values)]
    return present


def _number(present: ndarray, gaps: float) -> tuple[Step, ...]:
    scaled, why = _scaled(present)
    learned = scale.fit(present[:, None], scaled)
    far = float(np.abs(scale.transform(present[:, None], learned)).max(initial=0.0))
    filled = Step("impute", impute.Options(indicator=gaps > _GAPS), _gaps(gaps))
    steps = (filled, Step("scale", scaled, why))
    if far <= _FAR:
        return steps
    return (Step("clip", clip.Options(), f"a value lies {far:.0f} standard deviations away"), *steps)


def _bins(present: ndarray, numbers: int) -> tuple[Step, ...]:
    count = min(bins.Options().count, _BINNED // max(numbers, 1))
    if len(present) < _ROWS or count < 4 or len(np.unique(present)) < 3:
        return ()
    return (Step("bins", bins.Options(count), f"{numbers} columns of numbers with rows enough for {count}"),)


def _scaled(present: ndarray) -> tuple[scale.Options, str]:
    before, after = _skewness(present), _skewness(scale.signed_log(present))
    if abs(before) > _SKEW and abs(after) < 0.75 * abs(before):
        return scale.Options("log"), f"skewness {before:.1f}, of the logarithm {after:.1f}"
    return scale.Options("standard"), f"skewness {before:.1f}"


def _boolean(present: ndarray, gaps: float) -> tuple[Step, ...]:  # noqa: ARG001 - called like the others
    return (Step("impute", impute.Options("most_frequent", indicator=gaps > _GAPS), _gaps(gaps)),)


def _date(present: ndarray, gaps: float) -> tuple[Step, ...]:
    whole = np.floor(np.clip(present, *date.LIMITS)).astype(np.int64) - int(date.LIMITS[0])
    found = date.calendar(whole, date.PARTS)
    parts = tuple(part for part in date.PARTS[:5] if len(np.unique(found[part])) > 1) or ("year",)
    chosen = date.Options(parts, indicator=gaps > _GAPS)  # type: ignore[arg-type]
    return (
        Step("date", chosen, f"{', '.join(parts)} differ between rows"),
        Step("impute", impute.Options("mean"), "a gap counts as the middle"),
        Step("scale", scale.Options()),
    )


def _words(distinct: int) -> tuple[Step, ...]:
    chosen, why = encode.Options(), f"{distinct:,} categories"
    if distinct > _MANY:
        chosen, why = replace(chosen, method="hashed"), f"{distinct:,} categories are too many for a column each"
    elif distinct > chosen.maximum:
        why = f"{distinct:,} categories, the {chosen.maximum} most frequent of them with a column"
    return (Step("encode", chosen, why),)


def _image(shapes: ndarray) -> tuple[Step, ...]:
    heights, widths = shapes[:, 0].tolist(), shapes[:, 1].tolist()
    shorter = sorted(map(min, heights, widths))
    same = f"all are {heights[0]} × {widths[0]}" if len(np.unique(shapes, axis=0)) == 1 else ""
    why = same or f"shorter sides from {shorter[0]} to {shorter[-1]} pixels"
    return (Step("image", image.Options(resize=image.side(heights, widths)), why),)


def _gaps(share: float) -> str:
    return f"{share:.1%} gaps" if share else "no gaps in the training rows"


def _skewness(values: ndarray) -> float:
    """The third standardized moment; 0 for a column that does not vary."""
    (present,) = columns(values[:, None])
    spread = standard_deviation(present)
    if spread <= 1e-12 * float(np.abs(present).max(initial=0.0)):
        return 0.0
    return float(np.mean(((present - mean(present)) / spread) ** 3))
