"""From answers to a report: the one door of this package.

Nothing here draws or explains. The report is filled in stages, each of which reads what the ones before it found.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy import ndarray

from engram.evaluation.answers import Answers, answers
from engram.evaluation.baseline import baseline
from engram.evaluation.card import card
from engram.evaluation.diagnosis import diagnose
from engram.evaluation.evidence import Evidence
from engram.evaluation.examples import worst
from engram.evaluation.fairness import gaps, rates
from engram.evaluation.measure import classes, measured, metrics
from engram.evaluation.slices import judged, slices
from engram.evaluation.weak import weakest
from engram.records import Prediction, Report, Task
from engram.records.pipeline import EvaluateSection

__all__ = ["judge"]

_NOTHING = Evidence()
_FOUND = EvaluateSection()


def judge(
    task: Task,
    truth: ndarray,
    prediction: Prediction,
    *,
    section: EvaluateSection = _FOUND,
    data: str = "",
    evidence: Evidence = _NOTHING,
    seed: int = 0,
) -> Report:
    """How well these answers fit the truth, with the page that shows it.

    Args:
        task: what was to be learned.
        truth: class index, int64 (rows,), in the order of ``task.labels``; or the number, float (rows,).
        prediction: what the model answered for the same rows.
        section: metrics, slices and samples behind each interval; what it leaves out is found.
        data: digest of the rows.
        evidence: what is known beyond the answers.
        seed: of the bootstrap samples and of points left out of pictures.

    Raises:
        DataError: no row, or a truth with gaps or unknown classes.
        ShapeError: the prediction does not fit the truth or the task.
        UnknownName: a metric or a column that does not exist.
        UsageError: a metric of another kind of task.
    """
    seen = answers(task, truth, prediction)
    taken = metrics(task, section.metrics, seen)
    deciding = {name: taken[name] for name in (section.metrics or tuple(taken)[:1])}
    parts = slices(evidence.slices, section.slices)
    fair = rates(
        {name: evidence.groups[name] for name in section.fairness if name in evidence.groups},
        seen,
        binary=task.kind == "binary",
    )
    report = Report(
        data=data,
        rows=len(seen),
        task=task.kind,
        scores=measured(taken, seen, samples=section.intervals, seed=seed),
        classes=classes(task, seen),
        slices=judged(parts, seen, deciding, samples=section.intervals, seed=seed),
        weak=weakest(evidence.parts or evidence.slices, seen),
        fairness=fair,
        gaps=gaps(fair),
        importance=evidence.importance,
        robustness=evidence.robustness,
        confusion=_confusion(task, seen),
        labels=task.labels,
        findings=evidence.findings,
        history=evidence.history,
    )
    constant = baseline(task, seen, tuple(taken.items()))
    report = replace(report, diagnosis=diagnose(report, constant, seen, epochs=evidence.epochs))
    report = replace(report, card=card(report, task, evidence.facts))
    examples = worst(task, seen, evidence.take)
    # Matplotlib and jinja2 take half a second to import, which only a report should cost.
    from engram.evaluation.pictures import draw
    from engram.evaluation.report import render

    return replace(report, page=render(report, evidence, constant, draw(report, seen, seed=seed), examples))


def _confusion(task: Task, seen: Answers) -> tuple[tuple[int, ...], ...]:
    if seen.labels is None:
        return ()
    width = len(task.labels)
    cells = np.bincount(seen.truth * width + seen.labels, minlength=width * width).reshape(width, width)
    return tuple(tuple(int(c) for c in row) for row in cells)
