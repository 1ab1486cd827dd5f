"""The journal of an object store: what it writes is bounded, and half of anything is never taken for the whole."""

import gzip
import itertools
import json
import logging
import shutil
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from engram.errors import StoreError
from engram.store import catalogs, places, tables
from engram.store.catalogs import _changes, _front, _snapshots
from engram.store.catalogs._contract import Site
from engram.store.catalogs.journal import _state

PAGE = 25_000_000  # bytes that a page may have, unpacked


@pytest.fixture
def site(tmp_path):
    place = places.open(str(tmp_path / "bucket"))
    place.prepare()
    return Site(place, tmp_path / "here")


@pytest.fixture
def machine(site, tmp_path):
    """The catalog as another machine sees it."""
    return lambda name="here": catalogs.SHELF.take("journal").open(Site(site.place, tmp_path / name))


def names(catalog):
    with catalog.reading() as connection:
        return sorted(connection.execute(select(tables.names.c.name)).scalars())


def grow(catalog, first, count, stem="n"):
    """So many transactions, each of a name."""
    for n in range(first, first + count):
        catalog.write(
            lambda connection, n=n: connection.execute(insert(tables.names).values(name=f"{stem}{n}", last=n))
        )


def many(catalog, count=1_500, width=8_000):
    """So many rows of about so many bytes in one transaction."""
    row = {"origin": "", "target": f"sha256:{'0' * 64}", "kind": "move", "who": "ada", "why": "w" * width}
    row |= {"name": "income", "moved": datetime(2026, 5, 1, tzinfo=UTC)}
    rows = [{**row, "alias": f"a{n}"} for n in range(count)]
    catalog.write(lambda connection: connection.execute(insert(tables.moves), rows))


def snapshot(site, catalog):
    """A snapshot of what the journal came to."""
    with catalog.reading() as connection, catalog._cache.reading() as rows:
        _snapshots.write(site.place, rows, _state(connection))


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A journal of 199 transactions with a snapshot, to be copied."""
    root = tmp_path_factory.mktemp("grown")
    place = places.open(str(root / "bucket"))
    place.prepare()
    site = Site(place, root / "here")
    catalog = catalogs.SHELF.take("journal").open(site)
    catalog.prepare()
    grow(catalog, 0, 199)
    snapshot(site, catalog)
    return root


@pytest.fixture
def again(grown, site):
    """A copy of it in the test's own bucket; the names that it comes to."""
    shutil.copytree(grown / "bucket", site.place.root, dirs_exist_ok=True)
    return sorted(f"n{n}" for n in range(199))


def peak():
    """The most memory that this process had since it was last asked, in bytes."""
    said = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return 1024 * int(said.partition("VmHWM:")[2].split()[0])


def moves(catalog):
    with catalog.reading() as connection:
        return len(connection.execute(select(tables.moves.c.id)).all())


def test_a_snapshot_of_any_size_is_pages_of_bounded_size(site, machine, again):
    here = machine()
    here.prepare()
    many(here)
    pages = [name for name in site.place.documents("snapshots/000000000200-") if "/page-" in name]
    assert len(pages) >= 3
    assert all(len(gzip.decompress(site.place.document(name))) < PAGE for name in pages)
    for n in range(2, 200):  # what the snapshot says need not be read again
        site.place.remove(f"journal/{n:012d}.json")
    there = machine("there")
    assert (names(there), moves(there)) == (again, 1_500)


def test_a_snapshot_is_written_after_every_two_hundred_transactions(site, machine, again):
    here = machine()
    site.place.write("snapshots/000000000150-0123456789abcdef/page-000001.json.gz", b"half")
    site.place.write("snapshots/000000000100.json.gz", b"old")
    site.place.write("snapshots/readme", b"of somebody")
    grow(here, 199, 202)
    held = [name.split("/")[1][:12] for name in site.place.documents("snapshots/") if name.endswith("head.json")]
    assert held == ["000000000200", "000000000400"]
    left = {name for name in site.place.documents("snapshots/") if not name.startswith("snapshots/000000000")}
    assert left == {"snapshots/readme"}, "older ones and halves go, and what is none stays"
    assert not site.place.documents("snapshots/0000000001")


