"""What an estimator answers, and the chances that follow from it where estimators are put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engram.errors import ConversionError
from engram.formats._sklearn.estimator import Estimator
from engram.graphs.build import Builder, element_type

__all__ = ["Answer", "Draw", "Whole", "chances"]

_DOUBLE = element_type("float64")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an estimator answers.

    Attributes:
        value: in the graph, (batch, width).
        kind: as of a ``TensorSpec``.
        width: how many numbers a row.
        labels: the classes; empty for a regression.
        note: what a reader should know of it; empty if nothing.
    """

    value: str
    kind: str
    width: int
    labels: tuple[str, ...] = ()
    note: str = ""


Draw = Callable[[Builder, Estimator, str, int], Answer]
Whole = Draw
"""As ``Draw``, for an estimator with the steps before it."""


def chances(builder: Builder, answer: Answer) -> str:
    """The chances of all classes, float64 (batch, classes).

    Raises:
        ConversionError: there are none, or only such as were never fitted.
    """
    if not answer.labels or answer.note:
        raise ConversionError("an estimator within another has no probabilities, which that one needs")
    value = builder.node("Cast", answer.value, to=_DOUBLE)
    if answer.kind == "logits":
        return builder.node("Softmax", value, axis=-1)
    if answer.kind == "probabilities":
        return value
    one = builder.constant(np.float64(1))
    second = builder.node("Sigmoid", value) if answer.kind == "logit" else value
    return builder.node("Concat", builder.node("Sub", one, second), second, axis=1)
