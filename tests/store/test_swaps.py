"""How a blob is stored changes only where nobody is in the way, and never without a form that can be read."""

import os
import signal
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import insert, select

from engram.errors import StoreError
from engram.records import Checkpoint, TrainingState
from engram.store import leases, manifests, tables
from engram.store.differences import deltas, demotion, swaps
from engram.store.differences.demoted import Difference, differences
from engram.store.differences.swaps import Swap
from engram.store.store import open as open_store
from engram.store.writing import Site

WEIGHTS = "model-00001-of-00001.safetensors"


@pytest.fixture
def blobs(store, run):
    """The digests of the weights of four checkpoints, the oldest first; the last is the newest."""
    numbers = np.random.default_rng(9)
    weight = numbers.standard_normal((100, 50), dtype=np.float32)
    store.begin(replace(run, hold="all"))
    for step in range(1, 5):
        weight = weight + np.float32(1e-5) * numbers.standard_normal(weight.shape, dtype=np.float32)
        store.save(run.id, Checkpoint({"weight": weight}, TrainingState(epoch=step, step=step)))
    held = reversed(store.checkpoints(run.id))
    return [manifests.read(store._place, saved.digest).files[WEIGHTS].digest for saved in held]


def differ(store, digest, base=""):
    """The change that makes a blob a difference; the difference is written already."""
    under = (base, store._place.get(base)) if base else None
    container = deltas.encode(digest, store._place.get(digest), under)
    after = Difference(digest, base, len(container))
    store._place.write(after.name, container)
    return Swap(digest, None, after, container)


def forms(store, digest):
    plain = digest in dict(store._plain.list())
    return plain, [one.base for one in differences(store._plain, digest)]


def row(store, digest):
    with store._catalog.reading() as connection:
        return connection.execute(select(tables.deltas).where(tables.deltas.c.digest == digest)).first()


def test_a_blob_becomes_a_difference_and_plain_again(store, blobs):
    content = store._place.get(blobs[0])
    assert swaps.swap(store._site, [differ(store, blobs[0], blobs[1])])
    assert forms(store, blobs[0]) == (False, [blobs[1]])
    assert (row(store, blobs[0]).base, row(store, blobs[0]).depth) == (blobs[1], 1)
    assert store._place.get(blobs[0]) == content
    assert swaps.swap(store._site, [Swap(blobs[0], blobs[1], None, content)])
    assert forms(store, blobs[0]) == (True, [])
    assert row(store, blobs[0]) is None
    assert store._plain.get(blobs[0]) == content


def test_depths_follow_what_blobs_stand_on(store, blobs):
    first, second, third, newest = blobs
    for digest, base in ((first, second), (second, third), (third, newest)):
        assert swaps.swap(store._site, [differ(store, digest, base)])
    assert [row(store, digest).depth for digest in (first, second, third)] == [3, 2, 1]
    alone = replace(differ(store, second), before=third)
    assert swaps.swap(store._site, [alone])
    assert [row(store, digest).depth for digest in (first, second, third)] == [2, 1, 1]


def test_nobody_may_stand_on_himself(store, blobs):
    first, second, third, _ = blobs
    assert swaps.swap(store._site, [differ(store, first, second)])
    assert swaps.swap(store._site, [differ(store, second, third)])
    assert not swaps.swap(store._site, [differ(store, third, first)])
    with store._catalog.reading() as connection:
        assert not swaps.room(connection, third, first)
        assert not swaps.room(connection, third, third)
        assert swaps.room(connection, third, "")


def test_who_writes_the_blob_is_not_disturbed(store, blobs):
    now = store._now()
    lease, _ = store._catalog.write(lambda connection: leases.take(connection, "somebody", {blobs[0]}, now=now))
    change = differ(store, blobs[0], blobs[1])
    assert not swaps.swap(store._site, [change])
    assert forms(store, blobs[0])[0]
    store._catalog.write(lambda connection: leases.end(connection, lease))
    assert swaps.swap(store._site, [change])


def test_a_writer_waits_until_the_change_is_over(store, blobs):
    """While it lasts the blob is marked as being removed, and nobody gets a lease on it."""
    change = differ(store, blobs[0], blobs[1])
    assert store._catalog.write(lambda connection: swaps._seize(connection, [change], -7, store._now()))

    def take(connection):
        return leases.take(connection, "somebody", {blobs[0]}, now=store._now())

    assert store._catalog.write(take) == (0, {blobs[0]})
    assert not swaps.swap(store._site, [replace(change, before=blobs[1])])
    store._catalog.write(lambda connection: swaps._release(connection, [change], -8, store._now()))
    assert store._catalog.write(take) == (0, {blobs[0]})  # the mark is somebody else's
    store._catalog.write(lambda connection: swaps._release(connection, [change], -7, store._now()))
    assert store._catalog.write(take)[0]


