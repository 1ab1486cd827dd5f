"""From one store to another: everything, once, whole, and going on where it stopped."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from engram.errors import Interrupted, StoreError, UsageError, VersionNotFound
from engram.records import Checkpoint, TrainingState
from engram.store import manifests, objects
from engram.store.places.folder import Folder
from engram.store.store import Store
from engram.store.store import open as open_store


@pytest.fixture
def other(tmp_path, clock) -> Store:
    """Another store, empty."""
    return open_store(tmp_path / "other", who="eve", clock=clock)


def test_a_version_arrives_with_its_digest_its_number_and_everything_in_it(store, other, network):
    store.keep("income", network(1))
    kept = store.keep(
        "income", network(2), state=TrainingState(step=3, slots={"exp_avg/w": np.ones(3)}), lock="a = 1\n"
    )
    moved = store.push(other, ["income"])
    assert moved.versions == ("income:2",)
    assert other.versions() == [kept]
    assert other.verify() == []
    assert other.text("income", "lock") == "a = 1\n"
    np.testing.assert_array_equal(other.state("income").slots["exp_avg/w"], np.ones(3))
    for name, array in network(2).weights.items():
        np.testing.assert_array_equal(other.load("income").weights[name], array)
    assert other.keep("income", network(3)).number == 3


def test_only_what_is_missing_is_moved(store, other, network):
    store.keep("income", network(1))
    first = store.push(other)
    store.keep("income", replace(network(1), graph=b"another graph"))
    second = store.push(other)
    assert first.size > 1_000_000
    assert second.size < 10_000
    third = store.push(other)
    assert (third.blobs, third.size) == (0, 0)


def test_everything_goes_over_with_runs_checkpoints_and_aliases(store, other, network, run):
    store.keep("income", network(1))
    store.keep("rent", network(2))
    store.alias("income@prod", "income:1", why="first")
    store.begin(run)
    for step in (5, 6, 7):
        store.save("income-1", Checkpoint(network(step).weights, TrainingState(step=step)), best=step == 5)
    moved = store.push(other)
    assert (moved.versions, moved.checkpoints, moved.aliases) == (("income:1", "rent:1"), 3, 1)
    assert other.history("income@prod") == store.history("income@prod")
    assert other.load("income@prod").parameters == network(1).parameters
    assert other.checkpoints("income-1") == store.checkpoints("income-1")
    assert other.run("income-1").status == "stopped"
    assert (other.run("income-1").step, other.run("income-1").lock) == (7, "[lock]\n")
    assert other.last("income-1").state.step == 7
    assert other.verify() == []


def test_what_goes_there_and_back_is_the_same(store, other, network, tmp_path, clock):
    store.keep("income", network(1))
    store.push(other)
    third = open_store(tmp_path / "third", who="joe", clock=clock)
    third.pull(other)
    assert third.versions() == store.versions()
    assert third.pull(store).blobs == 0


def test_another_version_of_the_same_number_is_not_overwritten(store, other, network):
    store.keep("income", network(1))
    theirs = other.keep("income", network(2))
    with pytest.raises(UsageError, match=r"income:1 is another version in .*other.*--as income"):
        store.push(other, ["income"])
    assert other.versions() == [theirs]
    moved = store.push(other, ["income"], name="income")
    assert moved.versions == ("income:2",)
    mine = other.version("income:2")
    assert mine.parents == (store.version("income").digest,)
    np.testing.assert_array_equal(other.load("income:2").weights["scale"], network(1).weights["scale"])
    assert other.verify() == []


def test_an_interrupted_push_goes_on_where_it_stopped(store, other, network, monkeypatch):
    for n in range(3):
        store.keep("income", network(n))
    puts = []
    put = Folder.put

    def failing(self, digest, chunks):
        if self.root == other.folder:
            puts.append(digest)
            if len(puts) == 20:
                raise StoreError("the cable was pulled")
        put(self, digest, chunks)

    monkeypatch.setattr(Folder, "put", failing)
    with pytest.raises(StoreError, match="the cable was pulled"):
        store.push(other)
    arrived = other.versions()
    assert 0 < len(arrived) < 3
    assert other.verify() == []
    monkeypatch.undo()
    needed = set().union(*(manifests.read(store._place, version.digest).blobs for version in store.versions()))
    there = {digest for digest, _ in other._place.list()}
    assert there > set().union(*(manifests.read(other._place, version.digest).blobs for version in arrived))
    again = store.push(other)
    assert again.blobs == len(needed - there)
    assert len(other.versions()) == 3
    assert other.verify() == []


def test_what_an_interrupted_push_left_is_swept_if_it_is_not_gone_on_with(store, other, network, monkeypatch):
    store.keep("income", network(1))
    put = Folder.put

    def failing(self, digest, chunks):
        if self.root == other.folder and len(list(self.list())) > 2:
            raise StoreError("the cable was pulled")
        put(self, digest, chunks)

    monkeypatch.setattr(Folder, "put", failing)
    with pytest.raises(StoreError, match="the cable was pulled"):
        store.push(other)
    monkeypatch.undo()
    assert list(other._place.list())
    assert other.sweep(grace=timedelta()).freed
    assert list(other._place.list()) == []


@pytest.mark.parametrize("fault", ["flip", "remove"])
def test_what_is_damaged_does_not_spread(store, other, network, fault):
    store.keep("income", network(1))
    largest = max(store.folder.glob("blobs/sha256/*"), key=lambda path: path.stat().st_size)
    if fault == "flip":
        content = bytearray(largest.read_bytes())
        content[1000] ^= 1
        largest.write_bytes(content)
    else:
        largest.unlink()
    with pytest.raises(StoreError, match=largest.name):
        store.push(other)
    assert other.versions() == []
    assert other.sweep().held == 0


def going_on(store, run, network, at):
    """Who is told of a push, and trains on as soon as so many blobs were moved; and what that saw."""
    seen = []

    def watch(progress):
        if progress.unit == "B":
            seen.append((progress.done, progress.total))
        if len(seen) == at:
            for step in (8, 9):
                store.save(run.id, Checkpoint(network(step).weights, TrainingState(step=step)))

    return watch, seen


def trained(store, run, network):
    """A version, and a run that holds its last two checkpoints."""
    store.keep("income", network(1))
    store.begin(replace(run, hold="last 2"))
    for step in (5, 6, 7):
        store.save(run.id, Checkpoint(network(step).weights, TrainingState(step=step)))


@pytest.mark.parametrize("at", ["the first of all", "the first of a checkpoint"])
def test_a_run_may_be_trained_while_it_is_pushed(store, other, network, run, at):
    trained(store, run, network)
    blobs = len(manifests.read(store._place, store.version("income").digest).blobs)
    watch, seen = going_on(store, run, network, 1 if at == "the first of all" else blobs + 1)
    moved = store.push(other, watch=watch)
    assert (moved.versions, moved.checkpoints, moved.left_out) == (("income:1",), 0, 2)
    assert other.checkpoints(run.id) == []
    assert other.verify() == []
    assert other.sweep(grace=timedelta()).freed == {}  # what was moved in vain is not there any more
    again = store.push(other)
    assert (again.checkpoints, again.left_out) == (2, 0)
    assert [one.step for one in other.checkpoints(run.id)] == [9, 8]
    assert other.last(run.id).state.step == 9
    assert seen[-1][0] <= seen[-1][1]


def test_a_checkpoint_that_is_let_go_after_it_was_moved_is_there(store, other, network, run):
    trained(store, run, network)
    digests = [store.version("income").digest, store.checkpoints(run.id)[-1].digest]
    blobs = set().union(*(manifests.read(store._place, digest).blobs for digest in digests))
    watch, seen = going_on(store, run, network, len(blobs) + 1)
    moved = store.push(other, watch=watch)
    assert (moved.checkpoints, moved.left_out) == (1, 1)
    assert [one.step for one in other.checkpoints(run.id)] == [6]
    assert seen[-1][0] == moved.size
    assert other.verify() == []


def test_a_checkpoint_that_is_held_and_damaged_is_not_passed_over(store, other, network, run):
    trained(store, run, network)
    (held,) = [one for one in store.checkpoints(run.id) if one.step == 6]
    lost = manifests.read(store._place, held.digest).files["model-00001-of-00002.safetensors"].digest
    store._plain.delete(lost)
    with pytest.raises(StoreError, match=lost.removeprefix("sha256:")):
        store.push(other, [run.id])
    assert other.checkpoints(run.id) == []


def test_pushes_beside_a_training_that_never_stops_are_all_whole(store, network, run, tmp_path):
    trained(store, run, network)
    done, left_out = threading.Event(), []

    def push(number):
        there = open_store(tmp_path / f"there-{number}", who="eve")
        while not done.is_set():
            left_out.append(open_store(store.folder, who="eve").push(there).left_out)
        assert there.verify() == []

    with ThreadPoolExecutor(2) as pool:
        pushing = [pool.submit(push, number) for number in range(2)]
        for step in range(10, 40):
            store.save(run.id, Checkpoint(network(step).weights, TrainingState(step=step)))
        done.set()
        for one in pushing:
            one.result()
    assert len(left_out) > 2


def test_nothing_of_that_name(store, other, network):
    store.keep("income", network(1))
    with pytest.raises(VersionNotFound, match="income"):
        store.push(other, ["incom"])


def test_progress_counts_the_bytes_that_are_missing_and_each_once(store, other, network):
    store.keep("income", network(1))
    store.keep("income", replace(network(1), graph=b"another graph"))  # which shares the weights
    seen = []
    moved = store.push(other, watch=seen.append)
    moving = [(one.done, one.total) for one in seen if one.unit == "B"]
    assert [one.stage for one in seen][:3] == ["reading", "reading", "comparing"]
    assert moving[0][1] == moving[-1][0] == moving[-1][1] == moved.size
    assert [done for done, _ in moving] == sorted(done for done, _ in moving)
    assert seen[-1].note == f"income:2  {moved.blobs}/{moved.blobs} blobs"


@pytest.fixture
def heavy(store, network):
    """Two versions, the second with a blob that is moved in several pieces."""
    store.keep("income", network(1))
    store.keep("income", network(2, embedding=np.random.default_rng(3).standard_normal(5_000_000, dtype=np.float32)))
    return store


def test_a_large_blob_is_counted_piece_by_piece(heavy, other):
    seen = []
    heavy.push(other, watch=seen.append)
    steps = np.diff([one.done for one in seen if one.unit == "B"])
    assert max(steps) <= 5_000_000
    assert sum(steps > 4_000_000) >= 4


@pytest.mark.parametrize("part", [0.02, 0.5])
def test_ctrl_c_leaves_only_what_is_whole_says_so_and_the_same_goes_on(heavy, other, part, request):
    """The signal is a real one; half of the bytes are within the large blob."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    pressed = []

    def watch(progress):
        if progress.unit == "B" and progress.done > part * progress.total and not pressed:
            pressed.append(progress)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(
        Interrupted, match=r"has (\d) of 2 versions, each of them whole, after .* of 2\d\.\d MB; do"
    ) as told:
        heavy.push(other, watch=watch)
    arrived = [version.reference for version in other.versions()] if (other.folder / "catalog.db").exists() else []
    assert f"has {len(arrived)} of 2 versions" in str(told.value)
    assert len(arrived) == (1 if part == 0.5 else 0)
    assert other.verify() == []
    there = dict(other._place.list())
    assert all(objects.digest([other._place.get(digest)]) == digest for digest in there)
    assert list((other.folder / "incoming").iterdir()) == []
    again = heavy.push(other)
    needed = {one for version in heavy.versions() for one in manifests.read(heavy._place, version.digest).blobs}
    assert again.blobs == len(needed - set(there))
    assert other.versions() == heavy.versions()
    assert other.verify() == []


