"""Which pictures a report has, in the order that they are read in."""

from __future__ import annotations

from engram.evaluation.answers import Answers
from engram.evaluation.pictures import chances, confusion, explained, history, numbers, parts, robust, weak
from engram.evaluation.pictures.style import styled
from engram.records import Picture, Report

__all__ = ["draw"]


def draw(report: Report, answers: Answers, *, seed: int = 0) -> tuple[Picture, ...]:
    """Every picture that these answers and this history allow.

    Args:
        report: whose scores, slices, confusion and history are drawn.
        answers: truth and prediction.
        seed: of the points drawn where there are too many.
    """
    with styled():
        made = [
            *history.curves(report.history),
            *confusion.matrix(report),
            *chances.ranking(report, answers),
            *chances.calibration(answers),
            *numbers.predicted(answers, seed=seed),
            *numbers.residuals(answers),
            *parts.slices(report),
            *explained.importance(
                report.importance, "share of wrong answers" if report.labels else "mean absolute error"
            ),
            *robust.robustness(report),
            *weak.weak(report),
            *weak.fairness(report),
        ]
    return tuple(made)
