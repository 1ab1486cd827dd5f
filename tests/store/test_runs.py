import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from engram.errors import StoreError, UnknownName, UsageError, VersionNotFound
from engram.records import Checkpoint, TrainingState
from engram.store import manifests


def at(step, model, **changed):
    state = TrainingState(
        epoch=step // 10,
        step=step,
        slots={"exp_avg/dense.weight": np.full((600, 500), step, np.float32)},
        random={"torch": np.full(5_056, step % 256, np.uint8)},
        history=({"epoch": step // 10, "validation.loss": 1 / (step + 1), "note": "text"},),
        **changed,
    )
    return Checkpoint(model.weights, state)


def test_a_run_is_written_down_and_ended(store, run):
    store.begin(run)
    assert store.run("income-1") == run
    ended = store.finish("income-1", "kept", "sha256:" + "a" * 64)
    assert store.run("income-1") == ended == replace(run, status="kept", version="sha256:" + "a" * 64)


def test_runs_are_listed_newest_first(store, run):
    store.begin(run)
    store.begin(replace(run, id="income-2", started=datetime(2026, 5, 2, tzinfo=UTC)))
    assert [one.id for one in store.runs()] == ["income-2", "income-1"]


def test_a_checkpoint_comes_back_bit_for_bit(store, run, network):
    store.begin(run)
    model = network()
    given = at(25, model, best=model.weights, average={"scale": np.array(math.nan)}, optimizer={"lr": 0.1 + 0.2})
    saved = store.save("income-1", given, best=True)
    found = store.last("income-1")
    for group in ("slots", "random", "best", "average"):
        kept, wanted = getattr(found.state, group), getattr(given.state, group)
        assert {n: (a.dtype, a.shape, a.tobytes()) for n, a in kept.items()} == {
            n: (a.dtype, a.shape, a.tobytes()) for n, a in wanted.items()
        }
    np.testing.assert_array_equal(found.weights["dense.weight"], model.weights["dense.weight"])
    assert found.state.optimizer == {"lr": 0.1 + 0.2}
    assert found.state.history == given.state.history
    assert (saved.step, saved.epoch, saved.best) == (25, 2, True)
    assert saved.metrics == {"epoch": 2, "validation.loss": 1 / 26}
    assert store.run("income-1").step == 25


def test_the_last_two_and_the_best_are_held_and_the_rest_gives_its_space_back(store, run, network):
    store.begin(run)
    for step in range(10):
        store.save("income-1", at(step, network(step)), best=step in {2, 5})
    assert [(one.step, one.best) for one in store.checkpoints("income-1")] == [(9, False), (8, False), (5, True)]
    assert [store.read(one).state.step for one in store.checkpoints("income-1")] == [9, 8, 5]
    stored = sum(path.stat().st_size for path in store.folder.glob("blobs/sha256/*"))
    assert stored == sum(one.size for one in store.checkpoints("income-1")) - shared(store)


def test_the_words_of_the_run_say_what_is_held(store, run, network):
    store.begin(replace(run, hold="last 1, best, every 4th"))
    for step in range(10, 20):
        saved = store.save("income-1", at(step, network()), best=step == 12)
        assert saved.number == step - 9
    held = store.checkpoints("income-1")
    assert [(one.step, one.number, one.best) for one in held] == [
        (19, 10, False),
        (17, 8, False),
        (13, 4, False),
        (12, 3, True),
    ]
    assert [store.read(one).state.step for one in held] == [19, 17, 13, 12]


def test_a_run_with_other_words_than_those_of_retention_does_not_begin(store, run):
    with pytest.raises(UnknownName, match="'evry 4th' is no rule; did you mean 'every 10th'"):
        store.begin(replace(run, hold="evry 4th"))


def test_what_is_remembered_of_a_run_comes_from_its_last_checkpoint_or_its_version(store, run, network):
    store.begin(run)
    assert store.remembered("income-1") == TrainingState()
    store.save("income-1", at(5, network()))
    found = store.remembered("income-1")
    assert (found.step, found.history) == (5, at(5, network()).state.history)
    assert not found.slots
    version = store.keep("income", network(), state=at(9, network()).state)
    store.finish("income-1", "kept", version.digest)
    assert store.remembered("income-1").step == 9


def shared(store):
    """Bytes that more than one of the checkpoints counts as its own."""
    sizes = [manifests.read(store._place, one.digest).blobs for one in store.checkpoints("income-1")]
    counted = [digest for blobs in sizes for digest in blobs]
    every = {digest: size for blobs in sizes for digest, size in blobs.items()}
    return sum(size * (counted.count(digest) - 1) for digest, size in every.items())


def test_a_version_keeps_the_blobs_of_a_checkpoint_that_is_let_go(store, run, network):
    store.begin(run)
    store.save("income-1", at(0, network(0)))
    store.keep("income", network(0))
    for step in range(1, 4):
        store.save("income-1", at(step, network(step)))
    np.testing.assert_array_equal(
        store.load("income", verify=True).weights["dense.weight"], network(0).weights["dense.weight"]
    )


def test_a_version_made_of_the_best_weights_shares_them_with_the_checkpoint(store, run, network):
    store.begin(run)
    best = network(1)
    store.save("income-1", at(9, network(2), best=best.weights))
    before = set(store.folder.glob("blobs/sha256/*"))
    store.keep("income", best)
    assert all(path.stat().st_size < 10_000 for path in set(store.folder.glob("blobs/sha256/*")) - before)


def test_two_checkpoints_at_one_step_are_two_and_the_later_is_the_last(store, run, network):
    store.begin(run)
    store.save("income-1", at(5, network(0)))
    store.save("income-1", at(5, network(0), position=3))
    assert store.last("income-1").state.position == 3
    assert len(store.checkpoints("income-1")) == 2


def test_the_same_checkpoint_at_the_same_moment_is_another_by_its_number(store, run, network):
    store.begin(run)
    store._clock = lambda: datetime(2026, 5, 1, tzinfo=UTC)
    for _ in range(4):
        store.save("income-1", at(5, network(0)))
    assert [(one.step, one.number) for one in store.checkpoints("income-1")] == [(5, 4), (5, 3)]
    assert store.last("income-1").state.step == 5


def test_a_learning_rate_that_is_a_numpy_scalar_is_caught_when_saved(store, run, network):
    store.begin(run)
    before = set(store.folder.glob("blobs/sha256/*"))
    with pytest.raises(UsageError, match=r"training state\.optimizer\.lr is a numpy\.float32"):
        store.save("income-1", at(1, network(), optimizer={"lr": np.float32(0.1)}))
    assert set(store.folder.glob("blobs/sha256/*")) == before
    assert store.checkpoints("income-1") == []


def test_a_damaged_checkpoint_is_an_error_and_no_older_one_is_taken_instead(store, run, network):
    store.begin(run)
    for step in range(2):
        store.save("income-1", at(step, network(step)))
    for path in store.folder.glob("blobs/sha256/*"):
        content = bytearray(path.read_bytes())
        if len(content) > 1_000_000:
            content[-1] ^= 1
            path.write_bytes(content)
    with pytest.raises(StoreError, match=r"checkpoint income-1 at step 1 .*is damaged"):
        store.last("income-1")


@pytest.mark.parametrize(
    ("do", "error", "why"),
    [
        (
            lambda store, _: store.run("income-2"),
            VersionNotFound,
            r"no run is called 'income-2'; did you mean 'income-1'",
        ),
        (lambda store, _: store.checkpoints("x"), VersionNotFound, "no run is called 'x'"),
        (lambda store, _: store.finish("x", "kept"), VersionNotFound, "no run is called 'x'"),
        (lambda store, _: store.last("income-1"), VersionNotFound, "run income-1 has no checkpoint yet"),
        (lambda store, run: store.begin(run), UsageError, "'income-1' is already in the store"),
        (lambda store, run: store.begin(replace(run, id="../x")), UsageError, "run '../x' cannot be used"),
        (lambda store, run: store.begin(replace(run, id="b", status="done")), UsageError, "a run cannot be 'done'"),
        (
            lambda store, _: store.finish("income-1", "done"),
            UsageError,
            "one of running, stopped, failed, refused, kept",
        ),
    ],
)
def test_what_is_wrong_with_a_run_is_said(store, run, do, error, why):
    store.begin(run)
    with pytest.raises(error, match=why):
        do(store, run)