def test_what_is_being_removed_is_not_stood_on(store, blobs):
    change = differ(store, blobs[0], blobs[1])
    going = {"digest": blobs[1], "mark": 0, "since": store._now(), "deleting": True, "owner": ""}
    store._catalog.write(lambda connection: connection.execute(insert(tables.condemned).values(going)))
    assert not swaps.swap(store._site, [change])


def test_what_no_checkpoint_holds_is_not_stood_on(store, blobs):
    change = differ(store, blobs[0], blobs[1])
    store._catalog.write(
        lambda connection: connection.execute(tables.links.delete().where(tables.links.c.blob == blobs[1]))
    )
    assert not swaps.swap(store._site, [change])


def test_what_a_version_holds_does_not_become_a_difference(store, blobs, run, network):
    weights = store.read(store.checkpoints(run.id)[-1]).weights
    store.keep("income", replace(network(), weights=weights))
    assert not swaps.swap(store._site, [differ(store, blobs[0], blobs[1])])
    assert forms(store, blobs[0])[0]


def test_who_knew_another_state_of_it_changes_nothing(store, blobs):
    first, second, third, _ = blobs
    late = differ(store, first, third)
    content = store._place.get(first)
    assert swaps.swap(store._site, [differ(store, first, second)])
    assert not swaps.swap(store._site, [late])
    assert not swaps.swap(store._site, [Swap(first, None, None, content)])
    assert not swaps.swap(store._site, [Swap(first, third, None, content)])
    assert row(store, first).base == second


def test_a_difference_that_was_tidied_away_meanwhile_is_written_again(store, blobs):
    content = store._place.get(blobs[0])
    change = differ(store, blobs[0], blobs[1])
    store._place.remove(change.after.name)
    assert swaps.swap(store._site, [change])
    assert store._place.get(blobs[0]) == content


def test_a_blob_is_not_moved_to_what_was_tidied_away_meanwhile(store, blobs):
    """Its catalog would say that it stands on the third, nothing would hold the second, and only that is there."""
    first, second, third, _ = blobs
    content = store._place.get(first)
    assert swaps.swap(store._site, [differ(store, first, second)])
    late = replace(differ(store, first, third), before=second)
    assert demotion.tidy(store._site) == 1
    assert [one.base for one in differences(store._plain, first)] == [second]
    assert not swaps.swap(store._site, [late])
    assert (row(store, first).base, forms(store, first)) == (second, (False, [second]))
    assert store._place.get(first) == content
    assert swaps.swap(store._site, [replace(differ(store, first, third), before=second)])
    assert (row(store, first).base, forms(store, first)) == (third, (False, [third]))
    assert store._place.get(first) == content


def test_what_a_killed_process_was_changing_may_be_changed(store, blobs):
    first, second, _, _ = blobs
    child = os.fork()
    if child == 0:
        mine = open_store(store.folder, who="eve")
        change = differ(mine, first, second)
        mine._catalog.write(lambda connection: swaps._seize(connection, [change], -7, mine._now()))
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert forms(store, first) == (True, [second])
    assert demotion.tidy(store._site) == 1
    assert forms(store, first) == (False, [second])
    with store._catalog.reading() as connection:
        assert connection.execute(select(tables.condemned)).all() == []


def test_a_plain_blob_that_became_a_difference_meanwhile_is_written_again(store, blobs):
    content = store._place.get(blobs[0])
    assert swaps.swap(store._site, [differ(store, blobs[0], blobs[1])])
    assert forms(store, blobs[0]) == (False, [blobs[1]])
    assert swaps.swap(store._site, [Swap(blobs[0], blobs[1], None, content)])
    assert forms(store, blobs[0]) == (True, [])
    assert store._place.get(blobs[0]) == content


def test_what_nobody_needs_once_a_blob_stands_elsewhere_is_removed(store, blobs, run):
    first, second, third, _ = blobs
    assert swaps.swap(store._site, [differ(store, first, second)])
    store._catalog.write(
        lambda connection: connection.execute(tables.links.delete().where(tables.links.c.blob == second))
    )
    store.sweep(grace=timedelta())
    assert forms(store, second)[0]  # the first still stands on it
    assert swaps.swap(store._site, [replace(differ(store, first, third), before=second)])
    assert forms(store, second) == (False, [])


class Full:
    """A real place on a disk that has no space left."""

    def __init__(self, inner):
        self._inner = inner
        self.url = inner.url

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def put(self, digest, _chunks):
        raise StoreError(f"the store cannot write {digest}: no space left on device; free some space there")


def test_a_disk_that_is_full_leaves_the_blob_and_what_it_stands_on(store, blobs):
    content = store._place.get(blobs[0])
    assert swaps.swap(store._site, [differ(store, blobs[0], blobs[1])])
    with pytest.raises(StoreError, match="no space left"):
        swaps.swap(Site(Full(store._plain), store._catalog, store._now), [Swap(blobs[0], blobs[1], None, content)])
    assert row(store, blobs[0]).base == blobs[1]
    assert store._place.get(blobs[0]) == content
    with store._catalog.reading() as connection:
        assert connection.execute(select(tables.condemned)).all() == []
