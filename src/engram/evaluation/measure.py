"""Which metrics a task is measured by, and the measuring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType

import numpy as np

from engram.errors import UsageError
from engram.evaluation.answers import Answers
from engram.evaluation.intervals import intervals
from engram.evaluation.metrics import SHELF
from engram.records import Score, Task

__all__ = ["classes", "explanation", "measured", "metrics", "title"]

_ORDER: Mapping[str, tuple[str, ...]] = {
    "binary": (
        *("accuracy", "roc_auc", "balanced_accuracy", "f1", "precision", "recall", "log_loss", "calibration_error"),
        *("pr_auc", "brier", "f1_macro", "precision_macro", "recall_macro"),
        *("f1_weighted", "precision_weighted", "recall_weighted"),
    ),
    "multiclass": (
        *("accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "pr_auc", "log_loss", "brier", "calibration_error"),
        *("precision_macro", "recall_macro", "f1_weighted", "precision_weighted", "recall_weighted"),
    ),
    "regression": ("rmse", "mae", "r2", "mse", "mape"),
}


def metrics(task: Task, chosen: Sequence[str], answers: Answers) -> dict[str, ModuleType]:
    """Metric → plug-in: the chosen ones first, then the rest of the task's own, as far as the answers allow.

    Raises:
        UnknownName: a chosen metric does not exist.
        UsageError: a chosen metric is of another task, or needs probabilities that the model does not give.
    """
    taken: dict[str, ModuleType] = {}
    for name in chosen:
        taken[name] = SHELF.take(name)
        _suits(name, taken[name], task, answers)
    for name in _ORDER[task.kind]:
        metric = SHELF.take(name)
        if name not in taken and answers.wanted(metric.NEEDS) is not None and not _meaningless(name, answers):
            taken[name] = metric
    return taken


def measured(taken: Mapping[str, ModuleType], answers: Answers, *, samples: int, seed: int = 0) -> tuple[Score, ...]:
    """The score of every metric, with its interval."""
    bounds = intervals(list(taken.values()), answers, samples=samples, seed=seed)
    return tuple(
        Score(name, float(metric.score(answers.truth, answers.wanted(metric.NEEDS))), low, high, metric.BEST)
        for (name, metric), (low, high) in zip(taken.items(), bounds, strict=True)
    )


def classes(task: Task, answers: Answers) -> dict[str, dict[str, float]]:
    """Label → ``rows``, ``precision``, ``recall`` and ``f1`` of that class alone; empty for regression."""
    if answers.labels is None:
        return {}
    binary = [SHELF.take(name) for name in ("precision", "recall", "f1")]
    result: dict[str, dict[str, float]] = {}
    for index, label in enumerate(task.labels):
        truth = (answers.truth == index).astype(np.int64)
        said = (answers.labels == index).astype(np.int64)
        names = ("precision", "recall", "f1")
        scores = {name: float(metric.score(truth, said)) for name, metric in zip(names, binary, strict=True)}
        result[label] = {"rows": float(truth.sum()), **scores}
    return result


def title(name: str) -> str:
    """What a reader calls the metric (``ROC AUC``); the name itself for one that does not say or does not exist."""
    found = SHELF.take(name) if name in SHELF.names() else None
    return str(getattr(found, "TITLE", name.replace("_", " ")))


def explanation(name: str) -> str:
    """What the metric says, in its own first sentence; empty for one that does not exist."""
    found = SHELF.take(name) if name in SHELF.names() else None
    return ((found.__doc__ or "") if found else "").split("\n\n", 1)[0].replace("\n", " ").strip()


def _suits(name: str, metric: ModuleType, task: Task, answers: Answers) -> None:
    if task.kind not in metric.TASKS:
        rest = [other for other in SHELF.names() if task.kind in SHELF.take(other).TASKS]
        raise UsageError(
            f"metric {name!r} measures {' or '.join(metric.TASKS)} tasks, and {task.target!r} makes a {task.kind} one; "
            f"take one of {', '.join(rest)}",
            place="evaluate.metrics",
        )
    if answers.wanted(metric.NEEDS) is None:
        raise UsageError(
            f"metric {name!r} needs {metric.NEEDS}, which this model does not give", place="evaluate.metrics"
        )


def _meaningless(name: str, answers: Answers) -> bool:
    """A relative error has no meaning where a true value is 0."""
    return name == "mape" and bool((answers.truth == 0).any())
