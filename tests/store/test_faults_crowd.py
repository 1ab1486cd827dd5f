"""Writers, readers and sweeps at once, each in a process of its own: nothing is lost, and every load is right.

Their clocks may be years apart, as those of machines that share a folder may be.
"""

import os
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engram.errors import VersionNotFound
from engram.records import Checkpoint, Model, Run, TrainingState
from engram.store.store import Store
from engram.store.store import open as open_store
from faults.forks import forked, told
from faults.works import SIGNATURE

pytest_plugins = ["faults.fixtures"]

MOMENT = datetime(2026, 5, 1, tzinfo=UTC)
YEARS = [timedelta(days=days) for days in (0, -3000, 3000, 40, -2)]
SEEDS = 12  # few, so that writers share blobs, and let go of what others are about to need


def model(seed: int) -> Model:
    layers = {f"layer{n}.weight": np.full(3_000, seed, np.float32) for n in range(3)}
    return Model(f"graph {seed}".encode(), layers, SIGNATURE)


def opened(folder: Path, shift: timedelta) -> Store:
    return open_store(folder, who="ada", clock=lambda: datetime.now(UTC) + shift)


def whole(weights: dict[str, np.ndarray]) -> int:
    values = {float(value) for array in weights.values() for value in np.unique(array)}
    assert len(values) == 1, f"a mixture of {values}"
    return int(values.pop())


def write(tell: Callable[[object], None], folder: Path, number: int, shift: timedelta, goes_on: Callable[[int], bool]):
    """Keep, move an alias, and save checkpoints of a run of one's own."""
    chance, mine, done = random.Random(number), opened(folder, shift), 0
    mine.begin(Run(f"run-{number}", "income", MOMENT, "running", "[data]\n", "[lock]\n", "/home/ada"))
    while goes_on(done):
        seed = chance.randrange(SEEDS)
        version = mine.keep("income" if number % 2 else "house", model(seed))
        tell(["kept", version.digest, version.reference, seed])
        step = done + 1
        state = TrainingState(step=step, slots={"exp_avg/layer": np.full(2_000, seed, np.float32)})
        mine.save(f"run-{number}", Checkpoint(model(seed).weights, state), best=chance.random() < 0.2)
        tell(["saved", f"run-{number}", step])
        if done % 3 == 0:
            mine.alias(f"{version.name}@alias-{number}", version.digest, why="newest")
            tell(["moved", f"{version.name}@alias-{number}", version.digest])
        done += 1


def read(tell: Callable[[object], None], folder: Path, number: int, shift: timedelta, end: Path):
    """Load what is there, again and again."""
    chance, mine, loads = random.Random(number), opened(folder, shift), 0
    while not end.exists() or not loads:
        try:
            versions = mine.versions()
        except VersionNotFound:
            continue
        for version in chance.sample(versions, min(len(versions), 5)):
            whole(mine.load(version.digest, verify=True).weights)
            loads += 1
    tell(loads)


def sweep(tell: Callable[[object], None], folder: Path, shift: timedelta, end: Path):
    """Free what nobody needs, leaving nobody any time."""
    mine, sweeps = opened(folder, shift), 0
    while not end.exists():
        mine.sweep(grace=timedelta(0))
        sweeps += 1
    tell(sweeps)


def busy(ground, shifts: list[timedelta], sizes: tuple[int, int], goes_on: Callable[[int], bool]) -> None:
    """So many writers and readers, and a sweep; afterwards all that was acknowledged is there."""
    folder, end = ground.fresh(), ground.folder / "end"
    end.unlink(missing_ok=True)
    opened(folder, timedelta(0)).keep("income", model(0))
    writers, readers = sizes
    with ExitStack() as stack:
        at_work = [
            stack.enter_context(
                forked(partial(write, folder=folder, number=n, shift=shifts[n % len(shifts)], goes_on=goes_on))
            )
            for n in range(writers)
        ]
        others = [
            stack.enter_context(forked(partial(read, folder=folder, number=n, shift=shifts[n % len(shifts)], end=end)))
            for n in range(readers)
        ]
        others += [
            stack.enter_context(forked(partial(sweep, folder=folder, shift=shift, end=end))) for shift in shifts[:2]
        ]
        said = [entry for _, pipe in at_work for entry in told(pipe)]
        end.touch()
        counts = [told(pipe) for _, pipe in others]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, _ in [*at_work, *others]]
    assert codes == [0] * len(codes)
    assert all(count > 0 for (count,) in counts)
    agreed(opened(folder, timedelta(0)), said)


def agreed(store: Store, said: list[list[object]]) -> None:
    """All that writers were told is so."""
    kept = [entry[1:] for entry in said if entry[0] == "kept"]
    assert len({reference for _, reference, _ in kept}) == len(kept)
    for digest, reference, seed in kept:
        assert store.version(reference).digest == digest
        assert whole(store.load(digest, verify=True).weights) == seed
    moved = {path: digest for word, path, digest, *_ in said if word == "moved"}
    assert store.aliases() == moved
    last = {run: step for word, run, step, *_ in said if word == "saved"}
    for run, step in last.items():
        held = store.checkpoints(run)
        assert held[0].step == step
        for saved in held:
            whole(dict(store.read(saved).weights))
    assert store.verify() == []
    store.sweep(grace=timedelta(0))
    assert store.verify() == []


def a_number(most: int) -> Callable[[int], bool]:
    return lambda done: done < most


def a_minute() -> Callable[[int], bool]:
    end = time.monotonic() + 60
    return lambda _done: time.monotonic() < end


@pytest.mark.parametrize("shifts", [YEARS[:1], YEARS], ids=["one clock", "clocks years apart"])
def test_a_few_writers_readers_and_sweeps_lose_nothing(ground, shifts):
    busy(ground, shifts, (6, 3), a_number(5))


@pytest.mark.long
@pytest.mark.parametrize("shifts", [YEARS[:1], YEARS], ids=["one clock", "clocks years apart"])
def test_sixteen_writers_eight_readers_and_sweeps_lose_nothing_in_a_minute(ground, shifts):
    busy(ground, shifts, (16, 8), a_minute())
