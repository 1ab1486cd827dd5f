"""Each finding on answers made to show it."""

import numpy as np

from engram.evaluation.evidence import Evidence
from engram.evaluation.judge import judge
from engram.records import Prediction, Task
from engram.records.pipeline import EvaluateSection

LETTERS = Task("multiclass", "letter", ("a", "b", "c"))
QUICK = EvaluateSection(intervals=50)


def _said(task, truth, prediction, **evidence):
    return judge(task, truth, prediction, section=QUICK, evidence=Evidence(**evidence)).diagnosis


def _labels(numbers, labels="abc"):
    return Prediction(labels=np.array(list(labels), object)[numbers])


def test_answers_no_better_than_a_constant_are_called_guessing():
    truth = np.random.default_rng(0).integers(0, 3, 600)
    (first, *_) = _said(LETTERS, truth, _labels(np.random.default_rng(1).integers(0, 3, 600)))
    assert "better than guessing: Accuracy" in first


def test_a_little_skill_is_called_underfitting():
    random = np.random.default_rng(0)
    truth = random.normal(size=5000)
    (first, *_) = _said(
        Task("regression", "y"), truth, Prediction(values=0.05 * truth + 0.01 * random.normal(size=5000))
    )
    assert first.startswith("Underfitting: RMSE")


def test_not_a_single_error_is_suspicious():
    truth = np.arange(90) % 3
    assert any(said.startswith("Without a single error") for said in _said(LETTERS, truth, _labels(truth)))


def test_a_class_that_is_seldom_found_is_named_with_the_remedy():
    truth = np.array([0] * 300 + [1] * 300 + [2] * 40)
    answer = truth.copy()
    answer[600:630] = 1
    said = " ".join(_said(LETTERS, truth, _labels(answer)))
    assert "'c' is seldom found: in 25.0\u00a0% of its 40 rows" in said
    assert 'train.class_weights = "balanced"' in said
    assert "Most often confused: 'c' taken for 'b', 30 of 40 rows." in said


def test_a_slice_that_is_clearly_weaker_is_named():
    truth = np.arange(600) % 3
    answer = truth.copy()
    answer[:200:2] = (answer[:200:2] + 1) % 3
    place = np.array(["north"] * 200 + ["south"] * 400, object)
    said = " ".join(_said(LETTERS, truth, _labels(answer), slices={"place": place}))
    assert "Clearly weaker where place=north: Accuracy 0.5 on 200 rows against 0.833 over all." in said


def test_a_model_surer_than_it_is_right_is_told_so():
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 900)
    answer = np.where(random.uniform(size=900) < 0.7, truth, (truth + 1) % 3)
    chances = np.full((900, 3), 0.01)
    chances[np.arange(900), answer] = 0.98
    said = " ".join(_said(LETTERS, truth, Prediction(probabilities=chances, classes=LETTERS.labels)))
    assert "Too sure: a mean chance of 98.0\u00a0%" in said
    assert "label_smoothing" in said


def test_numbers_that_lie_too_high_are_told_so():
    truth = np.random.default_rng(0).normal(size=500)
    noise = np.tile([-0.1, 0.1], 250)
    said = " ".join(_said(Task("regression", "y"), truth, Prediction(values=truth + noise + 0.2)))
    assert "Too high: the answers lie 0.2 higher than the truth on average (spread 0.1)" in said
