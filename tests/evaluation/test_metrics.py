"""Every metric against scikit-learn, and the promises that every metric keeps, present and future."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from engram.evaluation.metrics import SHELF

BOTH = ("binary", "multiclass")
QUICK = settings(max_examples=40, deadline=None)
LABELS = {
    "accuracy": sk.accuracy_score,
    "precision_macro": lambda t, p, **w: sk.precision_score(t, p, average="macro", zero_division=0, **w),
    "precision_weighted": lambda t, p, **w: sk.precision_score(t, p, average="weighted", zero_division=0, **w),
    "recall_macro": lambda t, p, **w: sk.recall_score(t, p, average="macro", zero_division=0, **w),
    "recall_weighted": lambda t, p, **w: sk.recall_score(t, p, average="weighted", zero_division=0, **w),
    "f1_macro": lambda t, p, **w: sk.f1_score(t, p, average="macro", zero_division=0, **w),
    "f1_weighted": lambda t, p, **w: sk.f1_score(t, p, average="weighted", zero_division=0, **w),
}
BINARY = {
    "precision": lambda t, p, **w: sk.precision_score(t, p, zero_division=0, **w),
    "recall": lambda t, p, **w: sk.recall_score(t, p, zero_division=0, **w),
    "f1": lambda t, p, **w: sk.f1_score(t, p, zero_division=0, **w),
}
VALUES = {
    "mse": sk.mean_squared_error,
    "rmse": sk.root_mean_squared_error,
    "mae": sk.mean_absolute_error,
    "mape": sk.mean_absolute_percentage_error,
    "r2": sk.r2_score,
}


@pytest.fixture(autouse=True)
def _quiet_about_undefined_scores():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@st.composite
def classified(draw, classes=5):
    """Truth, labels answered, tied chances and how often each row counts; classes may be missing."""
    count = draw(st.integers(2, classes))
    rows = draw(st.integers(2, 40))
    truth = draw(st.lists(st.integers(0, count - 1), min_size=rows, max_size=rows))
    said = draw(st.lists(st.integers(0, count - 1), min_size=rows, max_size=rows))
    # Few different chances, so that many rows tie.
    raw = draw(st.lists(st.lists(st.integers(0, 4), min_size=count, max_size=count), min_size=rows, max_size=rows))
    chances = np.array(raw, dtype=np.float64) + 1e-9
    weights = draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
    return np.array(truth), np.array(said), chances / chances.sum(axis=1, keepdims=True), np.array(weights)


@st.composite
def valued(draw):
    rows = draw(st.integers(2, 40))
    number = st.one_of(st.integers(-5, 5), st.floats(-1e4, 1e4)).map(float)
    truth = draw(st.lists(number, min_size=rows, max_size=rows))
    said = draw(st.lists(number, min_size=rows, max_size=rows))
    return np.array(truth), np.array(said, dtype=np.float32).astype(np.float64)


@pytest.mark.parametrize("name", LABELS)
@QUICK
@given(classified())
def test_metrics_of_labels_equal_those_of_scikit_learn(name, drawn):
    truth, said, _, weights = drawn
    metric = SHELF.take(name)
    assert metric.score(truth, said) == pytest.approx(LABELS[name](truth, said), abs=1e-12)
    if weights.sum():
        expected = LABELS[name](truth, said, sample_weight=weights)
        # Classes without weight are still classes to scikit-learn; here a sample is what is in it.
        repeated = np.repeat(np.arange(len(truth)), weights)
        assert metric.resample(truth, said, weights[None].astype(float))[0] == pytest.approx(
            LABELS[name](truth[repeated], said[repeated]), abs=1e-12
        )
        if "macro" not in name:
            assert metric.resample(truth, said, weights[None].astype(float))[0] == pytest.approx(expected, abs=1e-12)


@QUICK
@given(classified())
def test_balanced_accuracy_is_the_mean_recall_of_the_classes_present(drawn):
    truth, said, _, _ = drawn
    assert SHELF.take("balanced_accuracy").score(truth, said) == pytest.approx(sk.balanced_accuracy_score(truth, said))


@pytest.mark.parametrize("name", BINARY)
@QUICK
@given(classified(classes=2))
def test_binary_metrics_are_those_of_the_second_class(name, drawn):
    truth, said, _, weights = drawn
    metric = SHELF.take(name)
    assert metric.score(truth, said) == pytest.approx(BINARY[name](truth, said), abs=1e-12)
    if weights.sum() == 0:
        return
    expected = BINARY[name](truth, said, sample_weight=weights)
    assert metric.resample(truth, said, weights[None].astype(float))[0] == pytest.approx(expected, abs=1e-12)


@QUICK
@given(classified(classes=2))
def test_binary_roc_auc_equals_scikit_learn_and_is_undefined_with_one_class(drawn):
    truth, _, chances, _ = drawn
    score = SHELF.take("roc_auc").score(truth, chances)
    if len(set(truth)) < 2:
        assert np.isnan(score)
    else:
        assert score == pytest.approx(sk.roc_auc_score(truth, chances[:, 1]), abs=1e-12)


@QUICK
@given(classified())
def test_roc_auc_of_more_classes_is_the_mean_over_those_that_have_a_curve(drawn):
    truth, _, chances, _ = drawn
    classes = [c for c in range(chances.shape[1]) if 0 < (truth == c).sum() < len(truth)]
    if chances.shape[1] == 2:
        return
    score = SHELF.take("roc_auc").score(truth, chances)
    if not classes:
        assert np.isnan(score)
        return
    one_by_one = [sk.roc_auc_score(truth == c, chances[:, c]) for c in classes]
    assert score == pytest.approx(np.mean(one_by_one), abs=1e-12)
    if len(classes) == chances.shape[1]:
        whole = sk.roc_auc_score(truth, chances, multi_class="ovr", average="macro", labels=range(len(classes)))
        assert score == pytest.approx(whole, abs=1e-12)


@QUICK
@given(classified())
def test_pr_auc_is_average_precision(drawn):
    truth, _, chances, weights = drawn
    metric = SHELF.take("pr_auc")
    columns = [1] if chances.shape[1] == 2 else range(chances.shape[1])
    present = [c for c in columns if (truth == c).any()]
    score = metric.score(truth, chances)
    if not present:
        assert np.isnan(score)
        return
    expected = [sk.average_precision_score(truth == c, chances[:, c]) for c in present]
    assert score == pytest.approx(np.mean(expected), abs=1e-12)
    heavy = [c for c in columns if weights[truth == c].sum()]
    if heavy:
        expected = [sk.average_precision_score(truth == c, chances[:, c], sample_weight=weights) for c in heavy]
        got = metric.resample(truth, chances, weights[None].astype(float))[0]
        assert got == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@QUICK
@given(classified())
def test_log_loss_and_brier_equal_those_of_scikit_learn(dtype, drawn):
    truth, _, chances, weights = drawn
    given_chances = chances.astype(dtype)
    labels = range(chances.shape[1])
    score = SHELF.take("log_loss").score(truth, given_chances)
    assert score == pytest.approx(sk.log_loss(truth, given_chances, labels=labels), rel=1e-5)
    brier = SHELF.take("brier")
    shown = given_chances[:, 1] if chances.shape[1] == 2 else given_chances
    assert brier.score(truth, given_chances) == pytest.approx(
        sk.brier_score_loss(truth, shown, labels=labels), rel=1e-5
    )
    if weights.sum():
        expected = sk.brier_score_loss(truth, shown, labels=labels, sample_weight=weights)
        got = brier.resample(truth, given_chances, weights[None].astype(float))[0]
        assert got == pytest.approx(expected, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("name", VALUES)
@QUICK
@given(valued())
def test_metrics_of_numbers_equal_those_of_scikit_learn(name, drawn):
    truth, said = drawn
    if name == "r2" and 0 < np.ptp(truth) < 1e-6:
        return  # a variance that is nothing but rounding has no meaning in either
    assert SHELF.take(name).score(truth, said) == pytest.approx(VALUES[name](truth, said), rel=1e-6, abs=1e-9)


def test_r2_of_a_constant_target_is_one_when_perfect_and_zero_otherwise():
    metric = SHELF.take("r2")
    constant = np.full(7, 2.0)
    assert metric.score(constant, constant) == sk.r2_score(constant, constant) == 1.0
    assert metric.score(constant, constant + 1) == sk.r2_score(constant, constant + 1) == 0.0
    # The mean of seven times 0.1 is not 0.1; what is left is rounding and no variance.
    assert metric.score(np.full(7, 0.1), np.full(7, 1.1)) == 0.0
    assert np.isnan(metric.score(constant[:1], constant[:1]))


def test_calibration_error_is_the_gap_of_each_bin_weighted_by_its_rows():
    random = np.random.default_rng(0)
    chance = random.uniform(size=500)
    truth = (random.uniform(size=500) < chance**2).astype(np.int64)
    total = 0.0
    for low in np.arange(10) / 10:
        inside = (chance > low) & (chance <= low + 0.1)
        total += abs(truth[inside].mean() - chance[inside].mean()) * inside.sum()
    score = SHELF.take("calibration_error").score(truth, np.stack([1 - chance, chance], axis=1))
    assert score == pytest.approx(total / 500)


def _rows(needs, classes, rows=60):
    random = np.random.default_rng(classes)
    truth = np.concatenate([np.arange(classes), random.integers(0, classes, rows - classes)])
    chances = random.dirichlet(np.ones(classes), rows)
    if needs == "values":
        return truth.astype(np.float64), truth + random.normal(size=rows)
    return truth, chances if needs == "probabilities" else chances.argmax(axis=1)


@pytest.mark.parametrize("name", SHELF.names())
def test_every_metric_says_what_it_is(name):
    metric = SHELF.take(name)
    assert metric.BEST in {"max", "min"}
    assert metric.NEEDS in {"labels", "probabilities", "values"}
    assert metric.TASKS
    assert set(metric.TASKS) <= {"binary", "multiclass", "regression"}
    assert metric.__doc__


@pytest.mark.parametrize("name", SHELF.names())
def test_no_answer_scores_better_than_the_truth(name):
    metric = SHELF.take(name)
    truth, answer = _rows(metric.NEEDS, 2 if "binary" in metric.TASKS else 4)
    classes = 2 if "binary" in metric.TASKS else 4
    perfect = {"labels": truth, "values": truth, "probabilities": np.eye(classes)[truth.astype(int)]}[metric.NEEDS]
    best, score = metric.score(truth, perfect), metric.score(truth, answer)
    assert best >= score if metric.BEST == "max" else best <= score
    assert best == pytest.approx(1.0 if metric.BEST == "max" else 0.0, abs=1e-6)


@pytest.mark.parametrize("name", SHELF.names())
def test_a_resampled_score_is_the_score_of_the_repeated_rows(name):
    metric = SHELF.take(name)
    truth, answer = _rows(metric.NEEDS, 2 if "multiclass" not in metric.TASKS else 4)
    if not hasattr(metric, "resample"):
        pytest.skip(f"{name} leaves resampling to the intervals")
    counts = np.random.default_rng(1).integers(0, 4, (5, len(truth)))
    got = metric.resample(truth, answer, counts.astype(float))
    for sample, score in zip(counts, got, strict=True):
        rows = np.repeat(np.arange(len(truth)), sample)
        assert score == pytest.approx(metric.score(truth[rows], answer[rows]), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", SHELF.names())
@pytest.mark.parametrize("rows", [1, 2, 50])
def test_a_metric_never_fails_on_a_single_class_or_a_constant(name, rows):
    metric = SHELF.take(name)
    truth = np.zeros(rows, dtype=np.float64 if metric.NEEDS == "values" else np.int64)
    for classes in (2, 3):
        chances = np.full((rows, classes), 1 / classes, dtype=np.float32)
        answer = {"labels": truth, "values": truth, "probabilities": chances}[metric.NEEDS]
        assert isinstance(metric.score(truth, answer), float)


@pytest.mark.parametrize("name", [n for n in SHELF.names() if SHELF.take(n).NEEDS != "labels"])
def test_an_answer_that_is_no_number_makes_the_score_undefined(name):
    metric = SHELF.take(name)
    truth, answer = _rows(metric.NEEDS, 2)
    broken = answer.copy()
    broken[3:] = np.nan
    assert np.isnan(metric.score(truth, broken))
