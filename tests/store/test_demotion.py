"""Old checkpoints become small, read as before, and survive whatever happens meanwhile."""

import os
import shutil
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import select

from engram.errors import StoreError
from engram.records import Checkpoint, TrainingState
from engram.store import manifests, objects, tables
from engram.store.differences import demotion, swaps
from engram.store.differences.demoted import Difference, differences
from engram.store.differences.demotion import Demotion
from engram.store.store import open as open_store
from engram.store.writing import Site

SHAPE = (120, 50)


def walk(steps, seed=0, frozen=False):
    """What a training leaves: weights that move a little, an average that moves less, and noise."""
    numbers = np.random.default_rng(seed)
    weight, average, made = numbers.standard_normal(SHAPE, dtype=np.float32), np.zeros(SHAPE, np.float32), []
    first = numbers.standard_normal(SHAPE, dtype=np.float32)
    for step in range(1, steps + 1):
        weight = weight + np.float32(1e-5) * numbers.standard_normal(SHAPE, dtype=np.float32)
        average = np.float32(0.9) * average + np.float32(0.1) * weight
        state = TrainingState(
            epoch=step,
            step=step,
            slots={"exp_avg/dense.weight": numbers.integers(0, 2**32, SHAPE, dtype=np.uint32)},
            average={"dense.weight": average},
            random={"torch": numbers.integers(0, 256, 5_056, dtype=np.uint8)},
            history=({"epoch": step},),
        )
        weights = {"dense.weight": weight, **({"embedding.weight": first} if frozen else {})}
        made.append(Checkpoint(weights, state))
    return made


def same(one, other):
    def plain(arrays):
        return {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}

    groups = [(one.weights, other.weights)]
    groups += [(getattr(one.state, group), getattr(other.state, group)) for group in ("slots", "average", "random")]
    return all(plain(left) == plain(right) for left, right in groups)


def check(store, given, identity="income-1"):
    """Every checkpoint that is held reads, verified, as it was given."""
    held = store.checkpoints(identity)
    for saved in held:
        assert same(store.read(saved), given[saved.step - 1])
    return [saved.step for saved in held]


def rows(store):
    with store._catalog.reading() as connection:
        asked = select(tables.deltas.c.digest, tables.deltas.c.base, tables.deltas.c.depth, tables.deltas.c.size)
        return {row.digest: row for row in connection.execute(asked)}


def sound(store):
    """What the catalog says of differences is what lies there; no chain is too long, and all it stands on is there."""
    known, plain = rows(store), {digest for digest, _ in store._plain.list()}
    assert {(one.digest, one.base, one.size) for one in differences(store._plain)} == {
        (row.digest, row.base, row.size) for row in known.values()
    }
    assert plain.isdisjoint(known)
    for row in known.values():
        chain, base = 1, row.base
        while base in known:
            chain, base = chain + 1, known[base].base
        assert row.depth == chain <= swaps.LONGEST
        assert not base or base in plain
    with store._catalog.reading() as connection:
        assert connection.execute(select(tables.condemned)).all() == []
    return known


def weights_of(store, step, identity="income-1"):
    """The digest of the blob with the weights of a checkpoint."""
    (saved,) = [saved for saved in store.checkpoints(identity) if saved.step == step]
    return manifests.read(store._place, saved.digest).files["model-00001-of-00001.safetensors"].digest


def train(store, run, given, hold="all", best=(), demoting=False):
    store.begin(replace(run, hold=hold))
    for checkpoint in given:
        store.save(run.id, checkpoint, best=checkpoint.state.step in best)
        if demoting:
            demotion.demote(store._site, run.id, last=2)


def test_the_newest_stays_plain_and_older_ones_stand_on_the_next(store, run):
    given = walk(4)
    train(store, run, given)
    done = demotion.demote(store._site, run.id)
    known = sound(store)
    digests = [weights_of(store, step) for step in (1, 2, 3, 4)]
    assert [known[digest].base for digest in digests[:3]] == digests[1:]
    assert digests[3] not in known
    assert check(store, given) == [4, 3, 2, 1]
    assert done.blobs == len(known) == 6  # weights and average of three; noise does not become smaller
    assert done.stored == sum(row.size for row in known.values()) < 0.7 * done.plain
    assert demotion.demote(store._site, run.id) == Demotion()


