"""The promises of every kind of place, those on the shelf now and those to come."""

import hashlib
import os
import time

import pytest

from engram.errors import StoreError
from engram.store import places


def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture(params=places.SHELF.names())
def place(request, tmp_path):
    made = places.SHELF.take(request.param).open(str(tmp_path / "place"))
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
    assert place.range(name, 255, 258) == b"\xff\x00\x01"
    assert place.range(name, len(content) - 1, len(content) + 10) == b"\xff"
    assert place.has(name, len(content))
    assert not place.has(name, len(content) + 1)
    assert list(place.list()) == [name]


def test_an_empty_blob_comes_back(place):
    name = put(place, b"")
    assert (place.get(name), bytes(place.map(name)[:]), place.range(name, 0, 9)) == (b"", b"", b"")


def test_a_blob_written_in_pieces_is_one(place):
    place.put(digest(b"abcdef"), [memoryview(b"abc"), memoryview(b""), memoryview(b"def")])
    assert place.get(digest(b"abcdef")) == b"abcdef"


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


def test_a_writer_that_fails_leaves_nothing(place, tmp_path):
    def broken():
        yield memoryview(b"abc")
        raise KeyboardInterrupt

    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        place.put(digest(b"abcdef"), broken())
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["sha256:../../outside", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:abc", ""])
def test_what_is_no_digest_leads_nowhere(place, name):
    for do in (place.get, place.delete, lambda digest: place.put(digest, [memoryview(b"x")])):
        with pytest.raises(StoreError, match="is not a digest"):
            do(name)


def test_looking_at_a_place_makes_nothing(tmp_path):
    for name in places.SHELF.names():
        place = places.SHELF.take(name).open(str(tmp_path / "nowhere"))
        assert not place.exists()
        assert list(place.list()) == []
        assert not place.has(digest(b"x"), 1)
    assert list(tmp_path.iterdir()) == []


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
