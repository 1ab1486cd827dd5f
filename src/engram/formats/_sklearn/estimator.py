"""An estimator as it stood in a file: the name of its class, and what it was set to and has learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError

__all__ = ["Estimator", "label"]

_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)
_NAMED = ("feature_names_in_", "_feature_names_in", "_df_columns")
"""Where the names of columns stand: for all estimators from 1.0 on, before that in a ``ColumnTransformer`` alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimator:
    """An estimator as it stood in a file.

    Attributes:
        kind: the name of its class.
        state: attribute → plain value, array, ``Estimator``, or lists and tuples of these.
        where: what to call it in an error: the names of the steps that lead to it.
    """

    kind: str
    state: Mapping[str, Any]
    where: str = ""

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - any value
        """An attribute, or the default where the release that wrote it had none of this name."""
        return self.state.get(name, default)

    def array(self, name: str, *ranks: int) -> ndarray:
        """Learned numbers.

        Args:
            name: of the attribute.
            ranks: how many axes it may have; any if none is given.

        Raises:
            FormatError: it is not there, is no array of finite numbers, or has other axes.
        """
        found = self.state.get(name)
        array = np.asarray(found) if isinstance(found, (ndarray, *_NUMBERS, list)) else None
        if array is None or array.dtype.kind not in "biuf":
            raise FormatError(f"{self} has no numbers {name}; it was kept before it was fitted, or is damaged")
        if ranks and array.ndim not in ranks:
            raise FormatError(f"{self} has {name} of {array.ndim} axes, not {' or '.join(map(str, ranks))}")
        return array

    def arrays(self, name: str, *ranks: int) -> list[ndarray]:
        """A list of arrays of learned numbers.

        Raises:
            FormatError: it is no such list.
        """
        found = self.state.get(name)
        if not isinstance(found, (list, tuple)) or not found:
            raise FormatError(f"{self} has no {name}; it was kept before it was fitted, or is damaged")
        return [Estimator(self.kind, {name: one}, self.where).array(name, *ranks) for one in found]

    def number(self, name: str, default: float | None = None) -> float:
        """One number.

        Raises:
            FormatError: it is none.
        """
        found = self.state.get(name, default)
        if isinstance(found, ndarray) and found.size == 1:
            found = found.reshape(()).item()
        if not isinstance(found, _NUMBERS):
            raise FormatError(f"{self} has {name} = {str(found)[:40]!r}, where a number belongs")
        return float(found)

    def word(self, name: str, default: str = "") -> str:
        """One word.

        Raises:
            FormatError: it is none.
        """
        found = self.state.get(name, default)
        if not isinstance(found, str):
            raise FormatError(f"{self} has {name} = {str(found)[:40]!r}, where a word belongs")
        return found

    def part(self, name: str) -> Estimator:
        """An estimator within this one.

        Raises:
            FormatError: there is none.
        """
        found = self.state.get(name)
        if not isinstance(found, Estimator):
            raise FormatError(f"{self} has no {name}; it was kept before it was fitted, or is damaged")
        return found

    def labels(self, name: str = "classes_") -> tuple[str, ...]:
        """The classes of a classifier, as text.

        Raises:
            FormatError: there are none.
        """
        found = self.state.get(name)
        # RidgeClassifier before 1.1 looks them up there, and one against the rest always
        for kept in (self.state.get("_label_binarizer"), self.state.get("label_binarizer_")):
            if found is None and isinstance(kept, Estimator):
                found = kept.get(name)
        if not isinstance(found, ndarray) or found.ndim != 1 or not len(found):
            raise FormatError(f"{self} has no {name} of one axis; answers for several targets are not read")
        return tuple(label(one) for one in found.tolist())

    def names(self) -> tuple[str, ...]:
        """The columns it was fitted on, where they had names."""
        kept = (self.state.get(name) for name in _NAMED)
        found = next((one for one in kept if isinstance(one, ndarray)), None)
        return tuple(str(one) for one in found.tolist()) if found is not None else ()

    def demand(self, name: str, allowed: Sequence[Any]) -> Any:  # noqa: ANN401 - one of the allowed
        """An attribute that only some values of are read.

        Raises:
            ConversionError: it has another value.
        """
        found = self.state.get(name, allowed[0])
        if not any(found is one or (type(found) is type(one) and found == one) for one in allowed):
            known = ", ".join(repr(one) for one in allowed)
            raise ConversionError(f"{self} has {name} = {str(found)[:40]!r}, but only {known} is read")
        return found

    def __str__(self) -> str:
        return f"{self.kind} ({self.where})" if self.where else self.kind


def label(value: object) -> str:
    """A class as text; classes that came as whole numbers among fractions are whole."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