@pytest.mark.parametrize("server", ["moto", "azurite"])
def test_a_store_goes_to_the_cloud_and_comes_back(store, network, tmp_path, bucket, server, run):
    store.keep("income", network(1))
    store.alias("income@prod", "income", why="first")
    store.begin(run)
    store.save("income-1", Checkpoint(network(5).weights, TrainingState(step=5)))
    cloud = open_store(f"{bucket(server)}/networks", who="ada", cache=tmp_path / "cache")
    assert store.push(cloud).checkpoints == 1
    assert cloud.verify() == []
    home = open_store(tmp_path / "home", who="ada")
    home.pull(cloud)
    assert home.versions() == store.versions()
    assert home.history("income@prod") == store.history("income@prod")
    assert home.last("income-1").state.step == 5
    assert home.verify() == []


def test_aliases_that_point_elsewhere_are_left_alone_and_named(store, other, network):
    for number in (1, 2):
        store.keep("income", network(number))
    store.alias("income@prod", "income:1", why="first")
    store.alias("income@test", "income:1", why="first")
    assert store.push(other).apart == ()
    store.alias("income@prod", "income:2", why="second")
    assert store.push(other).apart == ("income@prod",)
    assert other.aliases()["income@prod"] == other.version("income:1").digest
    assert store.pull(other).apart == ("income@prod",)
    assert [move.why for move in store.history("income@prod")] == ["second", "first"]


def test_a_run_that_went_on_in_both_stores_is_not_mixed(store, other, network, run):
    store.begin(run)
    for step in (1, 2):
        store.save("income-1", Checkpoint(network(step).weights, TrainingState(step=step)))
    store.push(other)
    other.save("income-1", Checkpoint(network(7).weights, TrainingState(step=3)))
    theirs = other.checkpoints("income-1")
    store.save("income-1", Checkpoint(network(8).weights, TrainingState(step=3)))
    for move in (lambda: store.push(other), lambda: store.pull(other), lambda: store.push(other, ["income-1"])):
        with pytest.raises(UsageError, match=r"income-1 went on in both stores: .* checkpoint 3 .*of its own"):
            move()
    assert other.checkpoints("income-1") == theirs