def test_a_transaction_of_any_size_is_pages_too(site, machine):
    here = machine()
    here.prepare()
    many(here)
    assert len(site.place.document("journal/000000000001.json")) < 10_000
    assert len(site.place.documents("transactions/000000000001-")) >= 3
    assert moves(machine("there")) == 1_500


def test_pages_of_a_transaction_that_was_not_the_first_are_taken_back(site, machine):
    here, there = machine(), machine("there")
    here.prepare()
    create, turns = site.place.create, []

    def late(name, content):
        if not turns:
            turns.append(name)
            site.place.create = create
            grow(there, 1, 1)
        return create(name, content)

    site.place.create = late
    many(here)
    assert {name.split("/")[1][:12] for name in site.place.documents("transactions/")} == {"000000000002"}
    assert (names(here), moves(machine("elsewhere"))) == (["n1"], 1_500)


def test_pages_that_are_gone_or_were_changed_are_named(site, machine):
    here = machine()
    here.prepare()
    many(here)
    page = site.place.documents("transactions/")[1]
    content = site.place.document(page)
    site.place.write(page, gzip.compress(gzip.decompress(content).replace(b"ada", b"eve")))
    with pytest.raises(StoreError, match=r"/000000000001-.*page-000002\.json\.gz.* is not what was written"):
        names(machine("there"))
    site.place.remove(page)
    with pytest.raises(StoreError, match=r"cannot read .*page-000002\.json\.gz"):
        names(machine("elsewhere"))


