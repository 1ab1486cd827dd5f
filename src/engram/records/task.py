"""What is to be learned, as far as the target tells."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be learned.

    Attributes:
        kind: ``binary``, ``multiclass`` or ``regression``.
        target: the column that is predicted.
        labels: the classes in the order of the network's outputs; empty for regression.
        reason: why it was found to be this kind, for the lock file.
    """

    kind: str
    target: str
    labels: tuple[str, ...] = ()
    reason: str = ""

    @property
    def classifies(self) -> bool:
        """Whether the answer is one of a set of labels."""
        return self.kind != "regression"

    @property
    def width(self) -> int:
        """Columns of the network's output: one for regression and for two classes, else one a class."""
        return len(self.labels) if self.kind == "multiclass" else 1
