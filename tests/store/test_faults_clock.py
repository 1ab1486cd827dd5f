"""Clocks set years forward and back between operations: nothing is lost, and order is that of events."""

import os
import random
from datetime import UTC, datetime, timedelta

import pytest

from engram.records import Checkpoint, Run, TrainingState
from engram.store.store import Store
from engram.store.store import open as open_store
from faults.looks import both
from faults.works import RUN, model

pytest_plugins = ["faults.fixtures"]

TODAY = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Clock:
    """Tells whatever it was set to, and a second more each time."""

    def __init__(self) -> None:
        self.moment = TODAY

    def __call__(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment

    def jump(self, chance: random.Random) -> None:
        """Years forward or back from today, or not at all."""
        days = chance.choice((0, 1, -1, 30, -30, 365 * chance.randint(1, 12), -365 * chance.randint(1, 40)))
        self.moment = TODAY + timedelta(days=days)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(ground, clock) -> Store:
    made = open_store(ground.fresh(), who="ada", clock=clock)
    made.keep("income", model(0))
    made.begin(Run(RUN, "income", TODAY, "running", "[data]\n", "[lock]\n", "/home/ada"))
    return made


def step_of(store: Store, number: int) -> int:
    state = TrainingState(step=number, slots={"exp_avg/layer": model(number).weights["bias"]})
    store.save(RUN, Checkpoint(model(number).weights, state))
    return number


def shifted(store: Store, chance: random.Random) -> None:
    """The times of some files, as a copy or a wrong clock leaves them."""
    for path in store.folder.rglob("*"):
        if path.is_file() and chance.random() < 0.2:
            moment = (TODAY + timedelta(days=chance.randint(-9000, 3000))).timestamp()
            os.utime(path, (moment, moment))


@both(quick=40, full=1000)
def test_nothing_is_lost_whatever_the_clock_says(store, clock, effort):
    chance = random.Random(6)
    kept, moves, saved = {store.version("income").digest: 0}, [], 0
    for number in range(1, effort + 1):
        clock.jump(chance)
        shifted(store, chance)
        act = chance.choice(("keep", "keep", "move", "save", "save", "sweep", "open"))
        if act == "keep":
            kept[store.keep("income", model(number % 7)).digest] = number % 7
        elif act == "move":
            moves.append(store.alias("income@prod", chance.choice(sorted(kept)), why=f"{number}").target)
        elif act == "save":
            saved = step_of(store, number)
        elif act == "sweep":
            store.sweep(grace=timedelta(hours=chance.choice((0, 1))))
        else:
            store = open_store(store.folder, who="ada", clock=clock)
        if number % 10 == 0 or number == effort:
            agreed(store, kept, moves, saved)


def agreed(store, kept, moves, saved):
    """All versions are there and whole, in the order in which they were kept; moves and checkpoints likewise."""
    found = store.versions("income")
    assert [version.digest for version in found] == list(reversed(kept))
    assert [version.number for version in found] == list(range(len(kept), 0, -1))
    for digest, seed in kept.items():
        assert store.load(digest, verify=True).weights["bias"][0] == seed
    if moves:
        assert [move.target for move in reversed(store.history("income@prod"))] == moves
        assert store.version("income@prod").digest == moves[-1]
    if saved:
        assert store.last(RUN).state.step == saved
    assert store.verify() == []


def test_an_alias_points_where_it_was_moved_last_and_not_where_its_clock_says(store, clock):
    store.keep("income", model(1))
    clock.moment = datetime(2046, 1, 1, tzinfo=UTC)
    store.alias("income@prod", "income:1", why="in the future")
    clock.moment = datetime(1999, 1, 1, tzinfo=UTC)
    store.alias("income@prod", "income:2", why="in the past")
    assert store.version("income@prod").number == 2
    assert [move.why for move in store.history("income@prod")] == ["in the past", "in the future"]


def test_a_file_that_seems_old_is_not_cleared_from_under_its_writer(store, clock):
    """What others left in ``incoming`` is cleared by its age; a writer at work must still come to its end."""
    chance = random.Random(2)
    for number in range(20):
        clock.jump(chance)
        other = open_store(store.folder, who="bob", clock=clock)
        shifted(other, chance)
        kept = [store.keep("income", model(number)), other.keep("income", model(number + 1))]
        for version in kept:
            store.load(version.digest, verify=True)
    assert store.verify() == []


@both(quick=20, full=300)
def test_a_sweep_by_another_clock_removes_nothing_that_is_in_use(ground, effort):
    chance, mine, theirs = random.Random(9), Clock(), Clock()
    folder = ground.fresh()
    store, other = open_store(folder, who="ada", clock=mine), open_store(folder, who="bob", clock=theirs)
    kept = {}
    for number in range(effort):
        mine.jump(chance)
        theirs.jump(chance)
        kept[store.keep("income", model(number % 5)).digest] = number % 5
        other.sweep(grace=timedelta(hours=chance.choice((0, 0, 24))))
    for digest, seed in kept.items():
        assert store.load(digest, verify=True).weights["bias"][0] == seed
    assert store.verify() == []
