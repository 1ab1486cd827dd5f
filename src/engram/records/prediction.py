"""What a model answered for some rows: one record for classes and numbers, so that doors need no cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy import ndarray

__all__ = ["Prediction"]


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


def _short(number: Any) -> float:  # noqa: ANN401 - a numpy scalar
    """The shortest number that is this float32, without the digits that float64 would make up."""
    return float(str(number))
