"""Databases: a table or a query with its types, the password from the environment, and refusals in sentences."""

import datetime as dt
import sqlite3

import numpy as np
import pytest

from engram.data import sql
from engram.data._describe import look
from engram.errors import DataError, MissingLibrary, UsageError


@pytest.fixture
def shop(tmp_path):
    with sqlite3.connect(tmp_path / "shop.db") as base:
        base.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY, amount REAL, paid BOOLEAN, day DATE, city TEXT)")
        rows = [
            (i, i * 1.5 if i % 5 else None, i % 2, f"2024-01-{i % 28 + 1:02}", "uvw"[i % 3]) for i in range(50, 0, -1)
        ]
        base.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", rows)
    base.close()
    return f"sqlite:///{tmp_path / 'shop.db'}"


def test_a_table_comes_with_its_types_in_the_order_of_its_key(shop):
    dataset = look(shop, options={"table": "orders"})
    kinds = {c.name: c.kind for c in dataset.columns}
    assert kinds == {"number": "ignore", "amount": "number", "paid": "boolean", "day": "date", "city": "category"}
    part = dataset.parts["all"]
    assert part.column("number").tolist() == list(range(1, 51))
    assert np.isnan(part.column("amount")[4])
    assert part.column("day")[0] == dt.datetime(2024, 1, 2, tzinfo=dt.UTC).timestamp()


def test_a_query_gives_what_it_selects(shop):
    selected = "SELECT city, sum(amount) AS total, ':x' AS word FROM orders"
    query = f"{selected} WHERE city LIKE '%v%' OR city = 'u' GROUP BY city ORDER BY city"
    part = look(shop, options={"query": query}).parts["all"]
    assert part.column("city").tolist() == ["u", "v"]
    amounts = {c: sum(i * 1.5 for i in range(1, 51) if i % 5 and "uvw"[i % 3] == c) for c in "uv"}
    assert part.column("total").tolist() == list(amounts.values())
    assert part.column("word").tolist() == [":x", ":x"]


def test_the_digest_is_of_the_rows(shop, tmp_path):
    before = look(shop, options={"table": "orders"}).digest
    assert look(f"{shop}#orders").digest == before
    with sqlite3.connect(tmp_path / "shop.db") as base:
        base.execute("CREATE TABLE other (x)")
    assert look(f"{shop}#orders").digest == before
    with sqlite3.connect(tmp_path / "shop.db") as base:
        base.execute("UPDATE orders SET amount = 1 WHERE number = 7")
    base.close()
    assert look(f"{shop}#orders").digest != before


def test_rows_of_many_pieces_keep_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(sql, "_CHUNK", 7)
    with sqlite3.connect(tmp_path / "x.db") as base:
        base.execute("CREATE TABLE t (a, b)")
        base.executemany(
            "INSERT INTO t VALUES (?, ?)", [(None if i < 10 else i, i if i != 33 else "odd") for i in range(60)]
        )
    base.close()
    dataset = look(f"sqlite:///{tmp_path / 'x.db'}#t")
    assert dataset.column("a").missing == 10
    assert dataset.parts["all"].column("a")[-1] == 59
    assert "(row 34: 'odd')" in dataset.parts["all"].faults["b"]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"table": "order"}, "has no table 'order'; did you mean 'orders'"),
        ({"query": "SELECT * FROM gone"}, "there is no such table"),
        ({"query": "DELETE FROM orders"}, "would write"),
        ({"query": "SELEC 1"}, "it is refused"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, "two columns called 'a'"),
        ({"query": "SELECT * FROM orders WHERE number > 99"}, "the query has 0 rows"),
    ],
)
def test_what_the_database_refuses_is_a_sentence(shop, options, wrong):
    with pytest.raises(DataError, match=wrong):
        look(shop, options=options)
    assert len(look(f"{shop}#orders").parts["all"]) == 50


def test_neither_table_nor_query_and_both_are_refused(shop):
    with pytest.raises(UsageError, match="there are orders"):
        look(shop)
    with pytest.raises(UsageError, match="both table and query"):
        look(shop, options={"table": "orders", "query": "SELECT 1"})


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        look(f"sqlite:///{tmp_path / 'none.db'}#t")
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_is_no_database_is_a_sentence(tmp_path):
    (tmp_path / "x.db").write_bytes(b"hello " * 300)
    with pytest.raises(DataError, match="damaged, or no database"):
        look(f"sqlite:///{tmp_path / 'x.db'}#t")


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@h/d", "mysql+pymysql://u@h/d?password=hunter2"])
def test_a_password_in_the_url_is_refused_and_not_repeated(url):
    with pytest.raises(UsageError, match="ENGRAM_DATA_PASSWORD") as refused:
        look(url, options={"table": "t"})
    assert "hunter2" not in str(refused.value)


def test_a_password_in_the_place_of_its_variable_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="name of an environment variable") as refused:
        look("postgresql://u@h/d", options={"table": "t", "password": "hunter2"})
    assert "hunter2" not in str(refused.value)


def test_a_driver_that_is_not_installed_is_named():
    with pytest.raises(MissingLibrary, match="pip install"):
        look("oracle+oracledb://u@h/d", options={"table": "t"})


def test_a_server_that_is_not_there_is_a_sentence():
    with pytest.raises(DataError, match="the server cannot be reached"):
        look("postgresql://u@127.0.0.1:9/d", options={"table": "t"})


def test_postgresql_gives_its_types_and_refuses_in_sentences(postgres, monkeypatch):
    import psycopg

    url = postgres.database("sources")
    with psycopg.connect(url, autocommit=True) as base:
        base.execute(
            "CREATE TABLE sale (at timestamptz PRIMARY KEY, price numeric(8,2), tags text[], ok bool, note jsonb,"
            " u uuid)"
        )
        base.execute(
            "INSERT INTO sale SELECT timestamptz '2024-05-01 00:00+02' + i * interval '1 hour', i / 4.0, ARRAY['a'],"
            " i % 2 = 0, '{\"k\": 1}', gen_random_uuid() FROM generate_series(0, 39) i"
        )
        base.execute("CREATE SEQUENCE counter")
        base.execute("CREATE ROLE reader LOGIN PASSWORD 'right'")
    dataset = look(f"{url}#sale")
    assert {c.name: c.kind for c in dataset.columns} == {
        "at": "date",
        "price": "number",
        "tags": "ignore",
        "ok": "boolean",
        "note": "ignore",
        "u": "ignore",
    }
    assert dataset.parts["all"].column("at")[0] == dt.datetime(2024, 4, 30, 22, tzinfo=dt.UTC).timestamp()
    assert dataset.parts["all"].column("price")[5] == 1.25
    with pytest.raises(DataError, match="would write"):
        look(url, options={"query": "SELECT nextval('counter')"})
    with pytest.raises(DataError, match="the login is refused"):
        look(url.replace("postgres@", "nobody_here@"), options={"table": "sale"})
    with pytest.raises(DataError, match="no such database"):
        look(url.replace("/sources", "/elsewhere"), options={"table": "sale"})
    monkeypatch.setenv("WAREHOUSE", "right")
    with pytest.raises(DataError, match="permission denied"):
        look(url.replace("postgres@", "reader@"), options={"query": "SELECT * FROM sale", "password": "WAREHOUSE"})
