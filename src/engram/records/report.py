"""How well a model does, measured on named data."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Curve", "Gap", "Importance", "Picture", "Report", "Score", "Weak"]


@dataclass(frozen=True, slots=True)
class Score:
    """One metric with its bootstrap interval.

    Attributes:
        name: the metric, as on its shelf (``accuracy``, ``f1_macro``, ``rmse``).
        value: measured on all rows.
        low, high: bounds of the 95 % bootstrap interval; equal to ``value`` when no interval was asked for.
        best: ``max`` or ``min``, which way is better.
    """

    name: str
    value: float
    low: float
    high: float
    best: str = "max"


@dataclass(frozen=True, slots=True)
class Weak:
    """A part of the rows where the answers are worse than elsewhere, found by looking at all parts.

    Attributes:
        name: ``COLUMN=VALUE``, or two of them with a comma between.
        rows: in this part.
        error: share of wrong answers, or mean absolute error, in this part.
        low, high: bounds of ``error`` that hold for all looks at once.
        overall: the same error over all rows.
        p: chance of so bad a part if errors were spread at random; below 0.05 divided by ``looks``.
        looks: parts that were looked at.
    """

    name: str
    rows: int
    error: float
    low: float
    high: float
    overall: float
    p: float
    looks: int


@dataclass(frozen=True, slots=True)
class Curve:
    """How the error grows while inputs get worse.

    Attributes:
        disturbance: what is done to the inputs, with the unit of its amounts.
        amounts: from none upwards.
        errors: share of wrong answers, or mean absolute error, at each amount; NaN where there is no answer.
        low, high: bounds of the 95 % interval of each.
    """

    disturbance: str
    amounts: tuple[float, ...]
    errors: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Importance:
    """How much a network needs a column.

    Attributes:
        column: whose values change places between rows.
        gain: of the share of wrong answers, or of the mean absolute error, when they do.
        low, high: bounds of the 95 % interval of ``gain``.
    """

    column: str
    gain: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Gap:
    """The largest difference between the groups of a column.

    Attributes:
        column: whose values make the groups.
        rate: what differs: ``accuracy``, ``selection_rate`` or ``true_positive_rate``.
        most, least: the groups with the largest and the smallest rate.
        difference: of their rates.
        low, high: bounds of ``difference``, corrected for all pairs of groups.
    """

    column: str
    rate: str
    most: str
    least: str
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a report: a title, a caption in words, and the SVG or PNG itself."""

    name: str
    title: str
    caption: str
    media: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """How well a model does.

    Attributes:
        data: digest of the data it was measured on.
        rows: rows measured.
        task: ``binary``, ``multiclass`` or ``regression``.
        scores: every metric of the task, the deciding one first.
        classes: per class, metric → value.
        slices: ``"COLUMN=VALUE"`` → {"rows": …, metric: value}.
        weak: parts of the rows where the answers are worse than elsewhere.
        fairness: ``"COLUMN=VALUE"`` → {"rows": …, rate: value, "RATE.low": …, "RATE.high": …}.
        gaps: the largest difference of each rate between the groups of each column.
        importance: of each column on a sample of the rows, the most important first; empty for images.
        robustness: how the error grows while inputs get worse, on a sample of the rows.
        card: heading → sentence of a model card, as far as it is known.
        confusion: rows are true classes and columns predicted ones, in the order of ``labels``; empty for regression.
        labels: the classes.
        diagnosis: sentences on overfitting, underfitting and what to change.
        findings: what the data check noticed, one sentence each.
        history: one record an epoch of training.
        page: the report as one self-contained HTML file.
    """

    data: str
    rows: int
    task: str
    scores: tuple[Score, ...]
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    slices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    labels: tuple[str, ...] = ()
    diagnosis: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    history: tuple[Mapping[str, float], ...] = ()
    weak: tuple[Weak, ...] = ()
    fairness: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    importance: tuple[Importance, ...] = ()
    robustness: tuple[Curve, ...] = ()
    card: Mapping[str, str] = field(default_factory=dict)
    page: str = field(default="", repr=False, compare=False)

    def score(self, name: str) -> float:
        """The value of one metric; KeyError if it was not measured."""
        for score in self.scores:
            if score.name == name:
                return score.value
        raise KeyError(name)

    def _repr_html_(self) -> str:
        if self.page:
            return f'<iframe srcdoc="{html.escape(self.page, quote=True)}" width="100%" height="900"></iframe>'
        cells = "".join(f"<tr><td>{html.escape(s.name)}</td><td>{s.value:.4g}</td></tr>" for s in self.scores)
        return f"<table><caption>Engram report, {self.rows:,} rows</caption>{cells}</table>"
