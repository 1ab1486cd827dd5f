import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.data._split import Shares, by_names, by_time, random, stratified
from engram.errors import DataError

SHARES = st.builds(Shares, st.sampled_from([0.0, 0.1, 0.2, 0.5]), st.sampled_from([0.0, 0.1, 0.3]))


def generator(seed=0):
    return np.random.default_rng(seed)


@given(st.integers(10, 500), SHARES, st.integers(0, 5))
def test_every_row_is_in_exactly_one_part(rows, shares, seed):
    parts = random(rows, shares, generator(seed))
    assert sorted(np.concatenate(list(parts.values()))) == list(range(rows))
    assert ("test" in parts) == (shares.test > 0)
    assert ("validation" in parts) == (shares.validation > 0)


@given(st.lists(st.integers(0, 5), min_size=20, max_size=300), SHARES, st.integers(0, 5))
def test_a_stratified_part_has_the_shares_of_the_whole(classes, shares, seed):
    truth = np.array(classes)
    parts = stratified(truth, shares, generator(seed))
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(truth)))
    counts = np.bincount(truth, minlength=6)
    assert (np.bincount(truth[parts["train"]], minlength=6)[counts > 0] > 0).all()
    if "test" in parts and (counts[counts > 0] > 4).all():
        held = np.bincount(truth[parts["test"]], minlength=6)
        assert np.abs(held - counts * len(parts["test"]) / len(truth)).max() < 1 + 1e-9


def test_the_same_seed_makes_the_same_parts_and_another_seed_others():
    first, again, other = (random(100, Shares(0.2, 0.1), generator(seed)) for seed in (1, 1, 2))
    assert all((first[name] == again[name]).all() for name in first)
    assert (first["test"] != other["test"]).any()


def test_a_class_of_one_row_is_trained_on():
    truth = np.array([0] * 10 + [1] * 10 + [2])
    assert 20 in stratified(truth, Shares(0.5, 0.3), generator())["train"]


def test_the_latest_rows_are_the_test():
    parts = by_time(np.array([5.0, 1.0, 9.0, 3.0, 7.0, 2.0, 8.0, 0.0, 6.0, 4.0]), Shares(0.2, 0.25))
    assert parts["test"].tolist() == [2, 6]
    assert parts["validation"].tolist() == [4, 8]


def test_a_row_without_a_time_is_named():
    with pytest.raises(DataError, match="row 2"):
        by_time(np.array([5.0, np.nan, 9.0]), Shares(0.2, 0.1))


def test_a_column_may_name_the_parts():
    words = np.array(["Train", "test", "train", "val", "training"], dtype=object)
    parts = by_names(words, "part")
    assert {name: rows.tolist() for name, rows in parts.items()} == {"train": [0, 2, 4], "validation": [3], "test": [1]}


def test_a_value_that_names_no_part_is_refused_with_its_row():
    with pytest.raises(DataError, match=r"value 'tset' \(row 2\)"):
        by_names(np.array(["train", "tset"], dtype=object), "part")


def test_too_few_rows_are_refused_with_what_is_needed():
    with pytest.raises(DataError, match="3 rows are too few"):
        random(3, Shares(0.2, 0.1), generator())
