"""The promises of every kind of place, those on the shelf now and those to come.

A kind that lives on a server names the fixture of a real one in ``SERVERS``; any other is given a folder.
"""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from engram.errors import StoreError
from engram.store import places

SERVERS = {"s3": "moto", "gs": "google", "az": "azurite"}


def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture(params=places.SHELF.names())
def url(request, tmp_path, bucket):
    """Where nothing was ever kept."""
    server = SERVERS.get(request.param)
    return f"{bucket(server)}/some/networks" if server else str(tmp_path / "place")


@pytest.fixture
def seen(request, tmp_path, url):
    """Everything that is there, seen by other eyes than the place's own."""

    def look():
        scheme, divided, rest = url.partition("://")
        if not divided:
            return sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
        server = request.getfixturevalue(SERVERS[scheme])
        return [*server.names(rest.partition("/")[0]), *server.unfinished(rest.partition("/")[0])]

    return look


@pytest.fixture
def place(url):
    made = places.open(url)
    made.prepare()
    return made


def put(place, content):
    place.put(digest(content), [memoryview(content)])
    place.settle()
    return digest(content)


def test_a_blob_comes_back(place):
    content = bytes(range(256)) * 300
    name = put(place, content)
    assert place.get(name) == content
    assert bytes(place.map(name)[:]) == content
    assert b"".join(place.pieces(name)) == content
    assert place.range(name, 255, 258) == b"\xff\x00\x01"
    assert place.range(name, len(content) - 1, len(content) + 10) == b"\xff"
    assert place.range(name, len(content), len(content) + 10) == b""
    assert place.range(name, len(content) + 5, len(content) + 10) == b""
    assert place.range(name, 7, 7) == b""
    assert list(place.list()) == [(name, len(content))]


def test_an_empty_blob_comes_back(place):
    name = put(place, b"")
    assert (place.get(name), bytes(place.map(name)[:]), place.range(name, 0, 9)) == (b"", b"", b"")
    assert b"".join(place.pieces(name)) == b""
    assert place.missing({name: 0}) == set()


@pytest.mark.parametrize("size", [(8 << 20) - 1, 8 << 20, (8 << 20) + 1, 20_000_003])
def test_a_large_blob_comes_back_in_every_part(place, seen, size):
    content = np.random.default_rng(size).bytes(size)
    name = digest(content)
    place.put(name, (memoryview(content)[start : start + 3_000_001] for start in range(0, size, 3_000_001)))
    place.settle()
    assert place.get(name) == content
    assert bytes(place.map(name)[:]) == content
    assert place.range(name, 5, size - 5) == content[5:-5]
    assert place.missing({name: size}) == set()
    assert sum(name.removeprefix("sha256:") in path for path in seen()) == 1


def test_a_blob_written_in_pieces_is_one(place):
    place.put(digest(b"abcdef"), [memoryview(b"abc"), memoryview(b""), memoryview(b"def")])
    assert place.get(digest(b"abcdef")) == b"abcdef"


def test_a_blob_may_be_written_from_an_array_of_any_type(place):
    array = np.arange(1000, dtype=np.float64)
    place.put(digest(array.tobytes()), [memoryview(array)])
    assert place.get(digest(array.tobytes())) == array.tobytes()


def test_what_is_missing_is_what_is_not_there_in_full(place):
    there = {put(place, content): len(content) for content in (b"a", b"bc", b"def")}
    absent = {digest(str(number).encode()): 1 for number in range(40)}
    assert place.missing(there) == set()
    assert place.missing(there | absent) == set(absent)
    assert place.missing({name: size + 1 for name, size in there.items()}) == set(there)
    assert place.missing({}) == set()


def test_a_deleted_blob_is_gone_and_says_what_it_freed(place):
    name = put(place, b"abc")
    assert (place.delete(name), place.delete(name)) == (3, 0)
    assert list(place.list()) == []
    for look in (place.get, place.map, lambda digest: place.range(digest, 0, 1)):
        with pytest.raises(StoreError, match="cannot read"):
            look(name)


def test_a_mapped_blob_outlives_its_deletion(place):
    name = put(place, b"abc")
    content = place.map(name)
    place.delete(name)
    assert bytes(content[:]) == b"abc"


@pytest.mark.parametrize("size", [3, 12 << 20])
def test_a_writer_that_fails_leaves_nothing(place, seen, size):
    def broken():
        for _ in range(3):
            yield memoryview(bytes(size))
        raise KeyboardInterrupt

    before = seen()
    with pytest.raises(KeyboardInterrupt):
        place.put(digest(bytes(4 * size)), broken())
    assert seen() == before


