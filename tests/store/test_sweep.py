"""What nothing needs is freed, and what anything needs is not, whoever is at work meanwhile."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from engram.errors import StoreError
from engram.records import Checkpoint, TrainingState
from engram.store import leases, manifests, objects, writing
from engram.store.store import Store
from engram.store.store import open as open_store
from engram.store.weights import contents
from engram.store.writing import Draft, Record

NOTHING = timedelta(0)
HOUR = timedelta(hours=1)


def blobs(store: Store) -> set[str]:
    return {path.name for path in store.folder.glob("blobs/sha256/*")}


def orphan(store: Store, content: bytes) -> str:
    """A blob that nothing names, as a killed writer leaves it."""
    blob = objects.blob(content)
    objects.put(store._plain, {blob: content}, [])
    return blob.digest


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that is moved by hand."""
    return Clock()


def test_a_store_without_waste_is_left_alone(store, network):
    store.keep("income", network(1))
    before = blobs(store)
    swept = store.sweep(grace=NOTHING)
    assert (swept.freed, swept.waiting, swept.until) == ({}, {}, None)
    assert swept.held == sum(path.stat().st_size for path in store.folder.glob("blobs/sha256/*"))
    assert blobs(store) == before


def test_what_nothing_needs_waits_for_its_time_and_is_then_freed(store, network, clock):
    store.keep("income", network(1))
    before = blobs(store)
    lost = orphan(store, b"nobody needs this")
    first = store.sweep(grace=HOUR)
    assert (first.freed, first.waiting, first.until) == ({}, {lost: 17}, clock.now + HOUR)
    clock.now += timedelta(minutes=59)
    assert store.sweep(grace=HOUR).freed == {}
    clock.now += timedelta(minutes=1)
    assert store.sweep(grace=HOUR).freed == {lost: 17}
    assert blobs(store) == before
    assert store.verify() == []


def test_a_dry_run_says_what_would_be_freed_and_frees_nothing(store, network):
    store.keep("income", network(1))
    lost = orphan(store, b"nobody needs this")
    before = blobs(store)
    swept = store.sweep(grace=NOTHING, dry_run=True)
    assert swept.freed == {lost: 17}
    assert blobs(store) == before
    assert store.sweep(grace=NOTHING).freed == {lost: 17}


def test_what_is_needed_again_is_saved(store, network, clock):
    store.keep("income", network(1))
    lost = orphan(store, b"the network's other graph")
    assert store.sweep(grace=HOUR).waiting == {lost: 25}
    store.keep("income", replace(network(1), graph=b"the network's other graph"))
    clock.now += 2 * HOUR
    assert store.sweep(grace=HOUR).freed == {}
    assert store.load("income").graph == b"the network's other graph"
    assert store.verify() == []


def test_a_writer_at_work_is_not_swept_from_under(store, network, clock):
    """A sweep runs at the one moment when everything is written and nothing is registered."""
    store.keep("income", network(0))
    seen = []

    def register(connection, manifest):
        seen.append(manifest)
        return manifest

    def record(_number: int) -> Record:
        seen.append(open_store(store.folder, who="eve", clock=clock).sweep(grace=NOTHING))
        return Record("version.json", b"{}", {}, {})

    draft = Draft(contents.pack_model(network(7)), lambda _connection: 0, record, register)
    made = writing.commit(store._site, draft)
    assert seen[0].freed == {}
    assert store._place.missing(made.blobs) == set()


def test_the_manifest_of_a_writer_at_work_is_not_swept_either(store, network, clock):
    """What no lease names, because its content states the number, is protected by the lease being older."""
    store.keep("income", network(0))
    swept = []
    other = open_store(store.folder, who="eve", clock=clock)

    class Watched(type(store._plain)):
        def settle(self) -> None:
            super().settle()
            swept.append(other.sweep(grace=NOTHING))

    watched = replace(store._site, place=Watched(store.folder))
    draft = Draft(
        contents.pack_model(network(7)), lambda _c: 0, lambda _n: Record("version.json", b"{}", {}), lambda _c, m: m
    )
    made = writing.commit(watched, draft)
    assert [one.freed for one in swept] == [{}] * len(swept)
    assert len(swept) >= 3
    assert store._place.missing(made.blobs) == set()


def test_a_lease_that_ended_too_early_is_noticed_and_made_up_for(store, network, clock):
    """A writer that was asleep for days finds its lease gone and its blobs swept, and writes them again."""
    store.keep("income", network(0))
    asleep = []

    def record(_number: int) -> Record:
        if not asleep:
            with_lease = store._catalog
            with_lease.write(lambda connection: [leases.end(connection, n) for n in range(1, 9)])
            asleep.append(open_store(store.folder, who="eve", clock=clock).sweep(grace=NOTHING))
        return Record("version.json", b"{}", {}, {})

    draft = Draft(
        contents.pack_model(network(7)), lambda _connection: 0, record, lambda _connection, manifest: manifest
    )
    made = writing.commit(store._site, draft)
    assert asleep[0].freed
    assert store._place.missing(made.blobs) == set()


def test_a_removal_whose_process_died_does_not_block_a_writer_for_ever(store, network, monkeypatch):
    monkeypatch.setattr(leases, "PATIENCE", 0.1)
    kept = store.keep("income", network(0))
    lost = orphan(store, b"the network's other graph")
    store._catalog.write(lambda connection: leases.mark(connection, [lost], store._now()))  # and dies
    made = store.keep("income", replace(network(0), graph=b"the network's other graph"))
    assert made.number == kept.number + 1
    assert store.verify() == []


