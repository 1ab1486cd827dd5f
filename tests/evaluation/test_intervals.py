"""Bootstrap intervals against theory."""

from types import SimpleNamespace

import numpy as np
import pytest

from engram.evaluation.answers import Answers
from engram.evaluation.intervals import LIMIT, intervals
from engram.evaluation.metrics import SHELF


def _answers(rows, right=0.8, seed=0, rare=0.4):
    random = np.random.default_rng(seed)
    truth = (random.uniform(size=rows) < rare).astype(np.int64)
    labels = np.where(random.uniform(size=rows) < right, truth, 1 - truth)
    chance = np.clip(random.normal(0.4 + 0.2 * truth, 0.15), 0.01, 0.99)
    return Answers(truth, labels, np.stack([1 - chance, chance], axis=1))


def _halfwidth(share, rows):
    """Of the 95 % normal interval of a share."""
    return 1.96 * np.sqrt(share * (1 - share) / rows)


@pytest.mark.parametrize("rows", [1000, 15_000, LIMIT + 1, 150_000])
def test_the_interval_of_accuracy_is_as_wide_as_the_binomial_says(rows):
    answers = _answers(rows)
    ((low, high),) = intervals([SHELF.take("accuracy")], answers, samples=1000)
    share = (answers.truth == answers.labels).mean()
    assert low < share < high
    assert (high - low) / 2 == pytest.approx(_halfwidth(share, rows), rel=0.15)


def test_a_rare_class_keeps_its_interval_when_only_a_part_of_the_rows_is_resampled():
    answers = _answers(200_000, rare=0.003)
    ((low, high),) = intervals([SHELF.take("recall")], answers, samples=500)
    found = answers.labels[answers.truth == 1] == 1
    assert (high - low) / 2 == pytest.approx(_halfwidth(found.mean(), len(found)), rel=0.2)


def test_the_interval_of_roc_auc_agrees_with_hanley_and_mcneil():
    answers = _answers(4000)
    ((low, high),) = intervals([SHELF.take("roc_auc")], answers, samples=600)
    area = SHELF.take("roc_auc").score(answers.truth, answers.probabilities)
    positive, negative = int(answers.truth.sum()), int((1 - answers.truth).sum())
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positive - 1) * (q1 - area**2) + (negative - 1) * (q2 - area**2)
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(variance / positive / negative), rel=0.15)


def test_the_interval_of_a_mean_error_agrees_with_the_central_limit():
    random = np.random.default_rng(3)
    truth = random.normal(size=60_000)
    answers = Answers(truth, values=truth + random.normal(size=60_000))
    ((low, high),) = intervals([SHELF.take("mae")], answers, samples=500)
    spread = np.abs(answers.values - truth).std() / np.sqrt(len(truth))
    assert (high - low) / 2 == pytest.approx(1.96 * spread, rel=0.15)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    metric, answers = SHELF.take("f1_macro"), _answers(300)
    first, again, other = (intervals([metric], answers, samples=50, seed=s) for s in (1, 1, 2))
    assert first == again != other


def test_without_samples_the_interval_is_the_score():
    answers = _answers(300)
    value = SHELF.take("accuracy").score(answers.truth, answers.labels)
    assert intervals([SHELF.take("accuracy")], answers, samples=0) == [(value, value)]


def test_the_interval_always_holds_the_score():
    random = np.random.default_rng(0)
    chance = random.uniform(size=200)
    answers = Answers((random.uniform(size=200) < chance).astype(np.int64), None, np.stack([1 - chance, chance], 1))
    metric = SHELF.take("calibration_error")
    value = metric.score(answers.truth, answers.probabilities)
    ((low, high),) = intervals([metric], answers, samples=200)
    assert low <= value <= high


def test_an_undefined_score_has_an_undefined_interval():
    answers = Answers(np.zeros(50, np.int64), None, np.full((50, 2), 0.5))
    ((low, high),) = intervals([SHELF.take("roc_auc")], answers, samples=20)
    assert np.isnan(low)
    assert np.isnan(high)


def test_a_metric_of_another_distribution_needs_only_a_score():
    answers = _answers(900)
    own = SimpleNamespace(NEEDS="labels", score=lambda truth, said: float((truth == said).mean()))
    ((low, high),) = intervals([own], answers, samples=300)
    share = (answers.truth == answers.labels).mean()
    assert (high - low) / 2 == pytest.approx(_halfwidth(share, 900), rel=0.2)