@pytest.mark.parametrize("name", ["sha256:../../outside", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:abc", ""])
def test_what_is_no_digest_leads_nowhere(place, name):
    for do in (place.get, place.delete, lambda digest: place.put(digest, [memoryview(b"x")])):
        with pytest.raises(StoreError, match="is not a digest"):
            do(name)
    with pytest.raises(StoreError, match="is not a digest"):
        place.missing({name: 1})


def test_looking_at_a_place_makes_nothing(url, seen):
    place = places.open(url)
    before = seen()
    assert not place.exists()
    assert list(place.list()) == []
    assert place.missing({digest(b"x"): 1}) == {digest(b"x")}
    assert place.documents("history/") == []
    assert seen() == before


def test_a_place_exists_when_it_was_prepared(url):
    places.open(url).prepare()
    places.open(url).prepare()
    assert places.open(url).exists()
    assert places.open(url).document("oci-layout") == b'{"imageLayoutVersion":"1.0.0"}'


def test_preparing_a_place_again_changes_no_document(url):
    places.open(url).prepare()
    places.open(url).write("index.json", b'{"manifests":["one"]}')
    places.open(url).prepare()
    assert places.open(url).document("index.json") == b'{"manifests":["one"]}'


def test_a_document_is_replaced(place):
    place.write("deltas/abc.json", b"one")
    place.write("deltas/abc.json", b"two")
    assert place.document("deltas/abc.json") == b"two"
    place.remove("deltas/abc.json")
    place.remove("deltas/abc.json")
    with pytest.raises(StoreError, match=r"cannot read .*deltas/abc\.json"):
        place.document("deltas/abc.json")


def test_a_document_that_is_too_large_is_not_read(place):
    place.write("deltas/abc.json", b"four")
    assert place.document("deltas/abc.json", most=4) == b"four"
    with pytest.raises(StoreError, match=r"has 4 bytes, more than the 3 that are read"):
        place.document("deltas/abc.json", most=3)


def test_documents_are_listed_by_their_beginning(place):
    names = ["history/0.json", "history/1.json", "history/10.json", "history/more/2.json", "histories", "deltas/0"]
    for name in names:
        place.write(name, name.encode())
    put(place, b"a blob is no document")
    assert place.documents("history/") == ["history/0.json", "history/1.json", "history/10.json", "history/more/2.json"]
    assert place.documents("history/1") == ["history/1.json", "history/10.json"]
    assert place.documents("history/10.json") == ["history/10.json"]
    assert place.documents("history/11.json") == []
    assert place.documents("histor") == ["histories", *place.documents("history/")]
    assert place.documents("nothing/") == []


def test_more_documents_than_a_page_holds_are_all_listed(place, request):
    names = [f"history/{number:04d}" for number in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: place.write(name, b""), names))
    assert place.documents("history/") == names
    assert place.documents("history/10") == names[1000:]


def test_a_document_is_created_once(place):
    assert place.create("history/1", b"mine")
    assert not place.create("history/1", b"yours")
    assert place.document("history/1") == b"mine"
    assert place.documents("history/") == ["history/1"]


def test_one_of_many_creators_of_a_document_is_first(url, place):
    def race(number):
        mine = places.open(url)
        return [mine.create(f"history/{turn}", f"{number}".encode()) for turn in range(5)]

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(race, range(8)))
    for turn in range(5):
        winners = [number for number, won in enumerate(outcomes) if won[turn]]
        assert [f"{number}".encode() for number in winners] == [place.document(f"history/{turn}")]


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a//b", "a/../b", ".hidden", "History/1", "a/"])
def test_what_is_no_name_of_a_document_leads_nowhere(place, name):
    for do in (place.document, place.remove, lambda name: place.write(name, b""), lambda name: place.create(name, b"")):
        with pytest.raises(StoreError, match="cannot be the name of a document"):
            do(name)


def test_what_a_killed_writer_left_is_removed_a_day_later(tmp_path):
    folder = tmp_path / "place"
    places.SHELF.take("folder").open(str(folder)).prepare()
    old, young = folder / "incoming" / "old", folder / "incoming" / "young"
    for path in (old, young):
        path.write_bytes(b"half a blob")
    yesterday = time.time() - 90_000
    os.utime(old, (yesterday, yesterday))
    places.SHELF.take("folder").open(str(folder)).prepare()
    assert (old.exists(), young.exists()) == (False, True)
