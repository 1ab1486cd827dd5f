import numpy as np
import pytest

from engram.data import csv
from engram.data._target import encode, find, renames
from engram.errors import DataError, UsageError
from engram.records import Task


@pytest.fixture
def task_of(tmp_path):
    def made(values, said=""):
        path = tmp_path / "t.csv"
        path.write_text("x,goal\n" + "".join(f"{i % 7},{value}\n" for i, value in enumerate(values)))
        found = csv.open((str(path),))
        return find(type(found)(found.columns, found.parts, found.digest, target="goal"), said)

    return made


def test_two_words_are_a_binary_task_with_sorted_labels(task_of):
    assert task_of(["spam", "ham", "ham"]).labels == ("ham", "spam")
    assert task_of(["spam", "ham", "ham"]).kind == "binary"


def test_three_words_are_many_classes(task_of):
    assert task_of(["a", "b", "c", "a"]).kind == "multiclass"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.5, 1.5, 2.5], "regression"),
        ([0, 1, 1, 0], "binary"),
        ([-1, 1, 1, -1], "binary"),
        ([0, 1, 2, 1], "multiclass"),
        ([1, 2, 3, 4, 5], "multiclass"),
        ([3, 4, 5, 6, 7, 8, 9], "regression"),
        ([0, 2, 4, 8], "regression"),
        (list(range(2, 90, 3)), "regression"),
    ],
)
def test_numbers_are_classes_only_where_they_look_like_codes(task_of, values, kind):
    task = task_of(values)
    assert task.kind == kind
    assert task.reason


def test_the_users_word_goes_before_what_was_found(task_of):
    assert task_of([0, 1, 2, 1], "number").kind == "regression"
    assert task_of([3, 4, 5, 9, 10], "category").labels == ("3", "4", "5", "9", "10")


def test_labels_that_are_numbers_are_sorted_as_numbers(task_of):
    assert task_of([10, 9, 10, 9]).labels == ("9", "10")


@pytest.mark.parametrize(
    ("values", "said"), [(["a", "a", "a"], "one value 'a'"), ([7, 7, 7], "one value '7'"), (["", "", ""], "no value")]
)
def test_a_target_with_nothing_to_learn_is_refused(task_of, values, said):
    with pytest.raises(DataError, match=said):
        task_of(values)


def test_a_target_with_a_value_of_its_own_in_every_row_is_refused(task_of):
    with pytest.raises(DataError, match="50 different values in 50 rows"):
        task_of([f"u{i}" for i in range(50)])


def test_a_date_cannot_be_predicted(task_of):
    with pytest.raises(UsageError, match="kind 'date'"):
        task_of(["2024-01-01", "2024-01-02"])


def test_labels_are_encoded_by_their_place():
    task = Task("multiclass", "t", ("a", "b", "c"))
    assert encode(task, np.array(["c", "a", "c"], dtype=object)).tolist() == [2, 0, 2]


def test_numbers_are_encoded_by_the_label_they_are_written_as():
    assert encode(Task("binary", "t", ("0", "1")), np.array([1.0, 0.0])).tolist() == [1, 0]


def test_a_label_never_seen_is_refused_with_its_rows():
    with pytest.raises(DataError, match=r"value 'd' \(rows 2, 3\), which is none of the labels \(a, b\)"):
        encode(Task("binary", "t", ("a", "b")), np.array(["a", "d", "d"], dtype=object))


def test_a_gap_among_amounts_is_refused_with_its_row():
    with pytest.raises(DataError, match="row 2"):
        encode(Task("regression", "t"), np.array([1.0, np.nan]))


def test_words_among_amounts_are_refused():
    with pytest.raises(DataError, match="words such as 'x'"):
        encode(Task("regression", "t"), np.array(["x"], dtype=object))


def test_a_full_stop_behind_a_label_is_no_other_label():
    words = np.array(["<=50K.", ">50K", "other."], dtype=object)
    assert renames(words, ("<=50K", ">50K")) == {"<=50K.": "<=50K"}
