"""Parquet: types are believed, folders are read with their keys, and what is wrong is named."""

import datetime as dt
import hashlib

import numpy as np
import polars as pl
import pytest

from engram.data import parquet
from engram.data._describe import look
from engram.errors import DataError, UsageError

ROWS = 40


@pytest.fixture
def typed():
    moments = [dt.datetime(2024, 3, 1, tzinfo=dt.UTC) + dt.timedelta(hours=i * i) for i in range(ROWS)]
    return pl.DataFrame(
        {
            "whole": [None if i == 3 else i * 7 % 13 for i in range(ROWS)],
            "amount": [i / 4 for i in range(ROWS)],
            "moment": moments,
            "local": pl.Series(moments).dt.convert_time_zone("Asia/Kathmandu"),
            "day": [moment.date() for moment in moments],
            "flag": [i % 3 == 0 for i in range(ROWS)],
            "word": pl.Series(["ab"[i % 2] for i in range(ROWS)], dtype=pl.Categorical),
            "code": [f"{i % 4:03}" for i in range(ROWS)],
            "price": pl.Series([f"{i % 7}.25" for i in range(ROWS)]).cast(pl.Decimal(10, 2)),
            "tags": [[1, i] for i in range(ROWS)],
            "blob": [bytes([i]) for i in range(ROWS)],
            "inner": [{"x": i % 5, "deep": {"y": "uvw"[i % 3]}} for i in range(ROWS)],
        }
    )


def kinds(dataset):
    return {column.name: column.kind for column in dataset.columns}


def test_a_type_of_the_file_is_the_kind_of_the_column(typed, tmp_path):
    typed.write_parquet(tmp_path / "t.parquet")
    dataset = look(str(tmp_path / "t.parquet"))
    assert kinds(dataset) == {
        "whole": "number",
        "amount": "number",
        "moment": "date",
        "local": "date",
        "day": "date",
        "flag": "boolean",
        "word": "category",
        "code": "category",
        "price": "number",
        "tags": "ignore",
        "blob": "ignore",
        "inner.x": "number",
        "inner.deep.y": "category",
    }
    taken = dataset.parts["all"].take(np.array([2, 3]))
    assert taken["whole"][0] == 1
    assert np.isnan(taken["whole"][1])
    assert dataset.column("whole").missing == 1
    assert taken["price"].tolist() == [2.25, 3.25]
    expected = dt.datetime(2024, 3, 1, 4, tzinfo=dt.UTC).timestamp()
    assert taken["moment"][0] == taken["local"][0] == expected
    assert taken["day"][0] == dt.datetime(2024, 3, 1, tzinfo=dt.UTC).timestamp()


def test_the_digest_is_that_of_the_file(typed, tmp_path):
    path = tmp_path / "t.parquet"
    typed.write_parquet(path)
    assert look(str(path)).digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_whole_numbers_said_to_be_a_category_are_written_without_a_point(tmp_path):
    pl.DataFrame({"n": [1.0, 2.0, None], "m": [1.5, 2.0, 3.0]}).write_parquet(tmp_path / "t.parquet")
    columns, part = look(str(tmp_path / "t.parquet")).parts["all"].converted({"n": "category", "m": "category"}, "said")
    assert columns["n"].missing == 1
    assert part.column("n").tolist() == ["1", "2", ""]
    assert part.column("m").tolist() == ["1.5", "2.0", "3.0"]


def test_a_number_that_means_a_gap_is_a_gap(tmp_path):
    pl.DataFrame({"n": [1, -999, 3, 4], "m": [1.0, -999.0, 2.0, 5.0]}).write_parquet(tmp_path / "t.parquet")
    dataset = look(str(tmp_path / "t.parquet"), options={"missing": ["-999"]})
    assert dataset.column("n").missing == 1
    assert dataset.column("m").missing == 1


def test_folders_called_by_key_and_value_are_columns(tmp_path):
    for year in (2023, 2024):
        for place in ("a%20b", "__HIVE_DEFAULT_PARTITION__"):
            folder = tmp_path / "sales" / f"year={year}" / f"place={place}"
            folder.mkdir(parents=True)
            pl.DataFrame({"n": [year, year + 1]}).write_parquet(folder / "part-0.parquet")
    (tmp_path / "sales" / "_SUCCESS").touch()
    dataset = look(str(tmp_path / "sales"))
    assert len(dataset.parts["all"]) == 8
    assert set(dataset.parts["all"].column("year")) == {2023.0, 2024.0}
    assert set(look(str(tmp_path / "sales")).parts["all"].converted({"place": "category"}, "")[1].column("place")) == {
        "a b",
        "",
    }


def test_files_with_other_columns_are_refused(tmp_path):
    pl.DataFrame({"a": [1], "b": [1]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"a": [1], "c": [1]}).write_parquet(tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"2\.parquet has other columns than 1\.parquet \(b, c\)"):
        look([str(tmp_path / "1.parquet"), str(tmp_path / "2.parquet")])


def test_whole_numbers_here_and_fractions_there_are_numbers(tmp_path):
    pl.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"a": [0.5, 4.0]}).write_parquet(tmp_path / "2.parquet")
    dataset = look([str(tmp_path / "1.parquet"), str(tmp_path / "2.parquet")])
    assert dataset.parts["all"].column("a").tolist() == [1, 2, 0.5, 4]


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b[:4] + bytes(200) + b[204:], lambda b: b[:4]]
)
def test_a_damaged_file_is_a_sentence(typed, tmp_path, damage):
    path = tmp_path / "t.parquet"
    typed.write_parquet(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"t\.parquet cannot be read as Parquet"):
        look(str(path))


def test_a_table_without_rows_is_refused(tmp_path):
    pl.DataFrame({"a": []}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="has 0 rows of 1 columns"):
        look(str(tmp_path / "t.parquet"))


def test_names_are_refused(tmp_path):
    with pytest.raises(UsageError, match="leave names out"):
        parquet.open((str(tmp_path),), ("a",))


def test_an_infinite_value_is_said(tmp_path):
    pl.DataFrame({"a": [1.0, float("inf"), 3.0]}).write_parquet(tmp_path / "t.parquet")
    fault = look(str(tmp_path / "t.parquet")).parts["all"].faults["a"]
    assert "an infinite value (row 2)" in fault
