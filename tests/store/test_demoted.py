"""A place that stores blobs as differences reads as if it did not."""

import hashlib
import itertools
import threading

import numpy as np
import pytest

from engram.errors import StoreError
from engram.store.differences import deltas
from engram.store.differences.demoted import Difference, differences, over
from engram.store.places import folder
from engram.store.weights import tensors

NOTHING = "sha256:" + "0" * 64


def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def plain(tmp_path):
    place = folder.open(str(tmp_path / "engrams"))
    place.prepare()
    return place


@pytest.fixture
def place(plain):
    return over(plain)


@pytest.fixture
def chain():
    """Blobs of which each is the one before, moved a little."""

    def make(length):
        numbers = np.random.default_rng(8)
        array, made = numbers.standard_normal(5_000, dtype=np.float32), []
        for _ in range(length):
            (shard,) = tensors.plan({"weight": array}, "weights")
            made.append(b"".join(shard.chunks()))
            array = array + np.float32(1e-6) * numbers.standard_normal(5_000, dtype=np.float32)
        return made

    return make


def put(place, content):
    place.put(digest(content), [memoryview(content)])
    place.settle()


def differ(place, content, base=None):
    under = None if base is None else (digest(base), base)
    container = deltas.encode(digest(content), content, under)
    made = Difference(digest(content), deltas.header(container, "it").base, len(container))
    place.write(made.name, container)
    return made


def test_a_difference_is_named_after_all_that_is_known_of_it(place, chain):
    old, new = chain(2)
    made = differ(place, old, new)
    assert made.name == f"deltas/{digest(old)[7:10]}/{digest(old)[7:]}-{digest(new)[7:]}-{made.size}"
    alone = differ(place, new)
    assert alone.name == f"deltas/{digest(new)[7:10]}/{digest(new)[7:]}-none-{alone.size}"
    assert sorted(differences(place), key=str) == sorted([made, alone], key=str)
    assert differences(place, digest(new)) == [alone]


def test_other_documents_are_not_taken_for_differences(place):
    one = "a" * 64
    named = (f"deltas/aaa/{one}", f"deltas/aaa/{one}-{'b' * 63}-5", f"deltas/bbb/{one}-none-5", f"deltas/{one}-none-5")
    for name in ("deltas/readme", *named, "history/income/prod"):
        place.write(name, b"something else")
    assert differences(place) == []


def test_a_blob_that_is_only_a_difference_reads_like_any_other(place, plain, chain):
    old, new = chain(2)
    put(place, new)
    made = differ(place, old, new)
    assert place.get(digest(old)) == old
    assert bytes(place.map(digest(old))) == old
    assert place.range(digest(old), 100, 300) == old[100:300]
    assert place.range(digest(old), 300, 400) == old[300:400]
    assert place.missing({digest(old): len(old), digest(new): len(new), NOTHING: 5}) == {NOTHING}
    assert plain.missing({digest(old): len(old)}) == {digest(old)}
    assert dict(place.list()) == {digest(old): made.size, digest(new): len(new)}


def test_whoever_knows_what_is_a_difference_saves_looking_and_is_not_taken_at_his_word(plain, chain):
    first, second, third = chain(3)
    asked = []

    def known(digests):
        asked.append(set(digests))
        return {digest(first), digest(second)} & set(digests)

    place = over(plain, known)
    assert place.missing({}) == set()
    put(place, third)
    assert place.missing({digest(third): len(third)}) == set()
    assert asked == []
    differ(place, first)
    wanted = {digest(first): len(first), digest(second): len(second), digest(third): len(third), NOTHING: 5}
    assert place.missing(wanted) == {digest(second), NOTHING}
    assert asked == [{digest(first), digest(second), NOTHING}]


def test_a_blob_that_is_there_plain_is_read_in_place_whatever_its_difference_says(place, chain):
    old, new = chain(2)
    put(place, old)
    made = differ(place, old, new)  # which cannot be read: there is no base
    place.write(made.name, b"damage")
    assert place.get(digest(old)) == old
    assert place.range(digest(old), 5, 9) == old[5:9]
    assert dict(place.list()) == {digest(old): len(old)}


