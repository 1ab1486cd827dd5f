"""What a model answered for some rows: one record for classes and numbers, so that doors need no cases."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy import ndarray

__all__ = ["Prediction"]

_SHOWN = 10
_WIDEST = 12


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered, row by row.

    Attributes:
        labels: the most probable class of each row, object array of str (rows,); None for regression.
        probabilities: float32 (rows, classes), in the order of ``classes``; None for regression.
        values: float32 (rows,) for one number a row, else (rows, outputs); None for classification.
        classes: the labels in the order of the columns of ``probabilities``.
        outputs: every output of the network itself, by name.
    """

    labels: ndarray | None = None
    probabilities: ndarray | None = None
    values: ndarray | None = None
    classes: tuple[str, ...] = ()
    outputs: Mapping[str, ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        for array in (self.labels, self.values, *self.outputs.values()):
            if array is not None:
                return len(array)
        return 0

    def rows(self) -> list[dict[str, object]]:
        """One dictionary a row, as the prediction server and the command line show it."""
        if self.labels is not None and self.probabilities is not None:
            return [
                {"label": label, "probabilities": dict(zip(self.classes, map(_short, chances), strict=True))}
                for label, chances in zip(self.labels, self.probabilities, strict=True)
            ]
        if self.values is not None:
            return [{"value": _short(value) if value.ndim == 0 else value.tolist()} for value in self.values]
        return [{name: array[i].tolist() for name, array in self.outputs.items()} for i in range(len(self))]

    def _repr_html_(self) -> str:
        shown = [_cells(row) for row in self.head(_SHOWN).rows()]
        names = list(dict.fromkeys(name for row in shown for name in row))[:_WIDEST]
        heads = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        cells = [[f"<td>{html.escape(row.get(name, ''))}</td>" for name in names] for row in shown]
        rows = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
        more = f", the first {_SHOWN}" if len(self) > _SHOWN else ""
        return f"<table><caption>Engram prediction of {len(self):,} rows{more}</caption><tr>{heads}</tr>{rows}</table>"

    def head(self, rows: int) -> Prediction:
        """The first rows alone."""

        def first(array: ndarray | None) -> ndarray | None:
            return None if array is None else array[:rows]

        outputs = {name: array[:rows] for name, array in self.outputs.items()}
        return Prediction(first(self.labels), first(self.probabilities), first(self.values), self.classes, outputs)


def _cells(row: Mapping[str, object]) -> dict[str, str]:
    """One row as the cells of a table: the label or value, then the chance of each class."""
    chances = row.get("probabilities")
    cells = {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in row.items()}
    if isinstance(chances, Mapping):
        del cells["probabilities"]
        cells |= {f"probability {label}": f"{chance:.3g}" for label, chance in chances.items()}
    return cells


def _short(number: Any) -> float:  # noqa: ANN401 - a numpy scalar
    """The shortest number that is this float32, without the digits that float64 would make up."""
    return float(str(number))
