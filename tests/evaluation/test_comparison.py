"""Two networks on the same rows, against theory and scipy."""

import numpy as np
import pytest
from scipy import stats

from engram.evaluation.answers import Answers
from engram.evaluation.comparison import compared, disagreement
from engram.evaluation.intervals import LIMIT, intervals, resampled
from engram.evaluation.metrics import SHELF

ACCURACY = {"accuracy": SHELF.take("accuracy")}
MAE = {"mae": SHELF.take("mae")}
NAMES = ("a:1", "a:2")


def _classified(first, second, both=0, neither=0):
    """Two classifiers of which only the first, only the second, both or neither are right in so many rows."""
    rows = first + second + both + neither
    truth = np.zeros(rows, np.int64)
    one = np.repeat([0, 1, 0, 1], [first, second, both, neither])
    two = np.repeat([1, 0, 0, 1], [first, second, both, neither])
    return Answers(truth, one), Answers(truth, two)


def _valued(rows, shift, seed=0):
    """Errors of two regressions that lie together, the second's smaller by ``shift`` on average."""
    random = np.random.default_rng(seed)
    error = 5 + random.normal(size=rows)
    truth = random.normal(size=rows)
    return Answers(truth, values=truth + error), Answers(truth, values=truth + error - shift + random.normal(size=rows))


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 6), (3, 10), (40, 21), (400, 350)])
def test_few_rows_are_tested_exactly_as_scipy_does(first, second):
    found = disagreement(*_classified(first, second, both=20))
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert (found.first, found.second, found.exact) == (first, second, True)
    assert found.p == pytest.approx(expected)


def test_many_rows_are_tested_by_edwards_statistic():
    found = disagreement(*_classified(1100, 1000))
    assert not found.exact
    assert found.p == pytest.approx(stats.chi2.sf((100 - 1) ** 2 / 2100, 1))


def test_a_classifier_that_is_right_in_more_rows_is_better_and_the_other_way_worse():
    first, second = _classified(10, 40, both=100)
    assert compared(NAMES, (first, second), ACCURACY).differences[0].verdict == "better"
    assert compared(NAMES, (second, first), ACCURACY).differences[0].verdict == "worse"
    assert "a:2 is better than a:1" in compared(NAMES, (first, second), ACCURACY).verdict


def test_the_rows_needed_would_decide():
    made = compared(NAMES, _classified(10, 15, both=175), ACCURACY)
    needed = made.differences[0].needed
    assert made.differences[0].verdict == "cannot tell"
    assert f"about {needed:,} rows would be needed" in made.verdict
    # Power 0.8 at level 0.05: the expected z with so many rows is 1.96 + 0.84.
    times = needed / 200
    assert (15 - 10) * times / np.sqrt(25 * times) == pytest.approx(2.8016, rel=0.01)


def test_several_looks_make_the_level_smaller():
    answers = _classified(10, 24, both=100)
    p = disagreement(*answers).p
    assert 0.05 / 3 < p < 0.05
    assert compared(NAMES, answers, ACCURACY).differences[0].verdict == "better"
    assert compared(NAMES, answers, ACCURACY, looks=3).differences[0].verdict == "cannot tell"


def test_the_same_answers_are_the_same():
    first, _ = _classified(5, 0, both=100)
    made = compared(NAMES, (first, first), ACCURACY)
    assert made.differences[0].verdict == "the same"
    assert made.differences[0].needed == 0


def test_as_many_right_in_other_rows_cannot_be_told_apart_and_no_number_of_rows_is_made_up():
    made = compared(NAMES, _classified(12, 12, both=100), ACCURACY)
    assert (made.differences[0].verdict, made.differences[0].needed) == ("cannot tell", 0)


@pytest.mark.parametrize("rows", [2000, LIMIT + 5000])
def test_a_paired_interval_is_as_wide_as_the_spread_of_the_differences(rows):
    answers = _valued(rows, shift=0.1)
    (found,) = compared(NAMES, answers, MAE).differences
    each = np.abs(answers[1].values - answers[1].truth) - np.abs(answers[0].values - answers[0].truth)
    width = 2 * 1.96 * each.std() / np.sqrt(rows)
    assert found.second - found.first == pytest.approx(each.mean())
    assert found.high - found.low == pytest.approx(width, rel=0.15)
    assert found.low < each.mean() < found.high


def test_networks_whose_intervals_overlap_can_still_be_told_apart():
    answers = _valued(400, shift=0.15, seed=2)
    (found,) = compared(NAMES, answers, MAE).differences
    bounds = [intervals(list(MAE.values()), own, samples=500)[0] for own in answers]
    assert found.verdict == "better"
    assert bounds[1][1] > bounds[0][0]


def test_handfuls_of_rows_are_not_judged_by_the_bootstrap():
    truth = np.arange(5.0)
    made = compared(NAMES, (Answers(truth, values=truth + 2), Answers(truth, values=truth + 1)), MAE)
    assert made.differences[0].verdict == "cannot tell"


def test_a_seed_draws_the_same_rows_whatever_was_answered():
    first, _ = _valued(300, 0.1)
    moved = Answers(first.truth, values=first.values + 1)
    one, two = (resampled([SHELF.take("mae")], own, samples=20, seed=4)[0] for own in (first, moved))
    assert two - one == pytest.approx(np.full(20, 1.0), rel=0.01)
