"""Clipping, imputing and scaling at their edges; that they are scikit-learn's is shown on Adult."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from engram.preprocessing import clip, impute, scale

# whole numbers around an offset vary by nothing or by at least one, so that no library sees rounding as variance
OFFSET = st.sampled_from([0, 1_000_000, 1_700_000_000])
COLUMN = st.lists(st.integers(-1000, 1000), min_size=1, max_size=30)


def _column(*values):
    return np.array(values, dtype=np.float64)[:, None]


@pytest.mark.parametrize(
    ("method", "theirs"), [("standard", StandardScaler), ("minmax", MinMaxScaler), ("robust", RobustScaler)]
)
@given(OFFSET, COLUMN)
def test_scaling_is_that_of_scikit_learn(method, theirs, offset, drawn):
    values = _column(*drawn) + offset
    ours = scale.transform(values, scale.fit(values, scale.Options(method)))
    np.testing.assert_allclose(ours, theirs().fit_transform(values), rtol=1e-6, atol=1e-6)


def test_a_year_in_seconds_keeps_its_days():
    seconds = 1_700_000_000.0 + np.arange(10)[:, None] * 86_400
    made = scale.transform(seconds, scale.fit(seconds, scale.Options("minmax"))).astype(np.float32)
    np.testing.assert_allclose(made.ravel(), np.arange(10) / 9, atol=1e-6)


@pytest.mark.parametrize("method", ["standard", "minmax", "robust", "log"])
def test_a_column_that_does_not_vary_becomes_zero(method):
    values = _column(0.1, 0.1, 0.1)
    made = scale.transform(values, scale.fit(values, scale.Options(method)))
    np.testing.assert_allclose(made, 0, atol=1e-12)


@pytest.mark.parametrize("method", ["standard", "minmax", "robust", "log"])
def test_monsters_do_not_overflow_the_scale(method):
    values = _column(1e308, -1e308, 0.0, 1.0)
    fitted = scale.fit(values, scale.Options(method))
    assert np.isfinite([*fitted.offset, *fitted.spread]).all()
    assert not np.isnan(scale.transform(values, fitted)).any()


def test_the_logarithm_keeps_zero_and_the_sign():
    assert scale.signed_log(np.array([0.0, np.e - 1, 1 - np.e])).tolist() == pytest.approx([0.0, 1.0, -1.0])


def test_bounds_are_quantiles_of_the_values_that_are_there():
    values = _column(*range(101), np.nan)
    fitted = clip.fit(values, clip.Options(quantiles=(0.05, 0.9)))
    assert (fitted.lowest, fitted.highest) == ((5.0,), (90.0,))
    made = clip.transform(_column(-7, 50, 1000, np.nan), fitted)
    np.testing.assert_array_equal(made.ravel(), [5, 50, 90, np.nan])


def test_bounds_that_are_given_are_kept():
    fitted = clip.fit(_column(1, 2), clip.Options(bounds=(0, 100)))
    assert clip.transform(_column(-1, 101), fitted).ravel().tolist() == [0, 100]


def test_a_column_of_gaps_is_filled_with_zero():
    values = _column(np.nan, np.nan)
    for strategy in ("mean", "median", "most_frequent"):
        assert impute.fit(values, impute.Options(strategy)).values == (0.0,)


def test_of_equally_frequent_values_the_smallest_fills_a_gap():
    assert impute.fit(_column(3, 3, 1, 1, 2), impute.Options("most_frequent")).values == (1.0,)


def test_an_indicator_stands_beside_each_column():
    values = np.array([[1.0, np.nan], [np.nan, 4.0]])
    fitted = impute.fit(values, impute.Options("constant", value=9.0, indicator=True))
    assert impute.transform(values, fitted).tolist() == [[1, 9, 0, 1], [9, 4, 1, 0]]
    assert impute.names(fitted, ["a", "b"]) == ["a", "b", "a missing", "b missing"]
