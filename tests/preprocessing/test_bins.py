"""Piecewise-linear bins against their definition, worked by hand."""

import numpy as np

from engram.preprocessing import bins


def _column(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)[:, None]


def test_each_bin_is_zero_below_one_above_and_rises_in_between():
    fitted = bins.fit(_column(*range(101)), bins.Options(4))
    assert fitted.start == (0.0, 25.0, 50.0, 75.0)
    assert fitted.span == (25.0, 25.0, 25.0, 25.0)
    made = bins.transform(_column(-5, 0, 30, 75, 999), fitted)
    expected = [[-5, 0, 0, 0, 0], [0, 0, 0, 0, 0], [30, 1, 0.2, 0, 0], [75, 1, 1, 1, 0], [999, 1, 1, 1, 1]]
    np.testing.assert_allclose(made, expected)


def test_rare_large_values_get_bins_although_most_rows_are_zero():
    values = np.concatenate([np.zeros(950), np.arange(1.0, 51.0)])[:, None]
    fitted = bins.fit(values, bins.Options(10))
    assert len(fitted.column) == 10
    assert max(fitted.start) > 40


def test_a_column_of_two_values_gets_no_bins_and_its_neighbor_keeps_its_own():
    values = np.column_stack([np.tile([0.0, 1.0], 50), np.arange(100.0)])
    fitted = bins.fit(values, bins.Options(5))
    assert set(fitted.column) == {1}
    assert bins.names(fitted, ["yes", "size"]) == ["yes", "size", *(f"size[{i}]" for i in range(1, 6))]


def test_without_any_bins_nothing_changes():
    values = _column(1, 1, 2)
    fitted = bins.fit(values, bins.Options())
    assert bins.transform(values, fitted) is values


def test_a_column_of_gaps_gets_no_bins():
    assert bins.fit(np.full((9, 1), np.nan), bins.Options()).column == ()
