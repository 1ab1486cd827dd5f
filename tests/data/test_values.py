import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from engram.data._values import as_dates, as_numbers, as_words, clean
from engram.runtime._dates import parse_date

ZONES = st.none() | st.integers(-12 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES)  # noqa: DTZ001 - bounds have no zone


def seconds_of(texts):
    return as_dates(pl.Series(texts, dtype=pl.String))


def test_a_date_is_counted_from_1970():
    assert seconds_of(["1970-01-02", "02.01.1970", "1970/01/02 00:00"]).values.array.tolist() == [86400.0] * 3


@settings(deadline=None)
@given(st.lists(MOMENTS, min_size=1, max_size=20))
def test_moments_written_by_python_are_read(moments):
    expected = [(m if m.tzinfo else m.replace(tzinfo=UTC)).timestamp() for m in moments]
    np.testing.assert_allclose(
        seconds_of([m.isoformat() for m in moments]).values.array, expected, rtol=1e-15, atol=1e-6
    )


PIECES = st.sampled_from(
    ["2024", "12", "1", "31", "02", "13", "-", "/", ".", "T", " ", ":", "10:30", "Z", "+02:00", "x"]
)
DATES = st.lists(PIECES, min_size=1, max_size=9).map("".join)


def served(text):
    try:
        return parse_date(text)
    except ValueError:
        return math.nan


@settings(deadline=None, max_examples=300)
@given(st.lists(DATES, min_size=1, max_size=20))
def test_a_date_in_a_file_means_what_it_means_in_a_request(texts):
    bare = [text.strip() or "x" for text in texts]
    np.testing.assert_array_equal(seconds_of(bare).values.array, [served(text) for text in bare])


def test_days_that_are_not_in_the_calendar_are_no_dates():
    assert seconds_of(["2023-02-29", "2024-02-29", "2024-13-01"]).bad.tolist() == [True, False, True]


@given(st.lists(st.floats(allow_nan=False), max_size=30))
def test_numbers_written_by_python_are_read_exactly(numbers):
    read = as_numbers(pl.Series([repr(number) for number in numbers], dtype=pl.String))
    assert read.wrong == 0
    np.testing.assert_array_equal(read.values.array, numbers)


@given(st.lists(st.none() | st.text(min_size=1), max_size=30), st.lists(st.integers(0, 29)))
def test_words_are_taken_in_any_order(words, rows):
    chosen = np.array([row for row in rows if row < len(words)], dtype=np.int64)
    series = pl.Series(words, dtype=pl.String)
    expected = [words[row] or "" for row in chosen]
    for repeated in (True, False):
        assert as_words(series, repeated=repeated).take(chosen).tolist() == expected


def test_gaps_are_found_behind_spaces():
    assert clean(pl.Series([" ? ", "a ", "", "NA"]), ("?", "NA")).to_list() == [None, "a", None, None]
