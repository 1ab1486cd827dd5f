"""Killed, full, forbidden, crowded: what was acknowledged stays, and what was not is not there.

Writers are real processes, made by fork so that killing twenty of them takes seconds.
"""

import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from engram.errors import StoreError
from engram.records import Checkpoint, Model, TrainingState
from engram.store.store import Store
from engram.store.store import open as open_store

WEIGHTS = 250_000


def network(network_made: Model, seed: int) -> Model:
    """A network whose every weight is its seed, so that a mixture of two would show."""
    same = {f"layer{n}.weight": np.full(WEIGHTS, seed, np.float32) for n in range(4)}
    return Model(network_made.graph, {**same, "bias": np.full(3, seed)}, network_made.signature)


@contextmanager
def forked(work: Callable[[Callable[[object], None]], None]) -> Iterator[tuple[int, int]]:
    """A process that does the work; what it tells comes as lines of JSON through the pipe."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            work(lambda said: os.write(writer, json.dumps(said).encode() + b"\n") and None)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    try:
        yield child, reader
    finally:
        os.close(reader)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def told(reader: int) -> list[object]:
    """All that a process has told when it is gone."""
    content = b""
    while piece := os.read(reader, 65_536):
        content += piece
    return [json.loads(line) for line in content.decode().splitlines()]


def one(work: Callable[[Callable[[object], None]], None]) -> list[object]:
    """What a process told that was left alone."""
    with forked(work) as (_, reader):
        return told(reader)


def check(store: Store) -> dict[str, int]:
    """Every version is whole and of one seed; digest → seed."""
    found = {}
    for version in store.versions():
        weights = store.load(version.digest, verify=True).weights
        seeds = {float(value) for array in weights.values() for value in np.unique(array)}
        assert len(seeds) == 1, f"{version.reference} is a mixture of {seeds}"
        found[version.digest] = int(seeds.pop())
    numbers = [version.number for version in store.versions("income")]
    assert len(numbers) == len(set(numbers))
    listed = json.loads((store.folder / "index.json").read_bytes())["manifests"]
    assert all((store.folder / "blobs" / "sha256" / m["digest"].removeprefix("sha256:")).exists() for m in listed)
    return found


def test_a_keep_that_is_killed_leaves_the_old_state_or_the_new_one(store, network_of_zeros):
    chance = random.Random(20_261)
    store.keep("income", network(network_of_zeros, 0))
    for attempt in range(20):

        def work(tell, first=attempt * 1_000 + 1):
            mine = open_store(store.folder, who="ada")
            tell(["ready"])
            for seed in range(first, first + 1_000):
                tell([mine.keep("income", network(network_of_zeros, seed)).digest, seed])

        with forked(work) as (child, reader):
            os.read(reader, len(b'["ready"]\n'))
            select.select([], [], [], chance.uniform(0, 0.15))
            os.kill(child, signal.SIGKILL)
            acknowledged = told(reader)
        found = check(store)
        for digest, seed in acknowledged:
            assert found[digest] == seed
    leftover = sum(path.stat().st_size for path in store.folder.glob("incoming/*"))
    assert leftover <= 20 * 4 * 4 * WEIGHTS  # what each of the killed was writing, and nothing among the blobs


def test_a_run_that_is_killed_goes_on_from_what_it_last_saved(store, run, network_of_zeros):
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
                mine.checkpoint(
                    "income-1", Checkpoint(network(network_of_zeros, step).weights, state), best=step % 5 == 0
                )
                tell(step)

        with forked(work) as (child, reader):
            os.read(reader, len(b'["ready"]\n'))
            select.select([], [], [], chance.uniform(0, 0.15))
            os.kill(child, signal.SIGKILL)
            acknowledged = told(reader)
        held = store.checkpoints("income-1")
        assert len(held) <= 3
        for saved in held:
            found = store.restore(saved)
            arrays = [*found.weights.values(), *found.state.slots.values()]
            assert {float(value) for array in arrays for value in np.unique(array)} == {saved.step}
        last = max([last, *acknowledged])
        assert not held or held[0].step in {last, last + 1}
        last = held[0].step if held else 0


def test_four_writers_lose_nothing_and_share_no_number(store, network_of_zeros):
    def work(tell, first):
        mine = open_store(store.folder, who="ada")
        for seed in range(first, first + 10):
            version = mine.keep("income", network(network_of_zeros, seed))
            tell([version.digest, version.number, seed])

    with forked(lambda tell: work(tell, 100)) as (_, a), forked(lambda tell: work(tell, 200)) as (_, b):
        with forked(lambda tell: work(tell, 300)) as (_, c), forked(lambda tell: work(tell, 400)) as (_, d):
            said = [entry for reader in (a, b, c, d) for entry in told(reader)]
    assert sorted(number for _, number, _ in said) == list(range(1, 41))
    assert check(store) == {digest: seed for digest, _, seed in said}


def test_keeping_what_a_run_lets_go_at_the_same_time_loses_nothing(store, run, network_of_zeros):
    store.begin(run)

    def train(tell):
        mine = open_store(store.folder, who="ada")
        for step in range(40):
            weights = network(network_of_zeros, step % 3).weights
            mine.checkpoint("income-1", Checkpoint(weights, TrainingState(step=step)))
        tell("done")

    def keep(tell):
        mine = open_store(store.folder, who="ada")
        for seed in range(40):
            tell(mine.keep("income", network(network_of_zeros, seed % 3)).digest)

    with forked(train) as (_, trained), forked(keep) as (_, kept):
        said, done = told(kept), told(trained)
    assert (len(said), done) == (40, ["done"])
    assert check(store).keys() == set(said)
    assert store.last("income-1").state.step == 39


@pytest.fixture
def network_of_zeros(network) -> Model:
    return network(0)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"only root can make a small file system: {made.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_an_error_and_the_store_is_as_it_was(small_disk, network_of_zeros):
    store = open_store(small_disk / "engrams", who="ada")
    store.keep("income", network(network_of_zeros, 1))
    refused = 0
    for room in range(0, 4_400_000, 200_000):
        before = {path.name for path in store.folder.glob("blobs/sha256/*")}
        versions = store.versions()
        free = shutil.disk_usage(small_disk).free
        filler = small_disk / "filler"
        filler.write_bytes(bytes(max(free - room, 0)))
        try:
            store.keep("income", network(network_of_zeros, 2 + room))
        except StoreError as full:
            refused += 1
            assert "no space left" in str(full) or "full" in str(full)
            assert store.versions() == versions
            assert {path.name for path in store.folder.glob("blobs/sha256/*")} == before
            assert list(store.folder.glob("incoming/*")) == []
        filler.unlink()
        check(store)
    assert 0 < refused < 22
    assert store.keep("income", network(network_of_zeros, 2)).name == "income"


def test_a_limit_on_file_sizes_is_an_error_that_names_the_file(store, network_of_zeros):
    store.keep("income", network(network_of_zeros, 1))
    before = sorted(path for path in store.folder.rglob("*") if path.is_file() and "catalog" not in path.name)

    def work(tell):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
        try:
            open_store(store.folder, who="ada").keep("income", network(network_of_zeros, 2))
        except StoreError as refused:
            tell(str(refused))

    (sentence,) = one(work)
    assert "blobs/sha256/" in sentence
    assert "file too large; raise the limit on file sizes" in sentence
    after = sorted(path for path in store.folder.rglob("*") if path.is_file() and "catalog" not in path.name)
    assert after == before
    assert len(check(store)) == 1


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, to whom nothing is forbidden."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_named(store, network_of_zeros, tmp_path):
    store.keep("income", network(network_of_zeros, 1))
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.owner() != "root" or folder.stat().st_mode & 0o005 != 0o005:
            with suppress(PermissionError):
                folder.chmod(folder.stat().st_mode | 0o005)
    for path in [store.folder, *store.folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    with as_nobody():
        again = open_store(store.folder, who="ada")
        with pytest.raises(StoreError, match="ask for the right to"):
            again.keep("income", network(network_of_zeros, 2))
        with pytest.raises(StoreError, match=f"cannot make {tmp_path}/nowhere: permission denied; ask for the right"):
            open_store(tmp_path / "nowhere", who="ada").keep("income", network(network_of_zeros, 2))


@pytest.mark.parametrize("where", ["a file", "a file/below"])
def test_a_place_that_is_a_file_is_named(tmp_path, network_of_zeros, where):
    (tmp_path / "a file").write_text("not a folder")
    with pytest.raises(StoreError, match=r"cannot make .*a file.*; choose a folder with --store"):
        open_store(tmp_path / where, who="ada").keep("income", network(network_of_zeros, 2))
    assert (tmp_path / "a file").read_text() == "not a folder"


def test_an_interrupted_keep_gives_its_space_back(store, network_of_zeros):
    store.keep("income", network(network_of_zeros, 1))
    before = sorted(store.folder.glob("blobs/sha256/*"))

    def interrupted() -> None:
        raise KeyboardInterrupt

    store._clock, clock = store._clock, store._clock
    draft_time = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        store._indexed = lambda draft: type(draft)(draft.files, lambda: interrupted(), draft.register)
        store.keep("income", network(network_of_zeros, 2))
    assert draft_time
    assert clock
    assert sorted(store.folder.glob("blobs/sha256/*")) == before
    assert list(store.folder.glob("incoming/*")) == []