def test_a_run_that_has_one_checkpoint_or_none_is_left_alone(store, run):
    train(store, run, walk(1))
    for identity in (run.id, "nobody"):
        assert demotion.demote(store._site, identity) == Demotion()


def test_chains_end_before_they_are_too_long(store, run):
    given = walk(20)
    train(store, run, given)
    demotion.demote(store._site, run.id)
    known = sound(store)
    assert max(row.depth for row in known.values()) == swaps.LONGEST
    assert check(store, given) == list(range(20, 0, -1))


def test_chains_that_grow_with_every_save_end_as_well(store, run):
    given = walk(20)
    train(store, run, given, demoting=True)
    known = sound(store)
    assert max(row.depth for row in known.values()) == swaps.LONGEST
    assert len(known) == 2 * 19
    assert check(store, given) == list(range(20, 0, -1))


def test_checkpoints_that_stay_while_their_neighbors_go_are_moved_and_the_space_comes_back(store, run):
    given = walk(23)
    train(store, run, given, hold="last 3, best, every 5th", best={8}, demoting=True)
    assert check(store, given) == [23, 22, 21, 20, 15, 10, 8, 5]
    known = sound(store)
    with store._catalog.reading() as connection:
        linked = set(connection.execute(select(tables.links.c.blob)).scalars())
    assert set(dict(store._place.list())) == linked  # nothing of what was let go is still there
    assert {row.base for row in known.values()} <= linked | {""}
    digests = {step: weights_of(store, step) for step in (5, 8, 10, 15, 20)}
    assert known[digests[10]].base == digests[8]
    assert known[digests[8]].base == digests[5]


def test_what_something_stands_on_is_held(store, run):
    given = walk(6)
    train(store, run, given, hold="last 3")
    demotion.demote(store._site, run.id)
    with store._catalog.reading() as connection:
        bases = demotion.held_bases(connection)
    assert bases == {row.base for row in rows(store).values()}
    assert weights_of(store, 6) in bases
    store.sweep(grace=timedelta())
    assert check(store, given) == [6, 5, 4]


def test_what_a_version_holds_stays_plain(store, run, network):
    given = walk(4)
    train(store, run, given)
    held = weights_of(store, 2)
    store.keep("income", replace(network(), weights=given[1].weights))
    demotion.demote(store._site, run.id)
    assert held not in sound(store)
    assert dict(store._plain.list())[held] == dict(store._place.list())[held]


def test_a_version_of_what_is_a_difference_already_is_written_plain(store, run, network):
    given = walk(5)
    train(store, run, given)
    demotion.demote(store._site, run.id)
    held = weights_of(store, 2)
    assert held in sound(store)
    model = replace(network(), weights=given[1].weights)
    kept = store.keep("income", model)
    assert held in dict(store._plain.list())
    assert demotion.tidy(store._site) == 1
    assert held not in sound(store)
    np.testing.assert_array_equal(store.load(kept.reference).weights["dense.weight"], given[1].weights["dense.weight"])
    assert check(store, given) == [5, 4, 3, 2, 1]


def test_a_checkpoint_that_comes_again_costs_nothing(store, run):
    given = walk(4)
    train(store, run, given)
    demotion.demote(store._site, run.id)
    old = weights_of(store, 2)
    again = replace(given[1], state=replace(given[1].state, step=5))
    store.save(run.id, again)
    assert weights_of(store, 5) == old
    assert old not in dict(store._plain.list())
    assert check(store, [*given, again]) == [5, 4, 3, 2, 1]


def test_what_never_changes_is_not_touched(store, run):
    given = walk(4, frozen=True)
    train(store, run, given)
    demotion.demote(store._site, run.id)
    sound(store)
    assert check(store, given) == [4, 3, 2, 1]


