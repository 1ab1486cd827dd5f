"""Bootstrap intervals: how much a score would vary if other rows had been drawn.

Metrics that define ``resample`` are given how often each row is in each sample and score all samples at once. Beyond
20,000 rows a part of the rows stands for all of them, each for as many as were left out beside it (a bag of little
bootstraps), so that the width is still that of all rows; rare classes keep their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
from numpy import ndarray

from engram.evaluation.answers import Answers

__all__ = ["LIMIT", "intervals", "mean_interval", "resampled"]

LIMIT = 20_000
_BLOCK = 50
_TAILS = (0.025, 0.975)


def intervals(
    metrics: Sequence[ModuleType], answers: Answers, *, samples: int, seed: int = 0
) -> list[tuple[float, float]]:
    """The 95 % percentile bootstrap interval of each metric.

    The interval always holds the score itself: some scores (calibration error) are larger on resampled rows than on
    all, and an interval beside its own score would only puzzle.

    Args:
        metrics: plug-ins whose ``NEEDS`` the answers hold.
        answers: truth and prediction.
        samples: bootstrap samples; 0 makes every interval as narrow as the score.
        seed: of the samples.

    Returns:
        (low, high) a metric; NaN where the score is undefined.

    Source: Efron and Tibshirani 1993, An introduction to the bootstrap, ch. 13; Kleiner et al. 2014, A scalable
    bootstrap for massive data.
    """
    values = [_score(metric, answers) for metric in metrics]
    if samples == 0:
        return [(value, value) for value in values]
    scores = resampled(metrics, answers, samples=samples, seed=seed)
    return [_bounds(value, drawn) for value, drawn in zip(values, scores, strict=True)]


def resampled(metrics: Sequence[ModuleType], answers: Answers, *, samples: int, seed: int = 0) -> list[ndarray]:
    """The score of each metric in every bootstrap sample, (samples,) each.

    Which rows a sample holds depends on the truth and the seed alone and not on what was answered: two models asked
    for the same rows are so scored on the same samples, which a paired comparison needs.

    Args:
        metrics: plug-ins whose ``NEEDS`` the answers hold.
        answers: truth and prediction.
        samples: bootstrap samples, at least 1.
        seed: of the samples.
    """
    generator = np.random.default_rng(seed)
    rows, weights = _representatives(answers, generator)
    kept = answers if len(rows) == len(answers) else answers.take(rows)
    drawn: list[list[ndarray]] = [[] for _ in metrics]
    for start in range(0, samples, _BLOCK):
        counts = _counts(weights, min(_BLOCK, samples - start), generator)
        for scores, metric in zip(drawn, metrics, strict=True):
            scores.append(_resampled(metric, kept, counts))
    if kept is answers:
        return [np.concatenate(scores) for scores in drawn]
    moves = [_score(metric, answers) - _resampled(metric, kept, weights[None])[0] for metric in metrics]
    return [np.concatenate(scores) + move for scores, move in zip(drawn, moves, strict=True)]


def mean_interval(values: ndarray) -> tuple[float, float, float]:
    """A mean and its 95 % interval by the central limit, which for one value alone holds the whole of it and 0."""
    mean = float(values.mean())
    half = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else abs(mean)
    return mean, mean - half, mean + half


def _representatives(answers: Answers, generator: np.random.Generator) -> tuple[ndarray, ndarray]:
    """Row numbers to resample, and how many rows each stands for."""
    total = len(answers)
    if total <= LIMIT:
        return np.arange(total), np.ones(total)
    groups = answers.truth if answers.labels is not None else np.zeros(total, dtype=np.int64)
    sizes = np.bincount(groups)
    floor = LIMIT // (2 * int(np.count_nonzero(sizes)))
    rows, weights = [], []
    for group in np.flatnonzero(sizes):
        size = int(sizes[group])
        quota = min(size, max(1, floor, LIMIT * size // total))
        rows.append(generator.choice(np.flatnonzero(groups == group), quota, replace=False))
        weights.append(np.full(quota, size / quota))
    return np.concatenate(rows), np.concatenate(weights)


def _counts(weights: ndarray, samples: int, generator: np.random.Generator) -> ndarray:
    """How often each row is in each sample, (samples, rows)."""
    if (weights > 1).any():
        return generator.poisson(weights, (samples, len(weights))).astype(np.float64)
    rows = len(weights)
    drawn = generator.integers(0, rows, (samples, rows))
    return np.stack([np.bincount(one, minlength=rows) for one in drawn]).astype(np.float64)


def _score(metric: ModuleType, answers: Answers) -> float:
    return float(metric.score(answers.truth, answers.wanted(metric.NEEDS)))


def _resampled(metric: ModuleType, answers: Answers, counts: ndarray) -> ndarray:
    prediction = answers.wanted(metric.NEEDS)
    assert prediction is not None
    if hasattr(metric, "resample"):
        return np.asarray(metric.resample(answers.truth, prediction, counts), dtype=np.float64)
    places = [np.repeat(np.arange(len(answers)), one.round().astype(np.int64)) for one in counts]
    return np.array([float(metric.score(answers.truth[rows], prediction[rows])) for rows in places])


def _bounds(value: float, scores: ndarray) -> tuple[float, float]:
    defined = scores[np.isfinite(scores)]
    if not np.isfinite(value) or not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, _TAILS)
    return min(float(low), value), max(float(high), value)