def test_removing_a_blob_removes_every_form_of_it_and_counts_them(place, plain, chain):
    old, new, newest = chain(3)
    put(place, old)
    first, second = differ(place, old, new), differ(place, old, newest)
    put(place, new)
    assert place.range(digest(old), 0, 8) == old[:8]
    assert place.delete(digest(old)) == len(old) + first.size + second.size
    assert differences(plain) == []
    assert place.delete(digest(old)) == 0
    for read in (place.get, place.map, lambda wanted: place.range(wanted, 0, 8)):
        with pytest.raises(StoreError):
            read(digest(old))


def test_a_part_that_was_looked_into_is_forgotten_with_its_blob(place, chain):
    old, new = chain(2)
    put(place, new)
    differ(place, old, new)
    assert place.range(digest(old), 0, 8) == old[:8]
    place.delete(digest(old))
    with pytest.raises(StoreError):
        place.range(digest(old), 0, 8)


def test_what_is_not_there_in_any_form_is_refused_as_the_place_refuses_it(place, plain):
    with pytest.raises(StoreError) as expected:
        plain.get(NOTHING)
    with pytest.raises(StoreError) as found:
        place.get(NOTHING)
    assert str(found.value) == str(expected.value)


def test_a_chain_is_put_together_from_its_end(place, chain):
    blobs = chain(9)
    put(place, blobs[8])
    for old, new in itertools.pairwise(blobs):
        differ(place, old, new)
    for content in blobs:
        assert place.get(digest(content)) == content


def test_a_chain_longer_than_any_store_makes_is_refused(place, chain):
    blobs = chain(20)
    put(place, blobs[-1])
    for old, new in itertools.pairwise(blobs):
        differ(place, old, new)
    with pytest.raises(StoreError, match="stands on what cannot be read, or on itself"):
        place.get(digest(blobs[0]))


def test_blobs_that_stand_on_each_other_are_refused_and_not_followed_for_ever(place, chain):
    blobs = chain(6)
    for old in blobs:
        for new in blobs:
            if old != new:
                differ(place, old, new)
    with pytest.raises(StoreError, match="cannot be read"):
        place.get(digest(blobs[0]))


def test_one_readable_difference_among_others_will_do(place, chain):
    old, new, newest, gone = chain(4)
    put(place, newest)
    for base in (new, gone, newest):
        differ(place, old, base)
    broken = differ(place, old)
    place.write(broken.name, b"damage")
    assert place.get(digest(old)) == old


def test_a_damaged_base_is_named(place, plain, chain):
    old, new = chain(2)
    put(place, new)
    differ(place, old, new)
    path = plain.root / "blobs" / "sha256" / digest(new)[7:]
    path.write_bytes(new[:-4] + b"ruin")
    with pytest.raises(StoreError, match=digest(new)):
        place.get(digest(old))


def test_a_difference_under_the_name_of_another_blob_is_refused(place, chain):
    old, new, newest = chain(3)
    put(place, newest)
    honest = differ(place, old, newest)
    false = Difference(digest(new), honest.base, honest.size)
    place.write(false.name, place.document(honest.name))
    with pytest.raises(StoreError, match=f"it holds {digest(old)}"):
        place.get(digest(new))


def test_a_reader_never_notices_that_a_blob_passes_from_one_form_to_another(place, plain, chain):
    old, new = chain(2)
    put(place, new)
    put(place, old)
    over_now, wrong = threading.Event(), []

    def read():
        while not over_now.is_set():
            try:
                if place.get(digest(old)) != old or bytes(place.map(digest(old))) != old:
                    wrong.append("other bytes")
            except StoreError as refused:
                wrong.append(str(refused))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(60):
        made = differ(place, old, new)
        plain.delete(digest(old))
        put(place, old)
        place.remove(made.name)
    over_now.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_many_parts_wanted_at_once_are_right(place, chain):
    old, new = chain(2)
    put(place, new)
    differ(place, old, new)
    found = {}
    spans = [(start, start + 100) for start in range(0, 16_000, 1_000)]
    workers = [
        threading.Thread(target=lambda span=span: found.__setitem__(span, place.range(digest(old), *span)))
        for span in spans
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == {span: old[slice(*span)] for span in spans}
