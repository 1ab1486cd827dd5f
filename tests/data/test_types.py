import polars as pl
import pytest

from engram.data._types import Field, convert, find
from engram.errors import DataError


def column(*values, name="c", **more):
    return Field(name, pl.Series([str(v) for v in values], dtype=pl.String), ("?",), **more)


def kind_of(*values, name="c"):
    return find(column(*values, name=name)).column.kind


def test_numbers_are_numbers():
    assert kind_of(1, 2.5, "-3e2", "", "?", ".5") == "number"


def test_a_few_words_are_a_category():
    assert kind_of("red", "blue", "red", "") == "category"


@pytest.mark.parametrize("words", [("yes", "no"), ("TRUE", "False"), ("t", "f"), ("Y", "n")])
def test_words_for_true_and_false_are_booleans(words):
    found = find(column(*words, "", *words))
    assert found.column.kind == "boolean"
    assert found.values.array.tolist()[0] == 1.0
    assert found.values.array.tolist()[1] == 0.0


def test_zero_and_one_stay_numbers():
    assert kind_of(0, 1, 1, 0) == "number"


@pytest.mark.parametrize(
    "dates",
    [
        ("2024-01-31", "2023-12-01"),
        ("2024/01/31", ""),
        ("31.01.2024", "01.02.2024 12:30"),
        ("2024-01-31T10:00:00Z", "?"),
    ],
)
def test_dates_are_dates(dates):
    assert kind_of(*dates, "1999-01-01") == "date"


def test_a_date_that_could_be_two_days_is_no_date():
    assert kind_of("01/02/2024", "02/03/2024", "01/02/2024") == "category"


def test_sentences_are_text():
    assert kind_of(*(f"the cat number {i} sat on the mat" for i in range(30))) == "text"


def test_a_value_of_its_own_in_every_row_is_ignored():
    found = find(column(*(f"u{i * 7919}" for i in range(40)))).column
    assert found.kind == "ignore"
    assert found.reason


def test_a_column_that_counts_the_rows_is_ignored():
    assert kind_of(*range(1, 31)) == "ignore"
    assert kind_of(*range(30)) == "ignore"


def test_numbers_that_merely_grow_are_numbers():
    assert kind_of(*range(5, 65, 2)) == "number"


def test_numbers_with_the_name_of_an_identifier_are_ignored_only_if_all_differ():
    assert kind_of(*(i * 7919 % 1000 for i in range(50)), name="customer_id") == "ignore"
    assert kind_of(*(i % 10 for i in range(50)), name="customer_id") == "number"
    assert kind_of(*(i * 7919 % 1000 for i in range(50)), name="humid") == "number"


def test_codes_with_leading_zeros_are_categories_and_keep_them():
    found = find(column("007", "010", "007"))
    assert found.column.kind == "category"
    assert list(found.values.words) == ["", "007", "010"]


def test_a_constant_column_is_ignored():
    assert kind_of(5, 5, 5) == "ignore"
    assert kind_of("x", "x", "") == "ignore"


def test_a_column_of_gaps_is_ignored():
    found = find(column("", "?", "")).column
    assert (found.kind, found.missing) == ("ignore", 3)


def test_a_few_words_among_numbers_are_a_fault_that_names_their_rows():
    values = [str(i * 3) for i in range(200)]
    values[16], values[203 - 100], values[180] = "old", "young", "old"
    found = find(column(*values, name="age"))
    assert found.fault.startswith("column 'age' has 3 values that are not numbers (rows 17, 104, 181: 'old', 'young')")
    assert 'age = "category"' in found.fault


def test_a_word_among_dates_is_a_fault_that_names_its_row():
    found = find(column(*(f"2024-01-{i:02}" for i in range(1, 29)), "soon", name="when"))
    assert found.fault.startswith("column 'when' has 1 value that is not a date (row 29: 'soon')")


def test_many_words_among_numbers_are_a_category():
    found = find(column(1, 2, "a", "b", 3, 4))
    assert (found.column.kind, found.fault) == ("category", "")
    assert "33% of the values are no numbers" in found.column.reason


@pytest.mark.parametrize("word", ["inf", "-Infinity", "1e999"])
def test_an_infinite_value_is_a_fault_that_names_its_row(word):
    found = find(column(1, 2, word, 4, name="speed"))
    assert found.fault.startswith("column 'speed' has an infinite value (row 3)")


def test_a_name_with_a_space_is_quoted_in_the_advice():
    assert '"my age" = "category"' in find(column(*range(3, 99, 2), "x", name="my age")).fault


def test_a_column_is_read_as_the_kind_that_is_said():
    field = column("1", "0", "?", "1")
    assert convert(field, "category").values.words.tolist() == ["", "0", "1"]
    assert convert(field, "boolean").values.array[:2].tolist() == [1.0, 0.0]
    assert convert(field, "number").column.missing == 1
    assert convert(field, "text").column.kind == "text"


@pytest.mark.parametrize(("kind", "what"), [("number", "a number"), ("date", "a date"), ("boolean", "a boolean")])
def test_values_that_do_not_fit_the_kind_that_is_said_are_refused(kind, what):
    with pytest.raises(DataError, match=f"1 value that is not {what} \\(row 2: 'perhaps'\\)"):
        convert(column("", "perhaps"), kind)


def test_an_infinite_number_is_refused_even_if_number_was_said():
    with pytest.raises(DataError, match="infinite"):
        convert(column("1", "inf"), "number")
