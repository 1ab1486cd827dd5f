"""Delta tables: their rows now and at an earlier version, and what is no table."""

import polars as pl
import pytest

from engram.data import parquet
from engram.data._describe import look
from engram.errors import DataError

deltalake = pytest.importorskip("deltalake")


@pytest.fixture
def table(tmp_path):
    place = tmp_path / "sales"
    deltalake.write_deltalake(place, pl.DataFrame({"n": [1, 2, 5], "w": ["a", "b", "a"]}))
    deltalake.write_deltalake(place, pl.DataFrame({"n": [7], "w": ["b"]}), mode="append")
    deltalake.write_deltalake(place, pl.DataFrame({"n": [9, 8], "w": ["a", "b"]}), mode="overwrite")
    return place


def test_rows_are_those_of_the_version_and_not_of_all_files(table):
    assert not parquet.recognizes(str(table))
    assert sorted(look(str(table)).parts["all"].column("n")) == [8, 9]
    assert sorted(look(str(table), options={"version": 1}).parts["all"].column("n")) == [1, 2, 5, 7]
    assert "read at version 2" in look(str(table)).notes[0]


def test_the_digest_is_of_the_rows(table):
    before = look(str(table)).digest
    deltalake.DeltaTable(table).optimize.compact()
    assert look(str(table)).digest == before


def test_what_is_no_table_or_no_version_is_a_sentence(table):
    with pytest.raises(DataError, match="cannot be read as a Delta table"):
        look(str(table), options={"version": 77})
    for file in table.glob("*.parquet"):
        file.unlink()
    with pytest.raises(DataError, match="cannot be read as a Delta table"):
        look(str(table))
    for file in (table / "_delta_log").glob("*.json"):
        file.write_text("{")
    with pytest.raises(DataError, match=r"Delta table"):
        look(str(table))
