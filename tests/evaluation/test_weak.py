"""Parts where a network is worst and gaps between groups, against scipy, published numbers and planted faults."""

import numpy as np
import pytest
from scipy import stats

from engram.evaluation.answers import Answers
from engram.evaluation.fairness import gaps, newcombe, rates
from engram.evaluation.report import as_json, from_json
from engram.evaluation.weak import hypergeometric, rank_sum, weakest, wilson
from engram.records import Report, Score


def _columns(rows, seed=0):
    random = np.random.default_rng(seed)
    words = {name: random.choice(list("abcd"), rows).astype(object) for name in ("one", "two", "three")}
    return {**words, "size": random.normal(size=rows)}


def _answers(wrong):
    truth = np.zeros(len(wrong), np.int64)
    return Answers(truth, np.asarray(wrong).astype(np.int64))


@pytest.mark.parametrize("numbers", [(8, 40, 50, 1000), (0, 30, 5, 90), (30, 30, 60, 100), (90, 400, 1000, 9000)])
def test_the_chance_of_so_many_wrong_answers_is_that_of_scipy(numbers):
    wrong, drawn, all_wrong, total = numbers
    assert hypergeometric(*numbers) == pytest.approx(stats.hypergeom.sf(wrong - 1, total, all_wrong, drawn), rel=1e-6)


def test_ranks_are_compared_as_scipy_does():
    values = np.random.default_rng(1).normal(size=300).round(1)
    rows = np.arange(70)
    expected = stats.mannwhitneyu(values[:70], values[70:], alternative="greater", use_continuity=False).pvalue
    assert rank_sum(stats.rankdata(values), rows) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("right", "rows"), [(0, 40), (3, 40), (40, 40), (700, 1000)])
def test_the_interval_of_a_share_is_wilsons(right, rows):
    expected = stats.binomtest(right, rows).proportion_ci(method="wilson")
    assert wilson(right, rows) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_gap_has_the_interval_that_newcombe_published():
    assert newcombe((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_value_where_the_network_fails_is_found_once_and_not_with_every_other_column():
    columns = _columns(4000)
    wrong = np.random.default_rng(1).uniform(size=4000) < np.where(columns["two"] == "c", 0.5, 0.1)
    found = weakest(columns, _answers(wrong))
    inside = wrong[columns["two"] == "c"]
    assert [part.name for part in found] == ["two=c"]
    assert (found[0].rows, found[0].error) == (len(inside), pytest.approx(inside.mean()))
    assert found[0].overall < found[0].low < found[0].error < found[0].high


def test_a_pair_is_found_where_it_fails_and_neither_of_its_values_alone():
    columns = _columns(6000)
    both = (columns["one"] == "a") & (columns["three"] == "d")
    wrong = np.random.default_rng(1).uniform(size=6000) < np.where(both, 0.8, 0.1)
    assert weakest(columns, _answers(wrong))[0].name == "one=a, three=d"


def test_numbers_that_are_far_off_in_one_quartile_are_found():
    columns = _columns(2000)
    random = np.random.default_rng(2)
    top = columns["size"] > np.quantile(columns["size"], 0.75)
    truth = random.normal(size=2000)
    answers = Answers(truth, values=truth + random.normal(size=2000) * np.where(top, 3, 1))
    (found,) = weakest(columns, answers)
    assert found.name.startswith("size=")
    assert found.rows == 500
    assert found.error == pytest.approx(np.abs(answers.values - truth)[top].mean())


def test_where_errors_are_spread_at_random_all_looks_together_find_something_in_one_of_twenty_cases():
    random = np.random.default_rng(5)
    found = sum(bool(weakest(_columns(600, seed), _answers(random.uniform(size=600) < 0.3))) for seed in range(60))
    assert found <= stats.binom.ppf(0.9999, 60, 0.05)


def test_no_rows_no_columns_and_no_errors_find_nothing():
    assert weakest({}, _answers(np.arange(100) % 2)) == ()
    assert weakest(_columns(100), _answers(np.zeros(100))) == ()
    assert weakest(_columns(3), _answers([0, 1, 0])) == ()


def test_rates_of_groups_are_counted_and_the_gap_is_between_the_furthest():
    sex = np.repeat(np.array(["f", "m"], object), [80, 70])
    truth = np.ones(150, np.int64)
    labels = np.zeros(150, np.int64)
    labels[:48], labels[80:136] = 1, 1
    found = rates({"sex": sex}, Answers(truth, labels))
    assert found["sex=f"]["selection_rate"] == pytest.approx(0.6)
    assert found["sex=m"]["true_positive_rate"] == pytest.approx(0.8)
    gap = next(gap for gap in gaps(found) if gap.rate == "true_positive_rate")
    assert (gap.most, gap.least, gap.difference) == ("m", "f", pytest.approx(0.2))
    assert (gap.low, gap.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_weak_parts_and_gaps_come_back_from_json():
    columns = _columns(4000)
    wrong = np.random.default_rng(1).uniform(size=4000) < np.where(columns["two"] == "c", 0.5, 0.1)
    fair = rates({"two": columns["two"]}, _answers(wrong))
    report = Report(
        "d",
        4000,
        "binary",
        (Score("accuracy", 0.8, 0.7, 0.9),),
        weak=weakest(columns, _answers(wrong)),
        gaps=gaps(fair),
    )
    assert from_json(as_json(report)) == report
