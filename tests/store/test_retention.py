"""Which checkpoints are held, against the words that say so."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.errors import UnknownName, UsageError
from engram.store.training.retention import USUAL, Retention, parse


@dataclass(frozen=True)
class One:
    number: int
    best: bool = False


def held(words, count=12, best=0):
    """The numbers of the checkpoints that are held when all are there."""
    there = [One(number, number == best) for number in range(count, 0, -1)]
    return [one.number for one, kept in zip(there, parse(words).held(there), strict=True) if kept]


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("", [12, 11, 4]),
        ("last 3", [12, 11, 10]),
        ("last", [12]),
        ("best", [12, 4]),
        ("last 2, best, every 5th", [12, 11, 10, 5, 4]),
        ("every 3rd", [12, 9, 6, 3]),
        ("every 1st", list(range(12, 0, -1))),
        ("every 10", [12, 10]),
        ("all", list(range(12, 0, -1))),
        ("  Last 1 ,BEST", [12, 4]),
        ("last 99", list(range(12, 0, -1))),
    ],
)
def test_words_hold_what_they_say(words, numbers):
    assert held(words, best=4) == numbers


@pytest.mark.parametrize(
    ("words", "error", "why"),
    [
        ("lst 3", UnknownName, "'lst 3' is no rule; did you mean 'last 2'"),
        ("beste", UnknownName, "'beste' is no rule; did you mean 'best'"),
        ("last 3, evry 10th", UnknownName, "did you mean 'every 10th'"),
        ("forever", UnknownName, "clauses are last N, best, every Nth and all, with commas between"),
        ("last 3 best", UnknownName, "'last 3 best' is no rule"),
        ("last 3,", UnknownName, "'' is no rule"),
        ("last -1", UnknownName, "'last -1' is no rule"),
        ("last 0", UsageError, "'last 0' counts from 1"),
        ("every 0th", UsageError, "'every 0th' counts from 1"),
        ("best, best", UsageError, "'best' stands twice"),
        ("last 2, last 3", UsageError, "'last' stands twice"),
    ],
)
def test_other_words_are_refused_with_the_nearest(words, error, why):
    with pytest.raises(error, match=why):
        parse(words)


@given(st.builds(Retention, st.integers(1, 10**9 - 1), st.booleans(), st.integers(0, 10**9 - 1), st.just(value=False)))
def test_a_retention_says_itself_in_words_that_mean_the_same(retention):
    assert parse(str(retention)) == retention


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (112, "112th"),
    ],
)
def test_numbers_are_said_as_one_says_them(count, words):
    assert str(Retention(every=count)) == f"last 1, every {words}"


def test_the_last_is_held_whatever_the_words_say():
    assert all(12 in held(words) for words in ("best", "every 10th", "last", "all", ""))
    assert str(USUAL) == "last 2, best"
    assert str(parse("all, best")) == "all"


def test_a_checkpoint_that_nobody_counted_is_no_tenth():
    assert parse("every 2nd").held([One(3), One(0), One(0)]) == [True, False, False]
