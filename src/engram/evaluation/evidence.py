"""What is known about a model beyond its answers, so that a report can explain and not only count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from numpy import ndarray

from engram.records import Curve, Importance

__all__ = ["Evidence"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a report may use beside truth and prediction; every field may be left empty.

    Attributes:
        title: the name of the network, as the heading of the page.
        slices: column → its values in the judged rows, as ``Part.take`` gives them, each (rows,).
        parts: column → its values in the judged rows, (rows,), in which weak parts are looked for; empty takes slices.
        groups: column → its values in the judged rows, (rows,), for the columns whose fairness was asked for.
        importance: of the columns, measured by asking the model.
        robustness: how the error grows while inputs get worse, measured by asking the model.
        history: one record an epoch: ``epoch``, ``train.loss``, ``validation.loss``, ``train.METRIC``,
            ``validation.METRIC``, ``lr``, ``seconds``.
        epochs: how many epochs were asked for; 0 if unknown.
        findings: what the check of the data noticed, one sentence each.
        take: row numbers among the judged rows, int64 (rows,), to their raw columns; shows the worst examples.
        facts: what the page says about how the model was made (``data``, ``network``, ``parameters``), in order.
    """

    title: str = ""
    slices: Mapping[str, ndarray] = field(default_factory=dict)
    parts: Mapping[str, ndarray] = field(default_factory=dict)
    groups: Mapping[str, ndarray] = field(default_factory=dict)
    importance: tuple[Importance, ...] = ()
    robustness: tuple[Curve, ...] = ()
    history: tuple[Mapping[str, float], ...] = ()
    epochs: int = 0
    findings: tuple[str, ...] = ()
    take: Callable[[ndarray], Mapping[str, ndarray]] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
