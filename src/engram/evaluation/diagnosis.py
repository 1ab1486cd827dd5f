"""What a knowledgeable colleague would say on seeing the report, in sentences with what to change.

Each finding is a function that returns a sentence or nothing. They stand in the order in which one would act on them.
"""

from __future__ import annotations

import numpy as np

from engram.evaluation import curves
from engram.evaluation.answers import Answers
from engram.evaluation.baseline import Baseline
from engram.evaluation.calibration import confidence
from engram.evaluation.measure import title
from engram.evaluation.verdict import share
from engram.records import Report, Score

__all__ = ["diagnose"]

_FEW = 30
_DISHONEST = 0.05


def diagnose(report: Report, baseline: Baseline, answers: Answers, *, epochs: int = 0) -> tuple[str, ...]:
    """What stands out in a report that has everything but its diagnosis.

    Args:
        report: with scores, classes, slices, confusion and history.
        baseline: the best constant answer.
        answers: that were judged.
        epochs: of training that were asked for; 0 if unknown.
    """
    sentences = [
        _skill(report, baseline),
        *curves.told(report.history, epochs),
        _perfect(report),
        _ignored(report),
        _confused(report),
        _slice(report),
        _honesty(report, answers),
        _bias(report, answers),
    ]
    return tuple(sentence for sentence in sentences if sentence)


def _skill(report: Report, baseline: Baseline) -> str:
    score = report.scores[0]
    constant = baseline.scores[score.name]
    words = f"{title(score.name)} {score.value:.3g}, and {baseline.words} gets {constant:.3g}"
    if np.isnan(score.value):
        return f"{title(score.name)} is undefined on these rows: the answers or the classes present do not allow it."
    if np.isnan(constant):
        return ""
    if not _better(score, constant):
        worse = score.value <= constant if score.best == "max" else score.value >= constant
        return (
            f"{'No' if worse else 'Hardly'} better than guessing: {words}. Look at the learning rate "
            "(train.optimizer.lr) and the epochs first, then at whether the columns can tell the target at all."
        )
    perfect = 1.0 if score.best == "max" else 0.0
    if perfect != constant and (score.value - constant) / (perfect - constant) < 0.1:
        return (
            f"Underfitting: {words}, so less than a tenth of what is possible has been learned. Try a larger network "
            "(model.layers), more epochs, less regularization, or columns that tell more of the target."
        )
    return ""


def _better(score: Score, constant: float) -> bool:
    return score.low > constant if score.best == "max" else score.high < constant


def _perfect(report: Report) -> str:
    if report.rows < _FEW or report.scores[0].value != (1.0 if report.scores[0].best == "max" else 0.0):
        return ""
    return "Without a single error: check that no column holds the answer, and that no row is in training and test."


def _ignored(report: Report) -> str:
    weak = [(v["recall"], label) for label, v in report.classes.items() if v["rows"] >= _FEW and v["recall"] < 0.5]
    if not weak:
        return ""
    recall, label = min(weak)
    more = f", and {len(weak) - 1} more classes are below a half" if len(weak) > 1 else ""
    rows = report.classes[label]["rows"]
    return (
        f"'{label}' is seldom found: in {share(recall)} of its {rows:,.0f} rows{more}. If missing it "
        'is costly, set train.class_weights = "balanced".'
    )


def _confused(report: Report) -> str:
    if len(report.labels) < 3:
        return ""
    cells = np.array(report.confusion)
    np.fill_diagonal(cells, 0)
    true, said = np.unravel_index(cells.argmax(), cells.shape)
    label = report.labels[true]
    if cells[true, said] < max(3, 0.02 * report.classes[label]["rows"]):
        return ""
    return (
        f"Most often confused: '{label}' taken for '{report.labels[said]}', {cells[true, said]:,} of "
        f"{report.classes[label]['rows']:,.0f} rows."
    )


def _slice(report: Report) -> str:
    score = report.scores[0]
    high = score.best == "max"
    worse = [
        (values[score.name], name, values["rows"])
        for name, values in report.slices.items()
        if (values[f"{score.name}.high"] < score.low if high else values[f"{score.name}.low"] > score.high)
    ]
    if not worse:
        return ""
    value, name, rows = min(worse) if high else max(worse)
    return (
        f"Clearly weaker where {name}: {title(score.name)} {value:.3g} on {rows:,.0f} rows against {score.value:.3g} "
        "over all."
    )


def _honesty(report: Report, answers: Answers) -> str:
    error = {score.name: score.value for score in report.scores}.get("calibration_error", 0.0)
    if answers.probabilities is None or report.rows < 10 * _FEW or not error > _DISHONEST:
        return ""
    if answers.probabilities.shape[1] == 2:
        return (
            f"Chances not to be taken at their word: off by {share(error)} on average. Read them as a "
            "ranking rather than as odds. Weight decay and fewer epochs bring them closer."
        )
    chance, happened = (float(a.mean()) for a in confidence(answers.truth, answers.probabilities))
    over = chance > happened
    side, cure = ("Too sure", "train.label_smoothing = 0.1") if over else ("Not sure enough", "Longer training")
    return (
        f"{side}: a mean chance "
        f"of {share(chance)} for answers of which {share(happened)} are right. {cure} would bring the two together."
    )


def _bias(report: Report, answers: Answers) -> str:
    if answers.values is None or report.rows < _FEW or not np.isfinite(answers.values).all():
        return ""
    error = answers.values - answers.truth
    mean, spread = float(error.mean()), float(error.std())
    if not abs(mean) > 0.25 * spread:
        return ""
    side = "high" if mean > 0 else "low"
    return f"Too {side}: the answers lie {abs(mean):.3g} {side}er than the truth on average (spread {spread:.3g})."
