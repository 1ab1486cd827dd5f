"""What every kind of catalog must do: one suite of promises over all that can be had here."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from secrets import token_hex

import numpy as np
import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.engine import make_url

from engram.errors import StoreError, UsageError
from engram.records import Model
from engram.store import catalogs, places, tables
from engram.store.catalogs import _urls
from engram.store.catalogs._contract import Site
from engram.store.moves import log
from engram.store.store import Store
from engram.store.store import open as open_store

KINDS = catalogs.SHELF.names()


@pytest.fixture
def opener(tmp_path, request) -> Callable[..., Store]:
    """Open one and the same store as another machine would, with a kind of catalog."""

    def make(kind: str, machine: str = "here") -> Store:
        if kind == "sqlite":
            return open_store(tmp_path / "engrams", who="ada")
        if kind == "postgresql":
            if not urls:
                urls.append(request.getfixturevalue("postgres").database(f"test_{token_hex(6)}"))
            return open_store(tmp_path / "engrams", who="ada", catalog=urls[0])
        if not urls:
            urls.append(f"{request.getfixturevalue('bucket')('moto')}/engrams")
        return open_store(urls[0], who="ada", cache=tmp_path / machine)

    urls: list[str] = []
    return make


@pytest.fixture
def small() -> Callable[[int], Model]:
    """A network of one weight."""
    from engram.records import Signature

    return lambda seed: Model(b"graph", {"weight": np.full(3, seed, np.float32)}, Signature((), ()))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_is_known_to_everybody(opener, small, kind):
    first = opener(kind)
    kept = [first.keep("income", small(n)) for n in range(3)]
    first.alias("income@prod", "income:2", why="better")
    other = opener(kind, "there")
    assert [v.digest for v in other.versions("income")] == [v.digest for v in reversed(kept)]
    assert other.load("income@prod").weights["weight"].tolist() == [1, 1, 1]
    assert other.keep("income", small(9)).number == 4
    assert first.version("income").number == 4
    assert first.verify() == other.verify() == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_action_that_raises_changes_nothing(opener, small, kind):
    store = opener(kind)
    store.keep("income", small(0))

    def action(connection):
        connection.execute(insert(tables.names).values(name="other", last=7))
        raise UsageError("no")

    with pytest.raises(UsageError, match=r"^no$"):
        store._catalog.write(action)
    with opener(kind, "there")._catalog.reading() as connection:
        assert connection.execute(select(tables.names.c.name)).scalars().all() == ["income"]


@pytest.mark.parametrize("kind", KINDS)
def test_writers_on_many_machines_lose_nothing(opener, small, kind):
    stores = [opener(kind, f"machine{n}") for n in range(4)]
    stores[0].keep("income", small(0))

    def work(n: int) -> list[int]:
        return [stores[n].keep("income", small(10 * n + turn + 1)).number for turn in range(3)]

    with ThreadPoolExecutor(4) as pool:
        numbers = [number for made in pool.map(work, range(4)) for number in made]
    assert sorted(numbers) == list(range(2, 14))
    fresh = opener(kind, "fresh")
    assert len(fresh.versions("income")) == 13
    assert fresh.verify() == []


@pytest.mark.parametrize("kind", KINDS)
def test_two_machines_move_an_alias_and_the_log_has_both_moves(opener, small, kind):
    first, second = opener(kind), opener(kind, "there")
    for n in range(2):
        first.keep("income", small(n))
    first.alias("income@prod", "income:1", why="first")
    second.alias("income@prod", "income:2", why="second")
    moves = opener(kind, "elsewhere").history("income@prod")
    assert [(move.why, move.origin) for move in moves] == [("second", first.version("income:1").digest), ("first", "")]


@pytest.mark.parametrize("kind", KINDS)
def test_documents_of_moves_say_what_the_catalog_says_however_many_moved_at_once(opener, small, kind):
    stores = [opener(kind, f"machine{n}") for n in range(4)]
    for n in range(2):
        stores[0].keep("income", small(n))

    def work(n: int) -> None:
        for turn in range(4):
            stores[n].alias("income@prod", f"income:{turn % 2 + 1}", why=f"{n} {turn}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    fresh = opener(kind, "fresh")
    moves = fresh.history("income@prod")[::-1]
    assert len({move.why for move in moves}) == len(moves) == 16
    assert [move.origin for move in moves] == ["", *(move.target for move in moves[:-1])]
    assert log.read(fresh._plain) == moves


@pytest.mark.parametrize("kind", KINDS)
def test_a_catalog_is_made_anew_from_what_the_place_holds(opener, small, kind):
    store = opener(kind)
    kept = [store.keep("income", small(n), data="sha256:d", facts={"n": n}) for n in range(3)]
    store.alias("income@prod", "income:2", why="better")
    made = store.rebuild()
    assert (made.versions, made.moves, made.passed) == (3, 1, ())
    other = opener(kind, "there")
    assert other.versions("income") == list(reversed(kept))
    assert [move.why for move in other.history("income@prod")] == ["better"]
    assert other.keep("income", small(4)).number == 4
    assert other.verify() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_catalog_that_is_gone_is_not_begun_anew_by_who_keeps_something(opener, small, kind):
    store = opener(kind)
    store.keep("income", small(0))
    if kind == "postgresql":
        store._catalog.write(
            lambda connection: connection.execute(text(f'DROP SCHEMA "{store._catalog._schema}" CASCADE'))
        )
    for name in store._plain.documents("journal/"):
        store._plain.remove(name)
    for path in store.folder.glob("catalog.db*"):
        path.unlink()
    again = opener(kind, "there")
    for verb in (again.versions, lambda: again.keep("income", small(1))):
        with pytest.raises(StoreError, match=r"there is no catalog at .*engram verify --rebuild"):
            verb()
    assert again.rebuild().versions == 1
    assert again.keep("income", small(1)).number == 2


def test_a_store_remembers_its_database(opener, small, tmp_path):
    opener("postgresql").keep("income", small(0))
    again = open_store(tmp_path / "engrams", who="eve")
    assert again.version("income").number == 1
    assert not (tmp_path / "engrams" / "catalog.db").exists()
    assert "secret" not in (tmp_path / "engrams" / "catalog.json").read_text()


def test_whoever_connects_to_the_database_of_a_store_says_how(opener, small, tmp_path):
    opener("postgresql").keep("income", small(0))
    noted = json.loads((tmp_path / "engrams" / "catalog.json").read_text())["url"]
    mine = make_url(noted).set(drivername="postgresql+psycopg").update_query_dict({"application_name": "eve"})
    again = open_store(tmp_path / "engrams", who="eve", catalog=mine.render_as_string(hide_password=False))
    assert again.version("income").number == 1
    assert again._catalog._url.query["application_name"] == "eve"


def test_the_catalog_that_a_store_has_goes_before_the_one_that_is_wanted(opener, small, tmp_path):
    elsewhere = "postgresql://eve:secret@elsewhere.invalid/db"
    opener("postgresql").keep("income", small(0))
    assert open_store(tmp_path / "engrams", who="eve", catalog=elsewhere).names() == ["income"]
    other = open_store(tmp_path / "other", who="ada")
    other.keep("rent", small(0))
    assert open_store(tmp_path / "other", who="eve", catalog=elsewhere).names() == ["rent"]
    assert not (tmp_path / "other" / "catalog.json").exists()


def test_a_database_that_has_moved_is_told_where_that_is_written(opener, small, tmp_path):
    opener("postgresql").keep("income", small(0))
    note = tmp_path / "engrams" / "catalog.json"
    said = json.loads(note.read_text())
    note.write_text(json.dumps({**said, "url": "postgresql://ada@127.0.0.1:1/gone"}))
    again = open_store(tmp_path / "engrams", who="eve", catalog="postgresql://eve@127.0.0.1:2/new")
    again._catalog._patience = 0.0
    sentence = (
        r"gone refuses: .*catalog\.json of .*engrams says that it is there; write its new URL there if it has moved"
    )
    with pytest.raises(StoreError, match=sentence):
        again.names()
    note.write_text(json.dumps(said))
    assert open_store(tmp_path / "engrams", who="eve").names() == ["income"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("postgresql://ada@db/nets", "postgresql://eve:secret@db:5432/nets?sslmode=require", True),
        ("postgres://db/nets", "postgresql+psycopg://DB/nets", True),
        ("postgresql:///nets?host=/run/a", "postgresql:///nets?host=/run/b", False),
        ("postgresql://db/nets", "postgresql://db/others", False),
        ("postgresql://db/nets", "postgresql://db:5433/nets", False),
        ("postgresql://db/nets", "", False),
        ("postgresql://db/nets", "rubbish", False),
    ],
)
def test_urls_of_the_same_database_are_known_to_be_that(one, other, same):
    assert _urls.same(one, other) == _urls.same(other, one) == same


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:se%40cret@db/nets",
        "postgresql://ada@db/nets?password=secret&sslmode=require",
        "postgresql://:secret@db/nets?sslpassword=secret",
        "postgresql://ada:secret@db:port/nets",
    ],
)
def test_no_secret_of_a_url_is_written_down(url):
    assert "cret" not in _urls.bare(url)
    assert "db" in _urls.bare(url)


def test_two_stores_share_a_database(postgres, tmp_path, small):
    url = postgres.database(f"shared_{token_hex(6)}")
    first = open_store(tmp_path / "first", who="ada", catalog=url)
    second = open_store(tmp_path / "second", who="ada", catalog=url)
    first.keep("income", small(1))
    second.keep("rent", small(2))
    assert (first.names(), second.names()) == (["income"], ["rent"])


def test_a_database_that_is_not_there_is_an_error_in_one_sentence(tmp_path, small):
    store = open_store(tmp_path / "engrams", who="ada", catalog="postgresql://nobody@127.0.0.1:1/none")
    store._catalog._patience = 0.0
    with pytest.raises(StoreError, match=r"the catalog postgresql://nobody@127.0.0.1:1/none refuses: .*try again"):
        store.keep("income", small(0))


def test_what_is_no_url_of_a_database_is_refused_without_its_password(tmp_path):
    url = "postgresql://ada:secret@db:port/nets"
    with pytest.raises(UsageError, match=r"is not the URL of a database; write postgresql://USER@HOST") as refused:
        open_store(tmp_path / "engrams", who="ada", catalog=url)
    assert "secret" not in str(refused.value)


@contextmanager
def journal_on(folder) -> Iterator[Site]:
    place = places.open(str(folder / "bucket"))
    place.prepare()
    yield Site(place, folder / "cache")


def test_a_journal_that_others_write_wrongly_is_refused(tmp_path):
    with journal_on(tmp_path) as site:
        site.place.create("journal/000000000001.json", b'{"revision":"0002","changes":[["put","sqlite_master",{}]]}')
        catalog = catalogs.SHELF.take("journal").open(site)
        with pytest.raises(StoreError, match="changes 'sqlite_master'"), catalog.reading():
            pass


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"revision":"0002","changes":[["run","names",{}]]}', b"\x1f\x8b\x08\x00rubbish"]
)
def test_what_is_no_part_of_a_journal_is_refused(tmp_path, content):
    with journal_on(tmp_path) as site:
        site.place.create("journal/000000000001.json", content)
        catalog = catalogs.SHELF.take("journal").open(site)
        with pytest.raises(StoreError, match="is not part of a journal"), catalog.reading():
            pass


def test_a_gap_in_a_journal_is_noticed(tmp_path):
    with journal_on(tmp_path) as site:
        catalog = catalogs.SHELF.take("journal").open(site)
        catalog.prepare()
        for n in range(3):
            catalog.write(lambda connection, n=n: connection.execute(insert(tables.names).values(name=f"n{n}", last=n)))
        site.place.remove("journal/000000000002.json")
        fresh = catalogs.SHELF.take("journal").open(Site(site.place, tmp_path / "fresh"))
        with pytest.raises(StoreError, match=r"journal/000000000002\.json is missing"), fresh.reading():
            pass


def test_another_place_of_the_same_name_is_not_taken_for_the_one_remembered(tmp_path):
    with journal_on(tmp_path) as site:
        catalog = catalogs.SHELF.take("journal").open(site)
        catalog.prepare()
        catalog.write(lambda connection: connection.execute(insert(tables.names).values(name="old", last=1)))
        site.place.remove("journal/000000000001.json")
        other = catalogs.SHELF.take("journal").open(site)
        with other.reading() as connection:
            assert connection.execute(select(tables.names)).all() == []


def test_an_answer_that_was_lost_is_not_taken_for_a_refusal(tmp_path):
    """The server made the document and the answer got lost: the client's second try finds that it is there."""
    with journal_on(tmp_path) as site:
        catalog = catalogs.SHELF.take("journal").open(site)
        catalog.prepare()
        create = site.place.create
        site.place.create = lambda name, content: create(name, content) and create(name, content)
        catalog.write(lambda connection: connection.execute(insert(tables.names).values(name="once", last=1)))
        assert site.place.documents("journal/") == ["journal/000000000001.json"]
        with catalog.reading() as connection:
            assert connection.execute(select(tables.names.c.name)).scalars().all() == ["once"]


