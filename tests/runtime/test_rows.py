import datetime as dt
import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from engram.errors import ShapeError
from engram.records import TensorSpec
from engram.runtime._rows import decode, parse_date

AGE = TensorSpec("age", "float64", ("batch",), kind="number")
CITY = TensorSpec("city", "string", ("batch",), kind="category")
MARRIED = TensorSpec("married", "float64", ("batch",), kind="boolean")
BORN = TensorSpec("born", "float64", ("batch",), kind="date")
IMAGE = TensorSpec("image", "uint8", ("batch", "height", "width", 3), kind="image")
ALL = (AGE, CITY, MARRIED, BORN)
ROWS = [
    {"age": 39, "city": "Oslo", "married": "Yes", "born": "1970-01-02"},
    {"age": None, "city": None, "married": None, "born": None},
    {"age": 2.5, "city": "", "married": False, "born": "1970-01-01T00:00:01Z"},
]
NAN = float("nan")


def same(found):
    np.testing.assert_array_equal(found["age"], [39, NAN, 2.5])
    assert found["city"].tolist() == ["Oslo", "", ""]
    np.testing.assert_array_equal(found["married"], [1, NAN, 0])
    np.testing.assert_array_equal(found["born"], [86400, NAN, 1])
    assert [found[n].dtype for n in ("age", "city", "married", "born")] == ["f8", object, "f8", "f8"]


def test_rows_columns_and_data_frames_mean_the_same():
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    typed = {
        "age": [39.0, None, 2.5],
        "city": ["Oslo", None, ""],
        "married": [True, None, False],
        "born": [dt.datetime(1970, 1, 2, tzinfo=dt.UTC), None, dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)],
    }
    same(decode(ROWS, ALL))
    same(decode(columns, ALL))
    same(decode(pl.DataFrame(typed), ALL))
    same(decode({name: pl.Series(values) for name, values in typed.items()}, ALL))


def test_a_data_frame_of_pandas_means_the_same():
    pandas = pytest.importorskip("pandas")
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    same(decode(pandas.DataFrame(columns), ALL))
    same(decode(pandas.DataFrame(columns).convert_dtypes(), ALL))


def test_one_dictionary_of_values_is_one_row():
    found = decode({"age": 1, "city": "Bern", "married": 1, "born": 0}, ALL)
    assert {name: column.tolist() for name, column in found.items()} == {
        "age": [1.0], "city": ["Bern"], "married": [1.0], "born": [0.0],
    }  # fmt: skip


def test_no_rows_are_no_rows():
    assert {name: len(column) for name, column in decode([], ALL).items()} == dict.fromkeys(
        ("age", "city", "married", "born"), 0
    )