def spoiled(place, how):
    """What may have become of the snapshot of a writer who died, or in the hands of a stranger."""
    head = next(name for name in place.documents("snapshots/") if name.endswith("head.json"))
    page = head.replace("head.json", "page-000001.json.gz")
    if how == "no head":
        place.remove(head)
    if how == "a page is gone":
        place.remove(page)
    if how == "a page is another":
        place.write(page, gzip.compress(b'{"revision":"0002","changes":[["put","names",{"name":"x","last":1}]]}'))
    if how == "a head is torn":
        place.write(head, place.document(head)[:-7])
    if how == "of another journal":
        found = json.loads(place.document(head))
        place.write(head, json.dumps({**found, "since": f"sha256:{'1' * 64}"}, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "how", ["no head", "a page is gone", "a page is another", "a head is torn", "of another journal"]
)
def test_half_a_snapshot_is_never_believed(site, machine, again, how, caplog):
    spoiled(site.place, how)
    with caplog.at_level(logging.WARNING):
        assert names(machine("there")) == again
    assert ("a snapshot is passed over" in caplog.text) == (how != "no head")


def single(here):
    """The one document that older Engrams wrote."""
    with here.reading() as connection:
        changes = [json.loads(change) for change in _changes.every(connection)]
    whole = json.dumps({"revision": "0002", "changes": changes, "token": "0123456789abcdef"}, separators=(",", ":"))
    return gzip.compress(whole.encode(), 1, mtime=0)


def test_a_snapshot_in_one_document_is_still_read(site, machine, again):
    whole = single(machine())
    for name in [*site.place.documents("snapshots/"), *site.place.documents("journal/")[1:198]]:
        site.place.remove(name)
    site.place.write("snapshots/000000000199.json.gz", whole)
    assert names(machine("there")) == again


def packed(*parts):
    """A document of parts, each so many times."""
    packed = BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        for part, count in parts:
            file.write(part * count)
    return packed.getvalue()


BEGINNING = (b'{"revision":"0002","changes":[["put","names",{"name":"', 1)
BOMBS = {
    "a text without an end": (BEGINNING, (b"a" * 1_000_000, 300)),
    "spaces without an end": (BEGINNING, (b'"},', 1), (b" " * 1_000_000, 300)),
    "lists in lists": ((b'{"revision":"0002","changes":[', 1), (b"[" * 1_000_000, 20)),
    "objects without an end": ((b'{"revision":"0002","changes":[[', 1), (b"{}," * 300_000, 6)),
    "a column in a row": ((b'{"revision":"0002","changes":[["put","names",{"name":{},"last":1}]]}', 1),),
    "a column twice": ((b'{"revision":"0002","changes":[["put","names",{"last":2,"last":1}]]}', 1),),
    "a number beyond all": (
        (b'{"revision":"0002","changes":[["put","names",{"name":"x","last":1%s}]]}' % (b"0" * 99), 1),
    ),
    "half a character": ((b'{"revision":"0002","changes":[["put","names",{"name":"\\ud800","last":1}]]}', 1),),
    "something behind": ((b'{"revision":"0002","changes":[]}{"revision":"0002","changes":[]}', 1),),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_in_a_journal_is_refused_in_little_memory(site, machine, kind):
    catalog = machine()
    assert names(catalog) == []
    site.place.create("journal/000000000001.json", packed(*BOMBS[kind]))
    before = peak() and peak()
    with pytest.raises(StoreError, match=r"is not part of a journal|to what no row can hold"):
        names(catalog)
    assert peak() - before < 512_000_000


def test_two_documents_packed_together_are_not_one(site, machine):
    part = packed((b'{"revision":"0002","changes":[]}', 1))
    site.place.create("journal/000000000001.json", part + part)
    with pytest.raises(StoreError, match="something follows"):
        names(machine())
    assert list(_front.decode(part, "it")) == []
    for cut in range(1, len(part)):
        with pytest.raises(StoreError):
            list(_front.decode(part[:-cut], "it"))


def test_a_document_too_large_to_be_one_is_not_read(site, machine):
    path = site.place.root / "journal" / "000000000001.json"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(300_000_000)
    with pytest.raises(StoreError, match=r"has 300,000,000 bytes, more than the 256,000,000 that are read"):
        names(machine())


def test_a_row_too_large_to_be_read_back_is_not_written(site, machine):
    here = machine()
    here.prepare()
    with pytest.raises(StoreError, match=r"more than the 16,000,000 that a journal takes; keep less"):
        many(here, 1, 17_000_000)
    assert (site.place.documents("journal/"), moves(here)) == ([], 0)


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
def test_a_document_is_read_alike_however_it_is_cut(size, site):
    changes = [["put", "names", {"name": f'é"\\n{n}', "last": n}] for n in range(3)] + [
        ["drop", "names", {"name": "é"}]
    ]
    whole = json.dumps(
        {"revision": "0002", "changes": changes, "token": "0f"}, separators=(",", ":"), ensure_ascii=False
    )
    texts = (whole[start : start + size] for start in range(0, len(whole), size))
    read = _front._scanned(_front._Front(texts), "it")
    assert [list(change) for change in read] == changes


def test_snapshots_cost_every_change_the_same_share():
    numbers = [number for number in range(1, 1_000_000) if _snapshots.due(number)]
    assert numbers[0] == 200
    apart = [(after, after - before) for before, after in itertools.pairwise(numbers)]
    assert all(200 <= gap <= max(200, after / 15) for after, gap in apart)
    assert sum(numbers) < 40 * numbers[-1]  # rows written for a million transactions of a row each


def test_a_snapshot_passes_through_little_memory(site, machine, again):
    here, there = machine(), machine("there")
    for catalog in (here, there):
        catalog.prepare()
    many(here, 1_000, 60_000)  # 60 MB of JSON
    here.write(lambda connection: connection.execute(insert(tables.names).values(name="n199", last=1)))
    before = peak() and peak()
    snapshot(site, here)
    for n in range(2, 201):
        site.place.remove(f"journal/{n:012d}.json")
    assert moves(there) == 1_000
    assert peak() - before < 45_000_000


def test_a_snapshot_that_the_server_refuses_costs_nobody_a_transaction(site, machine, again, caplog):
    here = machine()
    write = site.place.write

    def refused(name, content):
        if name.endswith("head.json"):
            raise StoreError("the server is full")
        write(name, content)

    site.place.write = refused
    with caplog.at_level(logging.WARNING):
        grow(here, 199, 2)
    assert "a snapshot was not written" in caplog.text
    site.place.write = write
    assert len(names(machine("there"))) == 201
