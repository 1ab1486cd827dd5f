"""The first lines of a report: how good the model is, in words that need no glossary."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engram.evaluation.baseline import Baseline
from engram.evaluation.measure import title
from engram.records import Report

__all__ = ["Verdict", "number", "share", "verdict"]

_SHARES = ("accuracy", "balanced_accuracy", "mape")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What stands at the top of the page.

    Attributes:
        figure: the deciding score, short enough for large type.
        headline: what it is the figure of.
        interval: the 95 % interval in words; empty if there is none.
        comparison: with the best constant answer.
    """

    figure: str
    headline: str
    interval: str
    comparison: str


def verdict(report: Report, baseline: Baseline) -> Verdict:
    """The verdict on a report that has scores."""
    score = report.scores[0]
    name = title(score.name)
    constant = baseline.scores[score.name]
    low, high = number(score.low, score.name).removesuffix("\u00a0%"), number(score.high, score.name)
    return Verdict(
        figure=number(score.value, score.name),
        headline=f"of {report.rows:,} rows are right"
        if score.name == "accuracy"
        else f"{name} on {report.rows:,} rows",
        interval="" if score.low == score.high else f"{low} to {high}",
        comparison="" if math.isnan(constant) else f"{baseline.words} gets {number(constant, score.name)}",
    )


def share(value: float) -> str:
    """A share in percent: 0.859 is ``85.9 %``, with a space that does not break."""
    return f"{100 * value:.1f}\u00a0%"


def number(value: float, name: str = "") -> str:
    """A score in words: shares in percent, others with four digits, ``–`` where it is undefined."""
    if not math.isfinite(value):
        return "–"
    if name in _SHARES:
        return share(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−") if abs(value) < 1e9 else f"{value:.2g}"
    plain = f"{value:.3f}" if 0.01 <= abs(value) < 10 or abs(value) < 1e-9 else f"{value:.3g}"
    return plain.replace("-", "−")
