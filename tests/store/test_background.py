"""Checkpoints written behind the back of a training, held against those written in front of it."""

import os
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest

from engram.errors import StoreError, UsageError
from engram.records import Checkpoint, TrainingState
from engram.store.training import priority
from engram.store.training.background import Buffers, Saver


def state(**arrays):
    return Checkpoint({"w": np.arange(6.0)}, TrainingState(step=1, **arrays))


def arrays_of(checkpoint):
    groups = (checkpoint.weights, *(getattr(checkpoint.state, name) for name in ("slots", "average", "random", "best")))
    return [array for group in groups for array in group.values()]


ODD = {
    "large": np.arange(3_000_000, dtype=np.float32),
    "empty": np.zeros((0, 3)),
    "single": np.array(2.5),
    "turned": np.arange(2_000_000, dtype=np.float64).reshape(1000, 2000).T,
    "every other": np.arange(20, dtype=np.int16)[::2],
    "brain": np.arange(100).astype(ml_dtypes.bfloat16),
    "turned brain": np.arange(100).astype(ml_dtypes.bfloat16).reshape(10, 10).T,
    "bools": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "swapped": np.arange(4, dtype=">f4"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_snapshot_is_the_array_and_stays_as_it_was(name):
    given = ODD[name].copy(order="K")
    taken = Buffers().snapshot(Checkpoint({"w": given}, TrainingState(slots={"s": given})))
    before = given.tobytes()
    given[...] = 0
    assert taken.weights["w"].tobytes() == taken.state.slots["s"].tobytes() == before
    assert taken.weights["w"].dtype == given.dtype


def test_memory_is_taken_once():
    buffers = Buffers()
    first = arrays_of(buffers.snapshot(state(slots={"s": np.ones(5)}, best={"w": np.zeros(6)})))
    again = arrays_of(buffers.snapshot(state(slots={"s": np.full(5, 2.0)}, best={"w": np.ones(6)})))
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert again[1][0] == 2.0


def test_another_shape_gets_other_memory():
    buffers = Buffers()
    buffers.snapshot(Checkpoint({"w": np.ones(5)}, TrainingState()))
    taken = buffers.snapshot(Checkpoint({"w": np.ones(7), "v": np.ones(2, np.int8)}, TrainingState()))
    assert {name: array.shape for name, array in taken.weights.items()} == {"w": (7,), "v": (2,)}


def test_what_is_read_only_is_taken_as_it_is():
    fixed = np.ones(5)
    fixed.flags.writeable = False
    assert Buffers().snapshot(Checkpoint({"w": fixed}, TrainingState())).weights["w"] is fixed


def test_one_array_under_two_names_is_copied_once():
    shared = np.ones(5)
    taken = Buffers().snapshot(Checkpoint({"a": shared, "b": shared}, TrainingState())).weights
    assert taken["a"] is taken["b"]
    assert taken["a"] is not shared


def test_what_is_saved_is_the_moment_of_saving(store, run):
    store.begin(run)
    weights = np.zeros(300_000, np.float32)
    with store.saving(run) as saver:
        for step in range(1, 6):
            weights[:] = step
            saver.save(Checkpoint({"w": weights}, TrainingState(step=step)), best=step == 2)
            weights[:] = -1
    found = {saved.step: store.read(saved).weights["w"] for saved in store.checkpoints(run.id)}
    assert sorted(found) == [2, 4, 5]
    assert all((array == step).all() for step, array in found.items())


def test_saving_does_not_wait_for_the_writing():
    begun, go_on, written = threading.Event(), threading.Event(), []

    def write(step):
        begun.set()
        assert go_on.wait(60)
        written.append(step)

    with Saver(lambda checkpoint, _best: checkpoint.state.step, write) as saver:
        saver.save(state())
        assert begun.wait(60)
        assert written == []
        go_on.set()
    assert written == [1]


def test_the_next_one_waits_until_the_last_is_written():
    order = []
    with Saver(
        lambda checkpoint, _best: order.append("packed") or checkpoint, lambda _: order.append("written")
    ) as saver:
        for _ in range(4):
            saver.save(state())
    assert order == ["packed", "written"] * 4


def test_what_may_be_done_later_is_done_where_nobody_waits():
    used = threading.Event()
    with Saver(lambda checkpoint, _best: checkpoint, lambda _: None, lambda _left_out: used.set()) as saver:
        saver.save(state())
        assert used.wait(60)


def test_what_may_be_done_later_is_left_out_where_somebody_waits():
    go_on, done = threading.Event(), []
    with Saver(lambda checkpoint, _best: checkpoint, lambda _: go_on.wait(60), done.append) as saver:
        for _ in range(3):
            go_on.clear()
            saver.save(state())
            waiting = threading.Thread(target=saver.wait)
            waiting.start()
            while not saver._awaited:
                pass
            go_on.set()
            waiting.join()
            saver._resting.result()
        assert done == []
        go_on.set()
        saver.save(state())
        saver._resting.result()
    assert done == [3]


def failing(error):
    def write(_packed):
        raise error

    return Saver(lambda checkpoint, _best: checkpoint, write)


def test_a_failure_is_said_once_at_the_next_save():
    saver = failing(StoreError("the disk is full"))
    saver.save(state())
    with pytest.raises(StoreError, match="the disk is full"):
        saver.save(state())
    saver.close()


def test_a_failure_is_said_at_the_end():
    with pytest.raises(StoreError, match="the disk is full"), failing(StoreError("the disk is full")) as saver:
        saver.save(state())


def test_a_failure_behind_another_error_is_said_with_it():
    def train():
        with failing(StoreError("the disk is full")) as saver:
            saver.save(state())
            raise ValueError("the loss is no number")

    with pytest.raises(StoreError, match="the disk is full") as said:
        train()
    assert isinstance(said.value.__context__, ValueError)


def test_what_cannot_be_kept_is_said_at_once(store, run):
    store.begin(run)
    with store.saving(run) as saver:
        saver.save(state())
        with pytest.raises(UsageError, match=r"training state\.optimizer\.lr is a numpy\.float32"):
            saver.save(state(optimizer={"lr": np.float32(1)}))
    assert len(store.checkpoints(run.id)) == 1


def test_older_checkpoints_become_differences_and_read_as_before(store, run):
    store.begin(run)
    numbers = np.random.default_rng(1)
    weights, seen = numbers.standard_normal(400_000).astype(np.float32), {}
    with store.saving(run) as saver:
        for step in range(1, 4):
            weights += numbers.standard_normal(400_000).astype(np.float32) * 1e-4
            seen[step] = weights.tobytes()
            saver.save(Checkpoint({"w": weights}, TrainingState(step=step)))
            saver._resting.result()  # a training that goes on for a while
    held = store.checkpoints(run.id)
    assert {store.read(saved).weights["w"].tobytes() == seen[saved.step] for saved in held} == {True}
    assert store.differences(run.id) == {held[1].digest}


PROGRAM = """\
import sys, numpy as np
from datetime import UTC, datetime
from engram.records import Checkpoint, Run, TrainingState
from engram.store.store import open

store = open("engrams", who="ada")
run = Run("a-1", "a", datetime.now(UTC), "running", "", "", "")
store.begin(run)
saver = store.saving(run)
saver.save(Checkpoint({f"w{n}": np.full(300_000, n, np.float32) for n in range(20)}, TrainingState(step=7)))
"""


def test_a_program_that_just_ends_has_its_last_checkpoint_written(tmp_path):
    ran = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not ran.stderr
    from engram.store.store import open as open_store

    store = open_store(tmp_path / "engrams", who="ada")
    assert store.last("a-1").state.step == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
def test_who_gives_way_gives_way_alone():
    before, seen = os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), []
    priority.apart(lambda: seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    assert seen[0] > before or before == 19
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
    with pytest.raises(ZeroDivisionError):
        priority.apart(lambda: 1 / 0)


def test_a_saver_that_is_closed_says_so():
    written = []
    saver = Saver(lambda checkpoint, best: (checkpoint.state.step, best), written.append)
    saver.save(state(), True)
    saver.close()
    with pytest.raises(UsageError, match=r"a saver that is closed; open another with store\.saving"):
        saver.save(state(best={"w": np.zeros(3_000_000)}))
    saver.close()
    assert written == [(1, True)]