def test_a_database_that_stops_and_starts_under_load_loses_nothing(tmp_path, small):
    from servers.postgresql import postgresql

    with postgresql() as server:
        url = server.database("interrupted")
        stores = [open_store(tmp_path / "engrams", who="ada", catalog=url) for _ in range(3)]
        stores[0].keep("income", small(0))
        going = threading.Event()
        going.set()
        acknowledged: list[str] = []

        def work(n: int) -> None:
            turn = 0
            while going.is_set():
                turn += 1
                acknowledged.append(stores[n].keep("income", small(1000 * n + turn)).digest)

        with ThreadPoolExecutor(3) as pool:
            done = [pool.submit(work, n) for n in range(3)]
            try:
                for how in ("immediate", "fast", "immediate"):
                    before = len(acknowledged)
                    server.stop(how)
                    server.start()
                    while len(acknowledged) < before + 4 and not any(future.done() for future in done):
                        time.sleep(0.01)
            finally:
                going.clear()
            for future in done:
                future.result()
        fresh = open_store(tmp_path / "engrams", who="ada")
        kept = [version.digest for version in fresh.versions("income")]
        assert set(acknowledged) <= set(kept)
        assert len(kept) == len(set(kept)) == len(acknowledged) + 1  # none twice, and none that nobody was told of
        assert fresh.verify() == []