def in_a_process(store: Store, work: Callable[[Store], object]) -> None:
    """Done by a process that is killed as soon as it is done."""
    child = os.fork()
    if child == 0:
        work(open_store(store.folder, who="eve"))
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def test_what_a_killed_process_was_removing_is_removed_by_the_next_sweep(store, network):
    store.keep("income", network(0))
    lost = orphan(store, b"nobody needs this")
    in_a_process(store, lambda mine: mine._catalog.write(lambda c: leases.mark(c, [lost], mine._now())))
    assert store.sweep(grace=NOTHING).freed == {lost: 17}
    with store._reading() as connection:
        assert leases.orphaned(connection) == {}


def test_what_somebody_else_has_taken_up_from_a_killed_process_is_left_to_him(store, network, clock):
    store.keep("income", network(0))
    lost = orphan(store, b"nobody needs this")
    in_a_process(store, lambda mine: mine._catalog.write(lambda c: leases.mark(c, [lost], mine._now())))
    with store._reading() as connection:
        dead = leases.orphaned(connection)
    clock.now += HOUR
    assert store._catalog.write(lambda c: leases.remove(c, clock.now, clock.now, given_up=dead)) == {lost}
    assert store._catalog.write(lambda c: leases.remove(c, clock.now, clock.now, given_up=dead)) == set()


def test_who_removes_in_another_container_of_this_machine_is_not_taken_for_gone(store, network):
    """Its number means nothing here, or somebody else."""
    store.keep("income", network(0))
    lost = orphan(store, b"nobody needs this")
    work = f"""
import sys
from engram.store import leases
from engram.store.store import open
store = open({str(store.folder)!r}, who="eve")
store._catalog.write(lambda connection: leases.mark(connection, [{lost!r}], store._now()))
print("marked", flush=True)
sys.stdin.read()
"""
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", work]
    try:
        there = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        pytest.skip("there is no unshare on this machine: nothing can be put into a container")
    with there:
        assert there.stdout is not None
        if there.stdout.readline() != "marked\n":
            pytest.skip("this machine lets nobody be put into a container")
        with store._reading() as connection:
            assert leases.going(connection, {lost}) == {lost}
            assert leases.orphaned(connection) == {}
        assert open_store(store.folder, who="ada").sweep(grace=NOTHING).freed == {}


@pytest.mark.parametrize("years", [-30, 30])
def test_a_clock_that_jumps_by_years_frees_nothing_that_is_needed(store, network, clock, years):
    store.keep("income", network(1))
    lost = orphan(store, b"nobody needs this")
    store.sweep(grace=HOUR)
    clock.now += timedelta(days=365 * years)
    store.keep("income", network(2))
    store.sweep(grace=HOUR)
    clock.now += 2 * HOUR
    store.sweep(grace=HOUR)
    assert lost.removeprefix("sha256:") not in blobs(store)
    assert store.verify() == []
    clock.now -= timedelta(days=365 * years)
    store.keep("income", network(3))
    assert len(store.versions("income")) == 3
    assert store.verify() == []


def test_what_a_killed_writer_left_is_freed_at_once(store, network):
    """Its lease names a process that is gone, so nobody waits for it."""
    store.keep("income", network(0))
    before = blobs(store)
    child = os.fork()
    if child == 0:
        mine = open_store(store.folder, who="eve")
        draft = Draft(
            contents.pack_model(network(7)),
            lambda _connection: 0,
            lambda _number: os.kill(os.getpid(), signal.SIGKILL),
            lambda _connection, manifest: manifest,
        )
        writing.commit(mine._site, draft)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert blobs(store) > before
    assert store.sweep(grace=NOTHING).freed
    assert blobs(store) == before


def test_checkpoints_that_are_let_go_leave_nothing_to_sweep(store, network, run):
    store.begin(run)
    for step in range(1, 8):
        store.save("income-1", Checkpoint(network(step).weights, TrainingState(step=step)))
    needed = set()
    for saved in store.checkpoints("income-1"):
        needed |= set(manifests.read(store._place, saved.digest).blobs)
    assert store.sweep(grace=NOTHING).freed == {}
    assert store.verify() == []
    assert store._place.missing(dict.fromkeys(needed, -1)) <= needed


def test_a_place_that_refuses_to_remove_keeps_what_it_has(store, network, monkeypatch):
    store.keep("income", network(0))
    lost = orphan(store, b"nobody needs this")

    def refuse(_digest: str) -> int:
        raise StoreError("the disk is read-only")

    monkeypatch.setattr(store._place, "delete", refuse)
    assert store.sweep(grace=NOTHING).freed == {}
    monkeypatch.undo()
    assert store.sweep(grace=NOTHING).freed == {lost: 17}


def test_many_sweeps_beside_many_writers(store, network):
    children = []
    for n in range(4):
        child = os.fork()
        if child == 0:
            mine = open_store(store.folder, who=str(n))
            work: Callable[[int], object] = (
                (lambda turn, n=n, mine=mine: mine.keep("income", network(10 * n + turn)))
                if n
                else (lambda _turn, mine=mine: mine._there() if not mine._place.exists() else mine.sweep(grace=NOTHING))
            )
            for turn in range(6):
                work(turn) if n or mine._place.exists() else None
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children[1:]] == [0, 0, 0]
    os.waitpid(children[0], 0)
    assert len(store.versions("income")) == 18
    assert store.verify() == []
