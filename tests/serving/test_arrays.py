import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from engram.errors import ShapeError
from engram.serving.arrays import array, measured, shaped

DTYPES = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"]
anything = st.sampled_from(DTYPES).flatmap(
    lambda dtype: st_numpy.arrays(
        dtype,
        st_numpy.array_shapes(max_dims=4, max_side=4),
        elements=None if dtype[0] != "f" else {"allow_nan": False, "allow_infinity": False},
    )
)


@given(anything, st.booleans())
def test_an_array_written_as_lists_comes_back_as_it_was(wanted, nested):
    data = wanted.tolist() if nested else wanted.ravel().tolist()
    found = array(shaped(data, wanted.shape, "x"), wanted.shape, str(wanted.dtype), "x")
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@given(st_numpy.arrays("float64", st_numpy.array_shapes(max_dims=4, max_side=4)))
def test_the_shape_of_a_nest_is_the_shape_numpy_finds(wanted):
    assert measured(wanted.tolist(), "x")[1] == wanted.shape


def test_a_gap_is_a_nan_in_a_floating_type():
    np.testing.assert_array_equal(array([1, None, 2.5], (3,), "float32", "x"), np.array([1, np.nan, 2.5], "float32"))


def test_strings_stay_as_they_are():
    assert array(["a", "b\0"], (2,), "string", "x").tolist() == ["a", "b\0"]


@pytest.mark.parametrize(
    ("data", "shape", "reason"),
    [
        ([1, 2], (3,), "has 2 values, but"),
        ([1, 2, 3], (2,), "has 3 values, but"),
        ([[1, 2], [3, 4]], (4,), r"nested as \[2, 2\]"),
        ([[1, 2, 3]], (3, 1), r"nested as \[1, 3\]"),
        ([[1, 2], [3]], (3,), "lists of 1 and 2 values"),
        ([[1], 2], (2,), "mixes lists and values"),
        ([[[1], 2]], (2,), "mixes lists and values"),
        ([], (1,), "has 0 values, but"),
    ],
)
def test_data_that_do_not_fill_their_shape_are_refused(data, shape, reason):
    with pytest.raises(ShapeError, match=reason):
        shaped(data, shape, "x")


@pytest.mark.parametrize(
    ("value", "dtype", "reason"),
    [
        (256, "uint8", "cannot hold 256"),
        (-1, "uint64", "cannot hold -1"),
        (2**63, "int64", "cannot hold 9223372036854775808"),
        (1.0, "int32", "a decimal number"),
        (True, "int32", "true or false"),
        (True, "float32", "true or false"),
        (1, "bool", "a number"),
        ("1", "float64", "a string"),
        (1, "string", "a number"),
        (None, "string", "null"),
        (None, "int8", "null"),
        ({}, "float32", "an object"),
        ([], "float32", "a list"),
        (1e39, "float32", "cannot hold 1e\\+39"),
        (2**63, "int8", "cannot hold"),
    ],
)
def test_a_value_that_the_type_cannot_hold_is_refused(value, dtype, reason):
    with pytest.raises(ShapeError, match=reason):
        array([value], (1,), dtype, "x")


def test_a_long_text_among_numbers_costs_no_memory():
    with pytest.raises(ShapeError, match="value 1 is a string"):
        array(["x" * 10_000_000, *range(1_000_000)], (1_000_001,), "float64", "x")
