"""Killed or crowded: what was acknowledged stays, and what was not is not there.

Writers are real processes, made by fork so that killing twenty of them takes seconds.
"""

import hashlib
import os
import random
import select
import signal
import time
from contextlib import ExitStack
from functools import partial

import numpy as np
import pytest

from engram.records import Checkpoint, TrainingState
from engram.store import writing
from engram.store.store import open as open_store
from engram.store.weights import contents
from engram.store.writing import Draft, Record
from faults.forks import forked, told

WEIGHTS = 250_000


def killed(child: int, reader: int, seconds: float, *, after_one: bool = False) -> list[object]:
    """What a process told that was killed some time after it was ready, or after its first acknowledgment."""
    os.read(reader, len(b'["ready"]\n'))
    if after_one:
        select.select([reader], [], [])
    select.select([], [], [], seconds)  # the random moment itself; nothing is waited for
    os.kill(child, signal.SIGKILL)
    return told(reader)


def test_a_keep_that_is_killed_leaves_the_old_state_or_the_new_one(store, uniform, seeds):
    chance = random.Random(20_261)
    began = time.monotonic()
    store.keep("income", uniform(0))
    usual, count = time.monotonic() - began, 0
    for attempt in range(20):

        def work(tell, first=attempt * 1_000 + 1):
            mine = open_store(store.folder, who="ada")
            tell(["ready"])
            for seed in range(first, first + 1_000):
                tell([mine.keep("income", uniform(seed)).digest, seed])

        with forked(work) as (child, reader):
            acknowledged = killed(child, reader, chance.uniform(0, 2 * usual), after_one=attempt % 2 == 1)
        count += len(acknowledged)
        found = seeds(store)
        for digest, seed in acknowledged:
            assert found[digest] == seed
    assert count >= 10
    for path in store.folder.glob("blobs/sha256/*"):  # blobs of a keep that was killed may be there, but whole
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_the_first_keep_of_all_may_be_killed(tmp_path, uniform, seeds):
    chance = random.Random(3)
    for attempt in range(10):
        store = open_store(tmp_path / f"engrams-{attempt}", who="ada")

        def work(tell, mine=store):
            tell(["ready"])
            tell(mine.keep("income", uniform(1)).digest)

        with forked(work) as (child, reader):
            acknowledged = killed(child, reader, chance.uniform(0, 0.06))
        made = store.keep("income", uniform(2))
        assert set(acknowledged) <= seeds(store).keys()
        assert made.digest in seeds(store)


def test_a_run_that_is_killed_goes_on_from_what_it_last_saved(store, run, uniform):
    chance = random.Random(7)
    store.begin(run)
    last = 0
    for _ in range(10):

        def work(tell, first=last + 1):
            mine = open_store(store.folder, who="ada")
            tell(["ready"])
            for step in range(first, first + 1_000):
                slots = {"exp_avg/layer": np.full(WEIGHTS, step)}
                state = TrainingState(step=step, slots=slots)
                mine.save("income-1", Checkpoint(uniform(step).weights, state), best=step % 5 == 0)
                tell(step)

        with forked(work) as (child, reader):
            acknowledged = killed(child, reader, chance.uniform(0, 0.15))
        held = store.checkpoints("income-1")
        assert len(held) <= 3
        for saved in held:
            found = store.read(saved)
            arrays = [*found.weights.values(), *found.state.slots.values()]
            assert {float(value) for array in arrays for value in np.unique(array)} == {saved.step}
        last = max([last, *acknowledged])
        assert not held or held[0].step in {last, last + 1}
        last = held[0].step if held else 0


def test_four_writers_lose_nothing_and_share_no_number(store, uniform, seeds):
    def work(tell, first):
        mine = open_store(store.folder, who="ada")
        for seed in range(first, first + 10):
            version = mine.keep("income", uniform(seed))
            tell([version.digest, version.number, seed])

    with ExitStack() as writers:
        readers = [writers.enter_context(forked(partial(work, first=first)))[1] for first in (100, 200, 300, 400)]
        said = [entry for reader in readers for entry in told(reader)]
    assert sorted(number for _, number, _ in said) == list(range(1, 41))
    assert seeds(store) == {digest: seed for digest, _, seed in said}


def test_keeping_what_a_run_lets_go_at_the_same_time_loses_nothing(store, run, uniform, seeds):
    store.begin(run)

    def train(tell):
        mine = open_store(store.folder, who="ada")
        for step in range(40):
            weights = uniform(step % 3).weights
            mine.save("income-1", Checkpoint(weights, TrainingState(step=step)))
        tell("done")

    def keep(tell):
        mine = open_store(store.folder, who="ada")
        for seed in range(40):
            tell(mine.keep("income", uniform(seed % 3)).digest)

    with forked(train) as (_, trained), forked(keep) as (_, kept):
        said, done = told(kept), told(trained)
    assert (len(said), done) == (40, ["done"])
    assert seeds(store).keys() == set(said)
    assert store.last("income-1").state.step == 39


def test_an_interrupted_keep_gives_its_space_back(store, uniform):
    store.keep("income", uniform(1))
    before = sorted(store.folder.glob("blobs/sha256/*"))

    def interrupted(_number: int) -> Record:
        raise KeyboardInterrupt

    draft = Draft(contents.pack_model(uniform(2)), lambda _: 0, interrupted, lambda *_: pytest.fail("registered"))
    with pytest.raises(KeyboardInterrupt):
        writing.commit(store._site, draft)
    assert sorted(store.folder.glob("blobs/sha256/*")) == before
    assert list(store.folder.glob("incoming/*")) == []