def test_the_order_of_columns_is_the_signatures():
    assert list(decode([dict(reversed(ROWS[0].items()))], ALL)) == ["age", "city", "married", "born"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": "old"}, "row 2, column 'age': 'old' is not a number"),
        ({"age": True}, "row 2, column 'age': True is not a number"),
        ({"age": [1]}, r"row 2, column 'age': \[1\] is not a number"),
        ({"age": float("inf")}, "row 2, column 'age': inf is not a finite number"),
        ({"age": "1e999"}, "row 2, column 'age': '1e999' is not a finite number"),
        ({"age": 10**400}, "row 2, column 'age'"),
        ({"city": True}, "row 2, column 'city': True is not text"),
        ({"city": {"a": 1}}, "row 2, column 'city'"),
        ({"married": "maybe"}, "row 2, column 'married': 'maybe' is neither true nor false"),
        ({"born": "yesterday"}, "row 2, column 'born': 'yesterday' is not a date"),
        ({"born": "2026-02-30"}, "row 2, column 'born'"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_row_and_column(change, message):
    with pytest.raises(ShapeError, match=message):
        decode([ROWS[0], {**ROWS[1], **change}], ALL)


def test_a_missing_column_and_an_unknown_one_are_named():
    with pytest.raises(ShapeError, match="row 2: column 'city' is missing"):
        decode([ROWS[0], {k: v for k, v in ROWS[1].items() if k != "city"}], ALL)
    with pytest.raises(ShapeError, match=r"row 1: the model has no column 'agee'; did you mean 'age'\?"):
        decode([{**ROWS[0], "agee": 1}], ALL)
    with pytest.raises(ShapeError, match="has no column 'Age'"):
        decode({"Age": [1], "city": ["a"]}, (AGE, CITY))
    with pytest.raises(ShapeError, match="column 'city' is missing"):
        decode({"age": [1]}, (AGE, CITY))
    with pytest.raises(ShapeError, match="column 'city' has 2 rows, but 'age' has 1"):
        decode({"age": [1], "city": ["a", "b"]}, (AGE, CITY))


def test_an_infinite_number_in_an_array_is_named():
    with pytest.raises(ShapeError, match="row 3, column 'age': -inf"):
        decode({"age": np.array([1, 2, -np.inf])}, (AGE,))


def test_what_is_no_table_is_refused():
    for rows in (3, "age=3", b"x", object()):
        with pytest.raises(ShapeError, match="rows must be"):
            decode(rows, (AGE,))
    with pytest.raises(ShapeError, match="4 columns"):
        decode(np.zeros((2, 4)), ALL)


def test_categories_that_are_numbers_are_read_as_they_were_written():
    found = decode({"city": [5, 5.0, 5.5, "5", np.int64(7)]}, (CITY,))["city"]
    assert found.tolist() == ["5", "5", "5.5", "5", "7"]


def test_a_model_with_one_tensor_takes_an_array_or_lists():
    spec = TensorSpec("features", "float32", ("batch", 2))
    for rows in (np.ones((3, 2)), [[1, 1]] * 3, {"features": np.ones((3, 2), "f4")}, [{"features": [1, 1]}] * 3):
        found = decode(rows, (spec,))["features"]
        assert (found.dtype, found.tolist()) == (np.float32, [[1, 1]] * 3)
    assert decode([], (spec,))["features"].shape == (0, 2)
    with pytest.raises(ShapeError, match="different lengths"):
        decode([[1, 2], [1]], (spec,))
    with pytest.raises(ShapeError, match="must hold float32"):
        decode([["a", "b"]], (spec,))
    with pytest.raises(ShapeError, match="not finite"):
        decode([[1, np.nan]], (spec,))


def test_pictures_come_as_arrays_as_pillow_images_or_as_files():
    array = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    picture, file = Image.fromarray(array), io.BytesIO()
    picture.save(file, "PNG")
    for value in (array, array.tolist(), picture, file.getvalue()):
        np.testing.assert_array_equal(decode([{"image": value}], (IMAGE,))["image"], array[None])
    np.testing.assert_array_equal(decode({"image": array[None]}, (IMAGE,))["image"], array[None])
    gray = TensorSpec("image", "uint8", ("batch", "height", "width", 1), kind="image")
    assert decode([{"image": picture}, {"image": array[:, :, 0]}], (gray,))["image"].shape == (2, 4, 5, 1)


def test_pictures_of_different_sizes_stay_apart():
    found = decode([{"image": np.zeros((4, 5, 3), np.uint8)}, {"image": np.zeros((6, 5, 3), np.uint8)}], (IMAGE,))
    assert found["image"].dtype == object
    assert [picture.shape for picture in found["image"]] == [(4, 5, 3), (6, 5, 3)]


@pytest.mark.parametrize("wrong", [b"GIF89a....", b"", np.zeros((4, 5, 3)), np.zeros((4, 5, 2), np.uint8), "cat.png"])
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(ShapeError, match="row 1, column 'image'"):
        decode([{"image": wrong}], (IMAGE,))


def test_a_truncated_picture_is_refused():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file, "PNG")
    with pytest.raises(ShapeError, match="is damaged"):
        decode([{"image": file.getvalue()[:-500]}], (IMAGE,))


@pytest.mark.parametrize(
    "text", ["2026-05-03", "2026/05/03", "2026/5/3", "03.05.2026", "3.5.2026", "2026-05-03T00:00Z"]
)
def test_dates_of_several_spellings_are_the_same_day(text):
    assert parse_date(text) == dt.datetime(2026, 5, 3, tzinfo=dt.UTC).timestamp()


def test_times_know_their_zone():
    assert parse_date("2026-05-03T12:30:00+02:00") == dt.datetime(2026, 5, 3, 10, 30, tzinfo=dt.UTC).timestamp()
    assert parse_date("2026-05-03 12:30") == dt.datetime(2026, 5, 3, 12, 30, tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize("text", ["20260503", "2026", "", "03/05/2026", "2026-13-01", "tomorrow", "1.2.3"])
def test_what_could_be_another_day_is_no_date(text):
    with pytest.raises(ValueError):
        parse_date(text)
