"""Curves in the terminal, looked at dot by dot."""

import pytest

from engram.cli.chart import chart


def dots_of(lines, width):
    """The dots of a chart as (column, row from the top), counted in dots."""
    places = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))  # by bit, as Unicode orders them
    found = set()
    for row, line in enumerate(lines):
        for column, cell in enumerate(line.partition("│")[2][:width]):
            bits = ord(cell) - 0x2800
            found |= {(2 * column + x, 4 * row + y) for bit, (x, y) in enumerate(places) if bits >> bit & 1}
    return found


def test_a_falling_line_is_a_diagonal_of_dots():
    drawn = chart({"loss": [7, 6, 5, 4, 3, 2, 1, 0]}, width=4, height=2, dots=True)
    assert dots_of(drawn[:2], 4) == {(n, n) for n in range(8)}
    assert drawn[2] == "  └────"


def test_values_between_two_points_are_joined():
    drawn = chart({"loss": [0, 7]}, width=4, height=2, dots=True)
    assert dots_of(drawn[:2], 4) == {(n, 7 - n) for n in range(8)}


def test_letters_show_where_dots_cannot():
    drawn = chart({"train": [2, 1, 0], "validation": [2, 2, 2]}, width=3, height=3, mark=1, dots=False)
    assert drawn == ["2 |vvv validation", "  | t", "0 |  t train", "  +---", "    ^ best"]


def test_every_curve_has_a_letter_of_its_own():
    drawn = chart({"val": [0, 0], "vol": [1, 1]}, width=2, height=2, dots=False)
    assert drawn[:2] == ["1 |oo vol (o)", "0 |vv val"]


def test_names_do_not_stand_on_each_other():
    drawn = chart({"a": [1, 0], "b": [1, 0], "c": [1, 0]}, width=2, height=3, dots=False)
    assert [line[-1] for line in drawn[:3]] == ["c", "b", "a"]


def test_what_is_no_number_is_passed_over():
    drawn = chart({"loss": [0, float("nan"), 0, float("inf")]}, width=4, height=2, dots=False)
    assert drawn[:2] == ["0 |lll  loss", "0 |"]
    assert chart({"loss": [float("nan")] * 3}, width=4, height=2, dots=True) == []


@pytest.mark.parametrize("curves", [{}, {"loss": []}, {"loss": [1.0]}])
def test_fewer_than_two_points_are_no_curve(curves):
    assert chart(curves, width=10, height=5, dots=True) == []
