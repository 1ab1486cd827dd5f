import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, insert, select

from engram.errors import StoreError
from engram.records import Checkpoint, TrainingState
from engram.store import migrate, objects, tables
from engram.store.catalogs.sqlite import Sqlite
from engram.store.store import open as open_store


def test_the_migrations_lead_to_the_tables(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    with engine.begin() as connection:
        migrate.upgrade(connection, "", "a store")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.METADATA) == []
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one() == tables.HEAD


def test_a_new_catalog_has_the_revision_of_the_last_step(store, network):
    store.keep("income", network())
    steps = Path(migrate.__file__).parent / "migrations" / "versions"
    newest = max(path.stem for path in steps.glob("v*.py"))
    assert newest.startswith(f"v{tables.HEAD}_")
    with sqlite3.connect(store.folder / "catalog.db") as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [(tables.HEAD,)]
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_older_catalog_is_brought_up_when_opened(store, network):
    store.keep("income", network())
    path = store.folder / "catalog.db"
    path.unlink()
    with sqlite3.connect(path) as database:  # the oldest there can be: before the first step
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
    again = open_store(store.folder, who="ada")
    assert again.versions() == []
    assert again.keep("income", network()).number == 1


def test_a_catalog_of_a_newer_engram_is_refused(store, network):
    store.keep("income", network())
    with sqlite3.connect(store.folder / "catalog.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    again = open_store(store.folder, who="ada")
    with pytest.raises(StoreError, match=r"has revision 9999, newer than 0002.*pip install --upgrade engram"):
        again.names()


@pytest.mark.parametrize("content", [b"this is not a database, not at all, and it never was one" * 100, b""])
def test_a_damaged_catalog_is_an_error_in_one_sentence(store, network, content):
    store.keep("income", network())
    for path in store.folder.glob("catalog.db*"):
        path.unlink()
    (store.folder / "catalog.db").write_bytes(content)
    again = open_store(store.folder, who="ada")
    with pytest.raises(
        StoreError, match=r"the catalog .* refuses: (file is not .*|no such .*), so make it anew .*--re"
    ):
        again.names()
    with pytest.raises(StoreError, match=r"engram verify --rebuild"):
        again.keep("income", network(2))
    assert again.rebuild().versions == 1
    assert again.keep("income", network(2)).number == 2


def test_a_store_whose_catalog_is_gone_says_so(store, network):
    store.keep("income", network())
    (store.folder / "catalog.db").unlink()
    with pytest.raises(StoreError, match="there is no catalog at"):
        open_store(store.folder, who="ada").names()


def gone(store):
    for path in store.folder.glob("catalog.db*"):
        path.unlink()


def _kept(store, network, run, checkpoint):
    store.keep("income", network(4))


def _began(store, network, run, checkpoint):
    store.begin(run)


def _pulled(store, network, run, checkpoint):
    other = open_store(store.folder.parent / "other", who="ada")
    other.keep("age", network(5))
    store.pull(other)


def _pushed(store, network, run, checkpoint):
    other = open_store(store.folder.parent / "other", who="ada")
    other.keep("age", network(5))
    other.push(store, ["age:1"], name="income")


def _saved(store, network, run, checkpoint):
    store.save(run.id, checkpoint)


@pytest.mark.parametrize("written", [_kept, _began, _pulled, _pushed, _saved])
def test_a_place_with_versions_and_no_catalog_is_not_given_an_empty_one(store, network, run, written):
    """Numbers would begin with 1 again, and the next sweep would free all that was kept."""
    for seed in range(3):
        store.keep("income", network(seed))
    before = {path.name: path.read_bytes() for path in (store.folder / "blobs" / "sha256").iterdir()}
    gone(store)
    checkpoint = Checkpoint(network(9).weights, TrainingState(step=1))
    again = open_store(store.folder, who="ada")
    with pytest.raises(StoreError, match=r"there is no catalog at .*; .* make it anew .* engram verify --rebuild"):
        written(again, network, run, checkpoint)
    assert not list(store.folder.glob("catalog.db*"))
    assert {path.name: path.read_bytes() for path in (store.folder / "blobs" / "sha256").iterdir()} == before
    assert again.rebuild().versions == 3
    assert again.keep("income", network(7)).number == 4
    assert again.sweep(grace=timedelta(0)).freed == {}
    assert again.verify() == []


def test_a_place_with_the_history_of_an_alias_is_not_given_an_empty_catalog_either(store, network):
    store.keep("income", network())
    store.alias("income@prod", "income:1", why="good")
    gone(store)
    for path in (store.folder / "blobs" / "sha256").iterdir():
        path.unlink()
    with pytest.raises(StoreError, match="there is no catalog at"):
        open_store(store.folder, who="ada").keep("income", network(1))


def test_what_a_killed_first_writer_left_is_no_reason_to_refuse_the_next(store, network):
    store._plain.prepare()
    objects.put(store._plain, {objects.blob(b"half a network"): b"half a network"}, [])
    assert store.keep("income", network()).number == 1


def test_opening_a_store_needs_no_alembic_and_engram_no_database(store, network):
    store.keep("income", network())
    script = (
        "import sys, engram, engram.store; assert 'sqlalchemy' not in sys.modules;"
        f"engram.store.open({str(store.folder)!r}, who='ada').load('income');"
        "heavy = {'alembic', 'torch', 'onnx', 'onnxruntime', 'polars', 'pydantic'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_listing_reads_no_manifest(store, network):
    store.keep("income", network())
    row = {"kept": datetime(2026, 1, 1, tzinfo=UTC), "holds": [], "metrics": {}, "data": "", "parents": [], "facts": {}}
    rows = [
        {"digest": f"sha256:{n:064x}", "name": "many", "number": n, "size": 1, "manifest": 1, **row}
        for n in range(1000)
    ]
    with store._catalog.writing() as connection:
        connection.execute(insert(tables.versions), rows)
    for path in store.folder.glob("blobs/sha256/*"):
        path.unlink()
    assert len(store.versions("many")) == 1000


def test_moments_keep_their_zone_and_their_microseconds(store, network):
    store._clock = lambda: datetime.fromisoformat("2026-05-01T14:00:00.123456+02:00")
    store.keep("income", network())
    assert store.version("income").kept == datetime(2026, 5, 1, 12, 0, 0, 123_456, tzinfo=UTC)
    assert store.version("income").kept.tzinfo is UTC


WRITER = """
import sys
from pathlib import Path
from sqlalchemy import insert
from engram.store import tables
from engram.store.catalogs.sqlite import Sqlite
path, told, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
catalog, number = Sqlite(path), 0
print("ready", flush=True)
while (told / "go on").exists():
    number += 1
    (told / f"{name}-{number}").touch()  # what a rebuild would find, there before the catalog is told
    row = insert(tables.names).prefix_with("OR IGNORE").values(name=f"{name}-{number}", last=1)
    catalog.write(lambda connection: connection.execute(row))
    print(f"{name}-{number}", flush=True)
"""


@pytest.mark.parametrize("damaged", [False, True])
def test_a_catalog_made_anew_beside_writers_has_all_that_they_were_told_is_kept(tmp_path, damaged):
    told = tmp_path / "told"
    told.mkdir()
    (told / "go on").touch()
    catalog = Sqlite(tmp_path / "catalog.db")
    catalog.prepare()
    command = [sys.executable, "-c", WRITER, str(catalog.path), str(told)]
    writers = [
        subprocess.Popen([*command, f"w{n}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(6)
    ]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 6

    def action(connection):
        found = [path.name for path in told.iterdir() if "-" in path.name]
        if found:
            connection.execute(insert(tables.names), [{"name": name, "last": 1} for name in found])
        until = time.monotonic() + 0.3  # as looking at every manifest of a large store takes, and longer
        while time.monotonic() < until:
            list(told.iterdir())

    for _ in range(1 if damaged else 4):
        if damaged:  # in a table that no writer looks at
            with sqlite3.connect(catalog.path) as database:
                database.execute("DROP TABLE condemned")
        catalog.anew(action)
    (told / "go on").unlink()
    ended = [writer.communicate(timeout=60) for writer in writers]
    if not damaged:
        assert [errors for _, errors in ended] == [""] * 6, "they wait, and go on"
    acknowledged = {name for said, _ in ended for name in said.split()}
    with catalog.reading() as connection:
        kept = set(connection.execute(select(tables.names.c.name)).scalars())
    assert acknowledged
    assert acknowledged <= kept
    assert len(list(tmp_path.glob("catalog.db-*.old"))) == (1 if damaged else 4)
    assert not list(tmp_path.glob("*.half*"))


def test_a_store_that_may_only_be_read_is_read(network):
    """By another user, who may not write it: with a log of a writer beside it or without."""
    folder = Path(tempfile.mkdtemp())
    try:
        store = open_store(folder / "engrams", who="ada")
        store.keep("income", network(1))
        other = open_store(folder / "engrams", who="eve")
        assert other.load("income", verify=True).weights  # all that is imported for it
        folder.chmod(0o755)
        assert _as_nobody(folder) == "1"
        for one in (store, other):
            one._catalog._forget()  # the last who closes it takes the log away
        assert not list(folder.rglob("catalog.db-wal"))
        assert _as_nobody(folder) == "1"
        store.keep("income", network(2))
        assert _as_nobody(folder) == "2"
    finally:
        shutil.rmtree(folder)


def _as_nobody(folder):
    """How many versions somebody sees who may only read; what he loads is whole and what he keeps is refused."""
    into, out = os.pipe()
    child = os.fork()
    if not child:
        said = "nothing"
        try:
            if os.getuid() == 0:
                os.setresuid(65534, 65534, 65534)
            else:
                for path in [folder, *folder.rglob("*")]:
                    path.chmod(path.stat().st_mode & ~0o222)
            store = open_store(folder / "engrams", who="eve")
            store.load("income", verify=True)
            said = str(len(store.versions()))
            try:
                store.alias("income@prod", "income:1", why="")
                said += ", and moved an alias"
            except StoreError as refused:
                said += "" if "the right to write" in str(refused) else f", {refused}"
        except BaseException as refused:  # noqa: BLE001 - the parent is told
            said = repr(refused)
        finally:
            os.write(out, said.encode())
            os._exit(0)
    os.waitpid(child, 0)
    os.close(out)
    with os.fdopen(into) as pipe:
        said = pipe.read()
    if os.getuid():
        for path in [folder, *folder.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
    return said
