"""Rows that are asked: from what training saw, and from what it did not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.formats._probes import probes
from engram.records import Model, Signature, TensorSpec

RAW = (
    TensorSpec("age", "float64", ("batch",), kind="number"),
    TensorSpec("member", "float64", ("batch",), kind="boolean"),
    TensorSpec("since", "float64", ("batch",), kind="date"),
    TensorSpec("class", "string", ("batch",), kind="category"),
    TensorSpec("photo", "uint8", ("batch", "height", "width", 3), kind="image"),
)
SEEN = {
    "age": {"min": 17.0, "max": 90.0, "mean": 38.0, "std": 13.0, "examples": [25.0, 39.5]},
    "since": {"min": 1e9, "max": 1.5e9, "mean": 1.2e9, "std": 1e8, "examples": []},
    "class": {"values": [["private", 9], ["state", 3]], "examples": ["private"]},
    "photo": {"height": [20, 30], "width": [40, 40], "mean": 120.0, "std": 50.0},
}


def asked(inputs: tuple[TensorSpec, ...], statistics: dict | None = None, **options):
    return probes(Model(b"", {}, Signature(inputs, ()), statistics=statistics or {}), **options)


def test_the_same_seed_gives_the_same_rows_in_any_order():
    one, other = asked(RAW, SEEN, seed=3), asked(RAW[::-1], SEEN, seed=3)
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array)
    assert not np.array_equal(asked(RAW, SEEN, seed=4)["age"], one["age"], equal_nan=True)


def test_rows_hold_what_training_saw_and_what_it_did_not():
    rows = asked(RAW, SEEN, rows=64)
    assert np.isnan(rows["age"]).any()
    assert {17.0, 90.0, 0.0, 25.0, 39.5} <= set(rows["age"])
    assert np.nanmin(rows["age"]) < 17
    assert np.nanmax(rows["age"]) > 90
    assert set(rows["member"][~np.isnan(rows["member"])]) == {0.0, 1.0}
    assert np.isnan(rows["member"]).any()
    assert {"private", "state", "", "never seen before"} <= set(rows["class"])
    assert rows["photo"].shape == (64, 25, 40, 3)
    assert rows["photo"].dtype == np.uint8
    assert (rows["photo"].min(), rows["photo"].max()) == (0, 255)
    drawn = rows["since"][6:]
    assert ((drawn >= 1e9) & (drawn <= 1.5e9)).all()


def test_every_category_is_asked_when_there_are_rows_enough():
    known = [[f"value {n}", 1] for n in range(50)]
    rows = asked((RAW[3],), {"class": {"values": known}}, rows=64)
    assert {name for name, _ in known} <= set(rows["class"])


def test_tensors_are_never_gaps_and_share_their_free_axes():
    specs = (TensorSpec("a", "float32", ("batch", "time", 3)), TensorSpec("b", "int64", ("batch", "time")))
    rows = asked(specs, rows=9)
    assert rows["a"].shape[:2] == rows["b"].shape == (9, 8)
    assert np.isfinite(rows["a"]).all()
    assert set(rows["b"].ravel()) <= {0, 1}


@given(rows=st.integers(1, 40), seed=st.integers(0, 2**31), rubbish=st.dictionaries(st.text(), st.integers()))
def test_statistics_that_say_nothing_useful_still_give_rows(rows: int, seed: int, rubbish: dict):
    statistics = {spec.name: rubbish for spec in RAW[:3]} | {"class": 3, "photo": {"height": "tall"}}
    found = asked(RAW, statistics, rows=rows, seed=seed)
    assert all(len(array) == rows for array in found.values())


@pytest.mark.parametrize("value", [-(2**63) - 1, 10**400, -(10**400), float("inf"), float("nan"), 1e308])
def test_a_bound_of_absurd_size_is_passed_over(value):
    found = asked(RAW, {"age": {"min": value, "max": value, "examples": [value]}})
    assert all(not np.isinf(column).any() for column in found.values() if column.dtype.kind == "f")
