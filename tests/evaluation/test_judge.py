"""The whole way from answers to a report, on real data and on awkward ones."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression

from engram.errors import UnknownName, UsageError
from engram.evaluation.evidence import Evidence
from engram.evaluation.judge import judge
from engram.records import Prediction, Task
from engram.records.pipeline import EvaluateSection

DIGITS = Task("multiclass", "digit", tuple("0123456789"))
YES = Task("binary", "answer", ("no", "yes"))
NUMBER = Task("regression", "number")


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    chances = (
        LogisticRegression(max_iter=500, C=0.01)
        .fit(data.data[:900] / 16, data.target[:900])
        .predict_proba(data.data / 16)
    )
    labels = np.array(DIGITS.labels, object)[chances.argmax(axis=1)]
    prediction = Prediction(labels=labels[900:], probabilities=chances[900:].astype(np.float32), classes=DIGITS.labels)
    return data.images[900:], data.target[900:], prediction


def test_digits_are_judged_as_scikit_learn_would(digits):
    images, truth, prediction = digits
    take = lambda rows: {"image": images[rows][:, :, :, None].astype(np.uint8)}  # noqa: E731 - one use
    report = judge(DIGITS, truth, prediction, data="sha256:ab", evidence=Evidence(title="digits", take=take))
    said = prediction.probabilities.argmax(axis=1)
    assert report.scores[0].name == "accuracy"
    assert report.score("accuracy") == pytest.approx(sk.accuracy_score(truth, said))
    assert report.confusion == tuple(map(tuple, sk.confusion_matrix(truth, said).tolist()))
    precision, recall, f1, rows = sk.precision_recall_fscore_support(truth, said)
    for i, label in enumerate(DIGITS.labels):
        own = {"rows": rows[i], "precision": precision[i], "recall": recall[i], "f1": f1[i]}
        assert report.classes[label] == pytest.approx(own)
    assert all(score.low <= score.value <= score.high for score in report.scores)
    assert report.page.count("data:image/png;base64") >= 12
    assert report.data in report.page


def test_a_regression_is_decided_by_its_rmse():
    data = load_diabetes()
    values = LinearRegression().fit(data.data[:200], data.target[:200]).predict(data.data[200:])
    columns = {name: data.data[200:, i] for i, name in enumerate(data.feature_names)}
    take = lambda rows: {name: values[rows] for name, values in columns.items()}  # noqa: E731 - one use
    report = judge(NUMBER, data.target[200:], Prediction(values=values), evidence=Evidence(take=take, slices=columns))
    assert [score.name for score in report.scores] == ["rmse", "mae", "r2", "mse", "mape"]
    assert report.score("rmse") == pytest.approx(sk.root_mean_squared_error(data.target[200:], values))
    assert report.confusion == ()
    assert report.labels == ()


def test_chosen_metrics_come_first_and_decide_the_slices(digits):
    _, truth, prediction = digits
    half = np.array(["upper", "lower"] * len(truth), object)[: len(truth)]
    section = EvaluateSection(metrics=("f1_weighted", "log_loss"), slices=("half",), intervals=20)
    report = judge(DIGITS, truth, prediction, section=section, evidence=Evidence(slices={"half": half}))
    assert [score.name for score in report.scores][:3] == ["f1_weighted", "log_loss", "accuracy"]
    assert set(report.slices) == {"half=lower", "half=upper"}
    assert {"rows", "f1_weighted", "f1_weighted.low", "log_loss"} <= set(report.slices["half=lower"])


def test_an_unknown_metric_is_refused_with_the_nearest(digits):
    _, truth, prediction = digits
    with pytest.raises(UnknownName, match="'acuracy' does not exist; did you mean 'accuracy'"):
        judge(DIGITS, truth, prediction, section=EvaluateSection(metrics=("acuracy",)))


@pytest.mark.parametrize("name", ["rmse", "f1"])
def test_a_metric_of_another_task_is_refused_with_those_that_fit(digits, name):
    _, truth, prediction = digits
    with pytest.raises(UsageError, match=f"'{name}' measures .* take one of accuracy"):
        judge(DIGITS, truth, prediction, section=EvaluateSection(metrics=(name,)))


def test_a_metric_that_needs_chances_is_refused_where_there_are_none():
    prediction = Prediction(labels=np.array(["no", "yes"], object))
    with pytest.raises(UsageError, match="'roc_auc' needs probabilities"):
        judge(YES, np.array([0, 1]), prediction, section=EvaluateSection(metrics=("roc_auc",)))


def test_labels_without_chances_are_judged_by_what_they_allow():
    truth = np.arange(80) % 2
    report = judge(YES, truth, Prediction(labels=np.array(["no", "yes"], object)[truth]))
    assert "roc_auc" not in {score.name for score in report.scores}
    assert report.score("f1") == 1.0


def test_the_same_answers_give_the_same_report_and_page(digits):
    _, truth, prediction = digits
    first, again = (judge(DIGITS, truth, prediction, seed=3) for _ in range(2))
    assert first == again
    assert first.page == again.page


def _chances(rows, classes, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), rows).astype(np.float32)


HISTORY = ({"epoch": 1, "train.loss": 1.0}, {"epoch": 2, "train.loss": float("nan"), "validation.loss": float("inf")})


@pytest.mark.parametrize(
    ("task", "truth", "prediction"),
    [
        (YES, np.array([1]), Prediction(probabilities=_chances(1, 2))),
        (YES, np.zeros(50, np.int64), Prediction(probabilities=_chances(50, 2))),
        (YES, np.arange(50) % 2, Prediction(probabilities=np.full((50, 2), np.nan))),
        (YES, np.arange(50) % 2, Prediction(probabilities=np.full((50, 2), 0.5))),
        (DIGITS, np.array([3, 3, 3]), Prediction(probabilities=_chances(3, 10))),
        (NUMBER, np.array([2.0]), Prediction(values=np.array([2.0]))),
        (NUMBER, np.full(40, 2.0), Prediction(values=np.full(40, 2.0))),
        (NUMBER, np.arange(40.0), Prediction(values=np.full(40, np.nan))),
        (NUMBER, np.arange(40.0), Prediction(values=np.full(40, np.inf))),
        (NUMBER, np.arange(40.0) * 1e30, Prediction(values=-np.arange(40.0) * 1e30)),
    ],
)
@pytest.mark.filterwarnings("error")
def test_awkward_answers_still_give_a_report(task, truth, prediction):
    columns = {"half": np.array(["a", "b"] * len(truth), object)[: len(truth)]}
    evidence = Evidence(history=HISTORY, slices=columns, take=lambda rows: {k: v[rows] for k, v in columns.items()})
    report = judge(task, truth, prediction, section=EvaluateSection(intervals=20), evidence=evidence)
    assert report.page.startswith("<!doctype html>")
    assert report.rows == len(truth)


def test_a_hundred_classes_are_judged_and_drawn():
    task = Task("multiclass", "species", tuple(f"species {i}" for i in range(100)))
    truth = np.random.default_rng(0).integers(0, 100, 3000)
    report = judge(task, truth, Prediction(probabilities=_chances(3000, 100), classes=task.labels))
    assert len(report.classes) == 100
    assert len(report.page) < 1_500_000


def test_many_numbers_make_a_page_of_reasonable_size():
    random = np.random.default_rng(0)
    truth = random.normal(size=30_000)
    report = judge(NUMBER, truth, Prediction(values=truth + random.normal(size=30_000)))
    assert len(report.page) < 400_000


def test_importing_the_package_loads_nothing_that_draws():
    code = (
        "import sys, engram.evaluation, engram.evaluation.judge, engram.evaluation.metrics.roc_auc;"
        "print([m for m in ('matplotlib', 'jinja2', 'PIL', 'sklearn', 'torch', 'onnx') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
