"""The rows the model got most wrong: what a person looks at first to understand a model.

For classes they are the ones whose true class was given the least chance, for numbers those furthest off.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy import ndarray

from engram.evaluation.answers import Answers
from engram.evaluation.verdict import share
from engram.records import Task

__all__ = ["Example", "words", "worst"]

_MOST = 12
_LONGEST = 60
_COLUMNS = 16
_SIDE = 128


@dataclass(frozen=True, slots=True)
class Example:
    """One wrong answer, in words.

    Attributes:
        row: its number among the judged rows, from 1.
        true, predicted: what is right and what was answered.
        measure: the chance given to the truth and to the answer, or the error.
        values: column → raw value, for tables.
        image: a ``data:`` URI of the picture; empty for tables.
    """

    row: int
    true: str
    predicted: str
    measure: str
    values: Mapping[str, str] = field(default_factory=dict)
    image: str = ""


def worst(
    task: Task, answers: Answers, take: Callable[[ndarray], Mapping[str, ndarray]] | None, most: int = _MOST
) -> tuple[Example, ...]:
    """The rows the model got most wrong, worst first; nothing where every row is right.

    Args:
        task: what was to be learned.
        answers: truth and prediction.
        take: row numbers to raw columns; None leaves the columns out.
        most: rows at most.
    """
    rows = _wrong(answers)[:most]
    columns = take(rows) if take is not None and len(rows) else {}
    shown = {name: values for name, values in columns.items() if name != task.target}
    return tuple(_example(task, answers, int(row), _raw(shown, i)) for i, row in enumerate(rows))


def _wrong(answers: Answers) -> ndarray:
    if answers.values is not None:
        off = np.abs(answers.values - answers.truth)
        rows = np.argsort(-np.where(np.isnan(off), np.inf, off), kind="stable")
        wrong_rows: ndarray = rows[off[rows] != 0]
        return wrong_rows
    assert answers.labels is not None
    wrong = np.flatnonzero(answers.labels != answers.truth)
    if answers.probabilities is None:
        return wrong
    chance = answers.probabilities[wrong, answers.truth[wrong]]
    ordered: ndarray = wrong[np.argsort(np.nan_to_num(chance, nan=-1.0), kind="stable")]
    return ordered


def _example(task: Task, answers: Answers, row: int, raw: tuple[Mapping[str, str], str]) -> Example:
    values, image = raw
    if answers.values is not None:
        true, value = float(answers.truth[row]), float(answers.values[row])
        return Example(row + 1, f"{true:,.4g}", f"{value:,.4g}", f"{value - true:+,.4g}", values, image)
    assert answers.labels is not None
    label, said = int(answers.truth[row]), int(answers.labels[row])
    measure = ""
    if answers.probabilities is not None:
        given, missed = (float(answers.probabilities[row, c]) for c in (said, label))
        measure = f"{share(given)} against {share(missed)}"
    return Example(row + 1, task.labels[label], task.labels[said], measure, values, image)


def _raw(columns: Mapping[str, ndarray], place: int) -> tuple[Mapping[str, str], str]:
    """The values of one row in words, or its picture."""
    values: dict[str, str] = {}
    for name, column in columns.items():
        value = column[place]
        if isinstance(value, np.ndarray) and value.ndim >= 2:
            return {}, _thumbnail(value)
        if len(values) < _COLUMNS:
            values[name] = words(value)
    return values, ""


def words(value: object) -> str:
    """A value of a column in words, as short as a table needs it; ``–`` for a gap."""
    if isinstance(value, float | np.floating):
        return "–" if np.isnan(value) else f"{float(value):,.6g}"
    text = " ".join(str(value).split())
    return (text[: _LONGEST - 1] + "…" if len(text) > _LONGEST else text) or "–"


def _thumbnail(pixels: ndarray) -> str:
    """A PNG of at most 128 pixels a side; small images keep their pixels and the page enlarges them."""
    from PIL import Image  # only for data that are images

    array = np.ascontiguousarray(pixels, dtype=np.uint8)
    picture = Image.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
