"""What every plug-in of the shelf keeps, present and future, shown on a place each of them can open."""

import sqlite3
from dataclasses import fields, is_dataclass

import numpy as np
import polars as pl
import pytest
from PIL import Image

from engram.data import SHELF
from engram.errors import EngramError
from engram.records import Dataset
from engram.records.dataset import KINDS


def _csv(folder):
    (folder / "t.csv").write_text("a,b\n" + "".join(f"{i * i % 17},{'xyz'[i % 3]}\n" for i in range(30)))
    return str(folder / "t.csv")


def _delta(folder):
    pytest.importorskip("deltalake").write_deltalake(folder / "delta", pl.DataFrame(TABLE))
    return str(folder / "delta")


def _duckdb(folder):
    pytest.importorskip("duckdb")
    pl.DataFrame(TABLE).write_parquet(folder / "d.parquet")
    return str(folder / "d.parquet")


def _images(folder):
    for label in ("cat", "dog"):
        (folder / "pets" / label).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((2, 2), 40 * i, dtype=np.uint8)).save(folder / "pets" / label / f"{i}.png")
    return str(folder / "pets")


def _jsonl(folder):
    pl.DataFrame(TABLE).write_ndjson(folder / "t.jsonl")
    return str(folder / "t.jsonl")


def _parquet(folder):
    pl.DataFrame(TABLE).write_parquet(folder / "t.parquet")
    return str(folder / "t.parquet")


def _sklearn(_folder):
    pytest.importorskip("sklearn")
    return "sklearn:iris"


def _sql(folder):
    with sqlite3.connect(folder / "t.db") as base:
        base.execute("CREATE TABLE t (a INTEGER, b TEXT)")
        base.executemany("INSERT INTO t VALUES (?, ?)", list(zip(*TABLE.values(), strict=True)))
    base.close()
    return f"sqlite:///{folder / 't.db'}#t"


def _text(folder):
    for label in ("ham", "spam"):
        (folder / "mails" / label).mkdir(parents=True)
        for i in range(3):
            (folder / "mails" / label / f"{i}.txt").write_text(f"{label} number {i}")
    return str(folder / "mails")


def _timeseries(folder):
    rows = "".join(f"2024-01-01T{i:02}:00,{i * i % 7}\n" for i in range(24))
    (folder / "s.csv").write_text(f"at,y\n{rows}")
    return str(folder / "s.csv")


TABLE = {"a": [i * i % 17 for i in range(30)], "b": ["xyz"[i % 3] for i in range(30)]}
PLACES = {
    "csv": _csv,
    "delta": _delta,
    "duckdb": _duckdb,
    "images": _images,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "sklearn": _sklearn,
    "sql": _sql,
    "text": _text,
    "timeseries": _timeseries,
}


@pytest.fixture
def place(tmp_path, request):
    """A place that the plug-in of this name opens; a new plug-in adds its own above."""

    def made(name):
        if name == "stream":
            return request.getfixturevalue("nats")([{"a": a, "b": b} for a, b in zip(*TABLE.values(), strict=True)])
        if name == "http":
            pytest.importorskip("httpx")
            return request.getfixturevalue("web")(
                lambda _: [{"a": a, "b": b} for a, b in zip(*TABLE.values(), strict=True)]
            )
        if name not in PLACES:
            pytest.fail(f"say here what {name} can open")
        return PLACES[name](tmp_path)

    return made


@pytest.fixture(params=SHELF.names())
def opened(request, place):
    module = SHELF.take(request.param)
    return module, place(request.param)


def options(module):
    """What the plug-in cannot do without."""
    needed = {"timeseries": {"target": "y"}, "duckdb": {"query": "SELECT * FROM d"}, "stream": {"seconds": 0.3}}
    return module.Options(**needed.get(module.__name__.rpartition(".")[2], {}))


def test_its_options_have_defaults(opened):
    module, _ = opened
    assert is_dataclass(module.Options)
    assert all(f.name in module.Options.__doc__ for f in fields(module.Options))
    module.Options()


def test_it_recognizes_its_own_place_and_nobody_elses(opened, place):
    module, where = opened
    others = [other for other in SHELF.names() if SHELF.take(other) is not module]
    assert module.recognizes(where) is not getattr(module, "BY_NAME", False)
    if getattr(module, "BY_NAME", False):
        return
    assert not any(SHELF.take(other).recognizes(where) for other in others)


def test_it_gives_a_dataset_that_keeps_what_its_record_says(opened):
    module, where = opened
    dataset = module.open((where,), (), options(module))
    assert isinstance(dataset, Dataset)
    assert dataset.digest.startswith("sha256:")
    assert len(dataset.digest) == 71
    part = dataset.parts["all"]
    rows = np.array([2, 0, 2])
    taken = part.take(rows)
    for column in dataset.columns:
        assert column.kind in (*KINDS, "ignore")
        assert column.reason
        values = taken[column.name]
        assert len(values) == 3
        if column.kind in {"number", "boolean", "date"}:
            assert values.dtype == np.float64
        if column.kind in {"category", "text"}:
            assert all(isinstance(value, str) for value in values)
        np.testing.assert_array_equal(values[0], values[2])


def test_the_same_place_gives_the_same_digest(opened):
    module, where = opened
    assert module.open((where,), (), options(module)).digest == module.open((where,), (), options(module)).digest


def test_what_is_not_there_is_no_traceback(opened):
    module, where = opened
    assert not module.recognizes("/nowhere/at/all")
    with pytest.raises((EngramError, FileNotFoundError)):
        module.open((where + "-not",), (), options(module))