class Listed:
    """How many names a place was given to look at, and which folders they were in."""

    def __init__(self, monkeypatch):
        self.names = 0
        real = os.scandir

        @contextmanager
        def scandir(folder):
            with real(folder) as entries:
                yield self._counted(entries)

        monkeypatch.setattr(os, "scandir", scandir)

    def _counted(self, entries):
        for entry in entries:
            self.names += 1
            yield entry


@pytest.mark.parametrize("others", [10, 2_000])
def test_a_save_does_not_look_at_the_differences_of_others(store, run, others, monkeypatch):
    given = walk(8)
    train(store, run, given[:6], hold="last 2, every 2nd", demoting=True)
    for number in range(others):
        path = store.folder / Difference(objects.digest([bytes([number % 256, number // 256])]), "", 5).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    listed = Listed(monkeypatch)
    for checkpoint in given[6:]:
        store.save(run.id, checkpoint)
        demotion.demote(store._site, run.id, last=2)
    assert listed.names < 200  # of the 2,000 each of some fifty looks would meet all, were they in one folder


def test_small_and_unpredictable_blobs_stay_as_they_are(store, run):
    given = [
        Checkpoint(
            {"dense.bias": np.full(50, step, np.float32)},
            TrainingState(epoch=step, step=step, random={"torch": np.zeros(50_000, np.uint8)}),
        )
        for step in (1, 2, 3)
    ]
    train(store, run, given)
    assert demotion.demote(store._site, run.id) == Demotion()


def test_the_newest_of_another_run_stays_plain(store, run):
    given = walk(3)
    train(store, run, given)
    store.begin(replace(run, id="income-2", hold="all"))
    store.save("income-2", given[1])
    demotion.demote(store._site, run.id)
    assert weights_of(store, 2) not in sound(store)


def test_nothing_is_made_of_a_damaged_blob_and_nothing_stands_on_one(store, run):
    given = walk(4)
    train(store, run, given)
    ruined = weights_of(store, 3)
    path = store.folder / "blobs" / "sha256" / ruined.removeprefix("sha256:")
    content = path.read_bytes()
    path.write_bytes(content[:-4] + b"ruin")
    demotion.demote(store._site, run.id)
    known = rows(store)
    assert ruined not in known
    assert ruined not in {row.base for row in known.values()}
    path.write_bytes(content)
    assert check(store, given) == [4, 3, 2, 1]


def test_damage_to_a_difference_is_found_with_what_it_hurts_and_repaired_from_a_copy(store, run, tmp_path):
    given = walk(4)
    train(store, run, given)
    other = open_store(tmp_path / "copy", who="ada")
    store.push(other)
    demotion.demote(store._site, run.id)
    first, second = weights_of(store, 1), weights_of(store, 2)
    (name,) = [one.name for one in differences(store._plain, second)]
    content = bytearray((store.folder / name).read_bytes())
    content[-5] ^= 16
    (store.folder / name).write_bytes(content)
    found = {damage.digest: damage for damage in store.verify()}
    assert set(found) == {first, second}  # the one that stands on it cannot be read either
    assert found[first].hurts == ("step 1 of run income-1",)
    assert "is damaged" in found[second].fault
    mended, left = store.repair(other)
    assert {damage.digest for damage in mended} == {first, second}
    assert left == []
    assert store.verify() == []
    assert check(store, given) == [4, 3, 2, 1]
    demotion.tidy(store._site)
    sound(store)


def test_a_catalog_made_anew_knows_the_differences(store, run):
    given = walk(12)
    train(store, run, given)
    demotion.demote(store._site, run.id)
    before = {digest: tuple(row) for digest, row in sound(store).items()}
    store.rebuild()
    assert {digest: tuple(row) for digest, row in sound(store).items()} == before
    assert check(store, given) == list(range(12, 0, -1))


def test_a_run_goes_to_another_store_whole(store, run, tmp_path):
    given = walk(4)
    train(store, run, given)
    demotion.demote(store._site, run.id)
    other = open_store(tmp_path / "other", who="ada")
    store.push(other)
    assert check(other, given) == [4, 3, 2, 1]


class Killed(BaseException):
    """What no code of the store catches and goes on from."""


class Mortal:
    """A real place or catalog whose caller dies before or after the nth call that changes something."""

    CHANGES = ("put", "write", "settle", "delete", "remove")

    def __init__(self, inner, fate):
        self._inner, self._fate = inner, fate
        self.url = inner.url

    def __getattr__(self, name):
        method = getattr(self._inner, name)
        return self._fate.guard(method) if name in self.CHANGES else method


class Fate:
    def __init__(self, nth, after):
        self.left, self.after, self.struck = nth, after, False

    def guard(self, method):
        def call(*given):
            self.left -= 1
            if self.left < 0 and not self.after:
                self.struck = True
                raise Killed
            made = method(*given)
            if self.left < 0:
                self.struck = True
                raise Killed
            return made

        return call


def before_the_work(folder, work, run, given, clock, network):
    """A store in which there is something to demote, to move to another base, or to tidy up."""
    store = open_store(folder, who="ada", clock=clock)
    if work == "demote":
        train(store, run, given[:3])
    else:
        train(store, run, given[:5], hold="last 1, every 2nd", demoting=True)
        store.save(run.id, given[5])  # lets go of the one that the one before stands on
    if work == "tidy":
        demotion.demote(store._site, run.id)
        store.keep("income", replace(network(), weights=given[1].weights))
    return check(store, given)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("work", "steps"), [("demote", 12), ("move", 10), ("tidy", 3)])
def test_who_is_killed_at_any_step_loses_nothing(tmp_path, run, clock, network, work, steps, after):
    given = walk(6)
    held = before_the_work(tmp_path / "before", work, run, given, clock, network)
    for nth in range(200):
        folder, fate = shutil.copytree(tmp_path / "before", tmp_path / str(nth)), Fate(nth, after)
        store = open_store(folder, who="ada", clock=clock)
        site = Site(Mortal(store._plain, fate), Mortal(store._catalog, fate), store._now)
        try:
            demotion.tidy(site) if work == "tidy" else demotion.demote(site, run.id)
        except Killed:
            assert fate.struck
        store = open_store(folder, who="ada", clock=clock)
        assert check(store, given) == held
        store._catalog.write(lambda connection: connection.execute(tables.condemned.delete()))  # an hour later
        demotion.demote(store._site, run.id)
        demotion.tidy(store._site)
        store.sweep(grace=timedelta())
        sound(store)
        assert check(store, given) == held
        if not fate.struck:
            break
    assert nth >= steps


def test_several_at_once_and_a_writer_and_a_reader_are_no_trouble(tmp_path, run):
    given = walk(16)
    folder = tmp_path / "engrams"
    store = open_store(folder, who="ada")
    store.begin(replace(run, hold="last 3, every 4th"))
    done, wrong = threading.Event(), []

    def watch(work):
        mine = open_store(folder, who="eve")
        while not done.is_set():
            try:
                work(mine)
            except StoreError as refused:
                wrong.append((works.index(work), str(refused)))

    def read(mine):
        for saved in mine.checkpoints(run.id):
            try:
                assert same(mine.read(saved), given[saved.step - 1])
            except StoreError:
                if saved.digest in {one.digest for one in mine.checkpoints(run.id)}:
                    raise  # and not let go of meanwhile

    works = [
        lambda mine: demotion.demote(mine._site, run.id),
        lambda mine: demotion.demote(mine._site, run.id, last=2),
        read,
        lambda mine: mine.sweep(grace=timedelta()),
        lambda mine: demotion.tidy(mine._site),
    ]
    watchers = [threading.Thread(target=watch, args=(work,)) for work in works]
    for watcher in watchers:
        watcher.start()
    for checkpoint in given:
        store.save(run.id, checkpoint)
    done.set()
    for watcher in watchers:
        watcher.join()
    assert wrong == []
    demotion.demote(store._site, run.id)
    demotion.tidy(store._site)
    store.sweep(grace=timedelta())
    sound(store)
    assert check(store, given) == [16, 15, 14, 12, 8, 4]
