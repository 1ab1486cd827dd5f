"""A moment becomes the parts that people think in: year, month, day, weekday, hour.

Seconds are turned into calendar parts by whole-number arithmetic inside the graph, so that nobody needs a calendar
where the model is served. Parts that come round again become a sine and a cosine, as December lies beside January. A
gap stays a gap in every part, to be imputed after; the column "missing" says that there was one.

Moments outside the years 1 to 9999 are taken as the first or last second of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy import ndarray

from engram.graphs.build import Builder, element_type
from engram.preprocessing._arithmetic import Wire

__all__ = ["LIMITS", "MAIN", "PARTS", "Fitted", "Options", "calendar", "fit", "names", "nodes", "transform", "wrong"]

MAIN = "parts"
PARTS = ("year", "month", "day", "weekday", "hour", "minute", "second")
LIMITS = _FIRST, _LAST = -62_135_596_800.0, 253_402_300_799.0  # 0001-01-01T00:00:00Z, 9999-12-31T23:59:59Z
_ROUND = {"month": (1, 12), "day": (1, 31), "weekday": (0, 7), "hour": (0, 24), "minute": (0, 60), "second": (0, 60)}

Part = Literal["year", "month", "day", "weekday", "hour", "minute", "second"]
Whole = TypeVar("Whole", Wire, ndarray)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``date``.

    Attributes:
        parts: which parts become columns: any of ``year``, ``month``, ``day``, ``weekday`` (Monday is 0), ``hour``,
            ``minute`` and ``second``.
        cyclic: whether every part but the year becomes a sine and a cosine.
        indicator: whether a column is added that is 1 where there was a gap and 0 elsewhere.
    """

    parts: tuple[Part, ...] = ("year", "month", "day", "weekday", "hour")
    cyclic: bool = True
    indicator: bool = False


@dataclass(frozen=True, slots=True)
class Fitted:
    """Nothing is learned: the options as they are."""

    parts: tuple[str, ...]
    cyclic: bool
    indicator: bool


def wrong(options: Options) -> str:
    """What contradicts itself in these options, as the end of a sentence; empty if nothing does."""
    if not options.parts or len(set(options.parts)) != len(options.parts):
        return f"parts = {list(options.parts)} must name at least one part, and none twice"
    return ""


def fit(values: ndarray, options: Options) -> Fitted:  # noqa: ARG001 - the contract of the shelf
    """The options; the calendar needs no data."""
    return Fitted(tuple(options.parts), options.cyclic, options.indicator)


def transform(values: ndarray, fitted: Fitted) -> ndarray:
    """Seconds since 1970-01-01T00:00Z, float64 (rows, 1) with NaN for a gap → float64 (rows, columns)."""
    gaps = np.isnan(values)
    seconds = np.floor(np.clip(np.where(gaps, 0.0, values), _FIRST, _LAST)).astype(np.int64)
    found = calendar(seconds - int(_FIRST), fitted.parts)
    made = [column for part in fitted.parts for column in _columns(part, found[part], fitted.cyclic)]
    whole = np.where(gaps, np.nan, np.concatenate(made, axis=1))
    return np.concatenate([whole, gaps.astype(np.float64)], axis=1) if fitted.indicator else whole


def nodes(fitted: Fitted, builder: Builder, value: str) -> str:
    """The same as nodes: float64 (batch, 1) → float64 (batch, columns)."""
    gaps = builder.node("IsNaN", value)
    present = builder.node("Where", gaps, builder.constant(np.float64(0)), value)
    inside = builder.node("Clip", present, builder.constant(np.float64(_FIRST)), builder.constant(np.float64(_LAST)))
    seconds = Wire(builder, builder.node("Cast", builder.node("Floor", inside), to=element_type("int64")))
    found = calendar(seconds - int(_FIRST), fitted.parts)
    made = [name for part in fitted.parts for name in _nodes(part, found[part], fitted.cyclic)]
    whole = builder.node("Where", gaps, builder.constant(np.float64(np.nan)), builder.node("Concat", *made, axis=1))
    if not fitted.indicator:
        return whole
    return builder.node("Concat", whole, builder.node("Cast", gaps, to=element_type("float64")), axis=1)


def names(fitted: Fitted, names: Sequence[str]) -> list[str]:
    """``date year``, ``date month sin``, ``date month cos`` …, then ``date missing``."""
    (name,) = names
    made = []
    for part in fitted.parts:
        round_again = fitted.cyclic and part in _ROUND
        made += [f"{name} {part} sin", f"{name} {part} cos"] if round_again else [f"{name} {part}"]
    return [*made, *([f"{name} missing"] if fitted.indicator else [])]


def calendar(seconds: Whole, parts: Sequence[str]) -> dict[str, Whole]:
    """The wanted parts of moments given in whole seconds since 0001-01-01T00:00Z, which must not be negative.

    Source: Hinnant 2013, chrono-Compatible Low-Level Date Algorithms, ``civil_from_days``.
    """
    days = seconds // 86_400
    second = seconds % 86_400
    found: dict[str, Whole] = {}
    if set(parts) & {"year", "month", "day"}:
        found["year"], found["month"], found["day"] = _civil(days + 306)
    if "weekday" in parts:
        found["weekday"] = days % 7  # 0001-01-01 was a Monday
    if "hour" in parts:
        found["hour"] = second // 3600
    if "minute" in parts:
        found["minute"] = second % 3600 // 60
    if "second" in parts:
        found["second"] = second % 60
    return found


def _civil(days: Whole) -> tuple[Whole, Whole, Whole]:
    """Year, month and day of a number of days since 0000-03-01, from where years end with February."""
    era = days // 146_097
    day_of_era = days % 146_097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (year_of_era * 365 + year_of_era // 4 - year_of_era // 100)
    month_from_march = (day_of_year * 5 + 2) // 153
    next_year = month_from_march // 10  # January and February are months 10 and 11 of the year before
    day = day_of_year - (month_from_march * 153 + 2) // 5 + 1
    return year_of_era + era * 400 + next_year, month_from_march + 3 - next_year * 12, day


def _columns(part: str, whole: ndarray, cyclic: bool) -> list[ndarray]:
    if not cyclic or part not in _ROUND:
        return [whole.astype(np.float64)]
    return [table[whole - _ROUND[part][0]] for table in _circle(part)]


def _nodes(part: str, whole: Wire, cyclic: bool) -> list[str]:
    builder = whole.builder
    if not cyclic or part not in _ROUND:
        return [builder.node("Cast", whole.name, to=element_type("float64"))]
    place = (whole - _ROUND[part][0]).name
    return [builder.node("Gather", builder.constant(table), place) for table in _circle(part)]


def _circle(part: str) -> tuple[ndarray, ndarray]:
    """Sine and cosine of each value of a part.

    Tables, not operators: libraries differ in the last digit, and a column of 6e-17 where 0 is meant would be scaled up
    to something that looks like data.
    """
    _, length = _ROUND[part]
    angle = np.arange(length) * (2 * np.pi / length)
    return np.round(np.sin(angle), 15) + 0.0, np.round(np.cos(angle), 15) + 0.0
