"""What costs nothing: always giving the same answer. A score means little until it stands beside this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from engram.evaluation.answers import Answers
from engram.records import Task

__all__ = ["Baseline", "baseline"]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The score of one constant answer.

    Attributes:
        words: what is answered, to stand after "than" (``always answering '<=50K'``).
        scores: metric → score of that answer.
    """

    words: str
    scores: Mapping[str, float]


def baseline(task: Task, answers: Answers, metrics: Sequence[tuple[str, ModuleType]]) -> Baseline:
    """The most frequent class with the share of each class as its chance, or the mean, of the judged rows.

    It knows the judged rows, so it is the best constant answer there can be, and beating it is worth something.
    """
    rows = len(answers)
    if task.classifies:
        shares = np.bincount(answers.truth, minlength=len(task.labels)) / rows
        common = int(shares.argmax())
        words = f"always answering '{task.labels[common]}'"
        constant = Answers(answers.truth, np.full(rows, common), np.tile(shares, (rows, 1)))
    else:
        mean = float(answers.truth.mean())
        words = f"always answering the mean ({mean:.4g})"
        constant = Answers(answers.truth, values=np.full(rows, mean))
    scores = {name: float(metric.score(answers.truth, constant.wanted(metric.NEEDS))) for name, metric in metrics}
    return Baseline(words, scores)
