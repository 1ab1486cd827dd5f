"""Moments into parts, as Python's own calendar counts them."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engram.graphs.build import Builder
from engram.preprocessing import date
from engram.records import TensorSpec

MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 12, 31, 23, 59, 59), timezones=st.just(UTC))  # noqa: DTZ001
PLAIN = date.fit(np.zeros((1, 1)), date.Options(date.PARTS, cyclic=False))


def _parts(moment):
    return [
        *(moment.year, moment.month, moment.day, moment.weekday()),
        *(moment.hour, moment.minute, moment.second),
    ]


def _graph(fitted, width):
    builder = Builder([TensorSpec("raw", "float64", ("batch", 1))])
    builder.node("Identity", date.nodes(fitted, builder, "raw"), name="made")
    return builder.finish([TensorSpec("made", "float64", ("batch", width))])


@given(st.lists(MOMENTS, min_size=1, max_size=50))
@example([datetime(2000, 2, 29, tzinfo=UTC), datetime(1900, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)])
@example([datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)])
def test_parts_are_those_of_the_calendar(moments):
    seconds = np.array([[moment.timestamp()] for moment in moments])
    np.testing.assert_array_equal(date.transform(seconds, PLAIN), [_parts(moment) for moment in moments])


@settings(deadline=None, max_examples=30)
@given(moments=st.lists(MOMENTS, min_size=1, max_size=200))
def test_the_graph_counts_as_the_calendar_does(moments, run):
    seconds = np.array([[moment.timestamp()] for moment in moments])
    made = run(_graph(PLAIN, 7), {"raw": seconds})["made"]
    np.testing.assert_array_equal(made, [_parts(moment) for moment in moments])


def test_every_day_of_three_centuries_is_right():
    days = np.arange("1900-01-01", "2201-01-01", dtype="datetime64[D]")
    made = date.transform(days.astype(np.int64)[:, None] * 86_400.0, PLAIN)
    years, months = days.astype("datetime64[Y]"), days.astype("datetime64[M]")
    np.testing.assert_array_equal(made[:, 0], years.astype(np.int64) + 1970)
    np.testing.assert_array_equal(made[:, 1], months.astype(np.int64) % 12 + 1)
    np.testing.assert_array_equal(made[:, 2], (days - months).astype(np.int64) + 1)
    np.testing.assert_array_equal(made[:, 3], (days.astype(np.int64) + 3) % 7)


@pytest.mark.parametrize(("part", "turn"), [("month", 0.25), ("weekday", 2 / 7), ("hour", 15 / 24), ("minute", 0.5)])
def test_a_part_that_comes_round_again_lies_on_a_circle(part, turn):
    seconds = np.array([[datetime(2026, 4, 1, 15, 30, tzinfo=UTC).timestamp()]])
    fitted = date.fit(seconds, date.Options((part,)))
    expected = [math.sin(2 * math.pi * turn), math.cos(2 * math.pi * turn)]
    np.testing.assert_allclose(date.transform(seconds, fitted)[0], expected, atol=1e-14)
    assert date.names(fitted, ["when"]) == [f"when {part} sin", f"when {part} cos"]


def test_a_gap_stays_a_gap_and_is_told(run):
    fitted = date.fit(np.zeros((1, 1)), date.Options(("year", "month"), indicator=True))
    made = run(_graph(fitted, 4), {"raw": np.array([[np.nan], [0.0]])})["made"]
    np.testing.assert_array_equal(made, [[np.nan, np.nan, np.nan, 1.0], [1970.0, 0.0, 1.0, 0.0]])


def test_moments_beyond_the_calendar_are_its_first_and_last():
    made = date.transform(np.array([[-1e300], [1e300]]), PLAIN)
    assert made.tolist() == [_parts(datetime.min.replace(tzinfo=UTC)), _parts(datetime.max.replace(tzinfo=UTC))]
