"""Real data that scikit-learn ships, so that a fresh machine has something to learn without a download.

``from = "sklearn:digits"``. The digits come as images of eight by eight pixels; their sixteen shades of grey are spread
over 0 to 255 so that they look like any other image to the stages that follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy import ndarray

from engram.data import _digest, _table
from engram.data._pictures import Pictures
from engram.data._types import Field
from engram.data._values import as_words
from engram.errors import MissingLibrary, UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Column, Dataset

__all__ = ["TARGETS", "Options", "open", "recognizes"]

TARGETS: Mapping[str, str] = {
    "breast_cancer": "diagnosis",
    "diabetes": "progression",
    "digits": "label",
    "iris": "species",
    "wine": "cultivar",
}
"""Each data set with the name of its target column."""

_PREFIX = "sklearn:"


@dataclass(frozen=True, slots=True)
class Options:
    """How the data are given.

    Attributes:
        form: ``image`` or ``table`` for the digits; every other set is a table. Empty means image for the digits.
    """

    form: str = ""


def recognizes(place: str) -> bool:
    """Whether this is ``sklearn:`` and a name."""
    return place.startswith(_PREFIX)


def open(places: tuple[str, ...], names: tuple[str, ...] = (), options: Options | None = None) -> Dataset:  # noqa: A001 - the contract
    """One of the data sets of scikit-learn.

    Args:
        places: the one ``sklearn:NAME``.
        names: must be empty; the columns have their names.
        options: how the data are given.

    Raises:
        UnknownName: there is no such data set.
        UsageError: more than one place, names, or a form that does not exist.
        MissingLibrary: scikit-learn is not installed.
    """
    form = (options or Options()).form
    if len(places) != 1 or names:
        raise UsageError("sklearn gives one data set at a time, without names = […]", place="data.from")
    name = places[0].removeprefix(_PREFIX)
    if name not in TARGETS:
        raise UnknownName(f"scikit-learn has no data set {name!r} here; {nearest(name, TARGETS)}", place="data.from")
    forms = ("image", "table") if name == "digits" else ("table",)
    if form and form not in forms:
        wrong = f"[data] form = {form!r} is refused for sklearn:{name}; it can be {' or '.join(forms)}"
        raise UsageError(wrong, place="data.form")
    given = _bunch(name)
    return _images(given, places) if name == "digits" and form != "table" else _rows(name, given, places)


def _bunch(name: str) -> Mapping[str, ndarray | list[str]]:
    try:
        from sklearn import datasets  # 1.4 s that only these data need
    except ModuleNotFoundError:
        raise MissingLibrary(
            "data source 'sklearn' needs scikit-learn, which is not installed; pip install 'engram[sklearn]'"
        ) from None
    found: Mapping[str, ndarray | list[str]] = getattr(datasets, f"load_{name}")()
    return found


def _bytes(given: Mapping[str, ndarray | list[str]]) -> str:
    return _digest.parts([np.ascontiguousarray(given[key]).tobytes() for key in ("data", "target")])


def _labels(given: Mapping[str, ndarray | list[str]]) -> pl.Series:
    words = [str(word) for word in given["target_names"]]
    return pl.Series([words[i] for i in np.asarray(given["target"])], dtype=pl.String)


def _images(given: Mapping[str, ndarray | list[str]], places: tuple[str, ...]) -> Dataset:
    pixels = np.rint(np.asarray(given["images"]) * (255 / 16)).astype(np.uint8)[..., None]
    shape = (8, 8, 1)
    rows = len(pixels)
    part = Pictures(tuple(f"digits/{i}" for i in range(rows)), as_words(_labels(given)), shape, pixels)
    columns = (
        Column("image", "image", f"{rows:,} images of 8 × 8 pixels in grey", 0, rows, shape),
        Column("label", "category", "10 digits", 0, 10),
    )
    return Dataset(columns, {"all": part}, _bytes(given), "label", places[0])


def _rows(name: str, given: Mapping[str, ndarray | list[str]], places: tuple[str, ...]) -> Dataset:
    data = np.asarray(given["data"])
    headers = [str(header).removesuffix(" (cm)").replace(" ", "_") for header in given["feature_names"]]
    fields = {h: Field(h, pl.Series(data[:, i]).cast(pl.String)) for i, h in enumerate(headers)}
    classes = "target_names" in given
    target = _labels(given) if classes else pl.Series(np.asarray(given["target"])).cast(pl.String)
    fields[TARGETS[name]] = Field(TARGETS[name], target)
    columns, table = _table.of_fields(fields)
    notes = tuple(f"column {c.name!r} is ignored: {c.reason}" for c in columns if c.kind == "ignore")
    return Dataset(columns, {"all": table}, _bytes(given), TARGETS[name], places[0], notes)
