"""Queries of DuckDB: files by their names, other sources too, and what it refuses."""

import polars as pl
import pytest

from engram.data import duckdb
from engram.data._describe import look
from engram.errors import DataError, UsageError

pytest.importorskip("duckdb")


@pytest.fixture
def places(tmp_path):
    (tmp_path / "people.csv").write_text("id,city\n" + "".join(f"{i},{'uvw'[i % 3]}\n" for i in range(12)))
    orders = pl.DataFrame({"person": [i % 12 for i in range(60)], "amount": [i / 4 for i in range(60)]})
    orders.write_parquet(tmp_path / "orders-2024.parquet")
    pl.DataFrame({"city": ["u", "v", "w"], "size": [3, 1, 2]}).write_ndjson(tmp_path / "cities.jsonl")
    return tuple(str(tmp_path / name) for name in ("people.csv", "orders-2024.parquet", "cities.jsonl"))


QUERY = (
    "SELECT city, size, sum(amount) AS total FROM orders_2024 JOIN people ON person = id JOIN cities USING (city)"
    " GROUP BY city, size ORDER BY city"
)


def test_files_of_several_kinds_are_joined_by_their_names(places):
    part = look(places, kind="duckdb", options={"query": QUERY}).parts["all"]
    assert part.column("city").tolist() == ["u", "v", "w"]
    assert part.column("size").tolist() == [3, 1, 2]
    expected = [sum(i / 4 for i in range(60) if (i % 12) % 3 == k) for k in range(3)]
    assert part.column("total").tolist() == expected


def test_another_source_is_a_table_too():
    pytest.importorskip("sklearn")
    dataset = look(
        "sklearn:iris",
        kind="duckdb",
        options={"tables": ["iris"], "query": "SELECT species, count(*) AS n FROM iris GROUP BY 1 ORDER BY 1"},
    )
    assert dataset.parts["all"].column("n").tolist() == [50, 50, 50]


def test_folders_of_parquet_keep_their_keys(tmp_path):
    for year in (2023, 2024):
        (tmp_path / "sales" / f"year={year}").mkdir(parents=True)
        pl.DataFrame({"n": [1, 2]}).write_parquet(tmp_path / "sales" / f"year={year}" / "0.parquet")
    query = "SELECT year, sum(n) AS n FROM sales GROUP BY year ORDER BY year"
    assert look(str(tmp_path / "sales"), kind="duckdb", options={"query": query}).parts["all"].column(
        "year"
    ).tolist() == [
        2023,
        2024,
    ]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("SELECT * FROM order_2024", r"the query is refused .* the tables are people, orders_2024, cities"),
        ("SELEC", "the query is refused"),
        ("CREATE TABLE x (a INT)", "the query has 0 rows"),
        ("SELECT * FROM people WHERE id > 99", "the query has 0 rows"),
    ],
)
def test_what_duckdb_refuses_is_a_sentence(places, query, wrong):
    with pytest.raises(DataError, match=wrong):
        look(places, kind="duckdb", options={"query": query})


def test_without_a_query_or_with_too_few_names_it_is_refused(places):
    with pytest.raises(UsageError, match=r"say query in .* over people, orders_2024, cities"):
        duckdb.open(places)
    with pytest.raises(UsageError, match="name each of 3 places once"):
        look(places, kind="duckdb", options={"query": QUERY, "tables": ["a", "a", "b"]})
