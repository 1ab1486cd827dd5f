import numpy as np
import pytest

from engram.errors import UnknownName
from engram.evaluation.answers import Answers
from engram.evaluation.metrics import SHELF
from engram.evaluation.slices import judged, slices

ROWS = 400


def _columns():
    random = np.random.default_rng(0)
    return {
        "color": np.array(["red", "green", "", "blue"] * 100, dtype=object),
        "name": np.array([f"row {i}" for i in range(ROWS)], dtype=object),
        "constant": np.array(["same"] * ROWS, dtype=object),
        "member": np.where(np.arange(ROWS) % 5 == 0, np.nan, np.arange(ROWS) % 2).astype(np.float64),
        "age": random.uniform(17, 90, ROWS),
        "rooms": (np.arange(ROWS) % 3 + 1).astype(np.float64),
        "photo": np.zeros((ROWS, 4, 4, 1), np.uint8),
    }


def test_columns_with_few_values_and_truth_values_are_found():
    found = slices(_columns())
    assert [part.name for part in found] == [
        *("color=(missing)", "color=blue", "color=green", "color=red"),
        *("member=false", "member=true", "member=(missing)"),
    ]
    assert all(len(part.rows) >= 30 for part in found)


def test_a_chosen_column_of_many_numbers_is_cut_at_its_quartiles():
    parts = slices(_columns(), ("age",))
    assert [len(part.rows) for part in parts] == [100, 100, 100, 100]
    assert parts[0].value.startswith("17")


def test_a_chosen_column_of_few_numbers_is_divided_by_value():
    assert [part.name for part in slices(_columns(), ("rooms",))] == ["rooms=1", "rooms=2", "rooms=3"]


def test_parts_of_fewer_than_thirty_rows_are_left_out():
    few = np.array(["a"] * 29 + ["b"] * 30, dtype=object)
    assert [part.value for part in slices({"letter": few})] == ["b"]


def test_a_column_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match=r"'colour'.*did you mean 'color'"):
        slices(_columns(), ("colour",))


def test_a_slice_is_scored_on_its_own_rows():
    truth = np.arange(ROWS) % 2
    said = np.where(np.arange(ROWS) % 4 == 1, 1 - truth, truth)
    scores = judged(slices(_columns()), Answers(truth, said), {"accuracy": SHELF.take("accuracy")}, samples=50)
    assert scores["color=green"]["accuracy"] == 0.0
    assert scores["color=red"] == {"rows": 100.0, "accuracy": 1.0, "accuracy.low": 1.0, "accuracy.high": 1.0}


def test_a_part_that_is_one_number_is_called_by_it():
    values = np.concatenate([np.zeros(400), np.arange(1.0, 101.0)])
    assert [part.value for part in slices({"gain": values}, ("gain",))] == ["0", "0 to 100"]
