"""The loop against what theory and plain torch say."""

import random
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from engram.architectures._parts import Unit
from engram.errors import DataError, Interrupted, UsageError
from engram.records import Checkpoint, Task
from engram.records.pipeline import TrainSection
from engram.training.feed import MemoryFeed, order
from engram.training.loop import Calls, Training
from engram.training.settle import settle
from engram.training.state import seed_all

BINARY = Task("binary", "y", ("no", "yes"))
SECTION = TrainSection(epochs=3, batch=16, optimizer={"name": "adamw", "lr": 1e-2}, ema=0.9, threads=1, device="cpu",
                       precision="float32", checkpoint={"steps": 5})  # fmt: skip


def table(rows: int = 150, seed: int = 0) -> MemoryFeed:
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(rows, 6)).astype(np.float32)
    return MemoryFeed(inputs, (inputs[:, 0] * inputs[:, 1] > 0).astype(np.int64))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))


def training(section: TrainSection = SECTION, calls: Calls | None = None, task: Task = BINARY, **feeds) -> Training:
    settled, _ = settle(section, task, rows=150, pictures=False)
    feeds = feeds or {"train": table(), "validation": table(60, 1)}
    return Training(
        network(), feeds, task=task, section=replace(settled, precision="float32", threads=1), calls=calls or Calls()
    )


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k], equal_nan=True) for k in one)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_a_run_resumed_from_any_checkpoint_ends_in_the_same_bits(optimizer):
    section = replace(SECTION, optimizer={"name": optimizer, "lr": 1e-2})
    saved: list[Checkpoint] = []
    whole = training(section, Calls(save=lambda checkpoint, _: saved.append(deepcopy(checkpoint))))
    end = whole.run()
    assert len(saved) > 5
    for checkpoint in saved:
        torch.manual_seed(99)
        again = training(section)
        again.resume(checkpoint)
        state = again.run()
        assert same(states_of(again), states_of(whole))
        assert same(dict(state.slots), dict(end.slots))
        assert same(dict(state.average), dict(end.average))
        strip = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in state.history]
        assert strip == [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in end.history]


def states_of(run: Training) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in run.network.state_dict().items()}


class Dithers(nn.Module):
    """A layer of somebody's own that draws from every generator there is."""

    def forward(self, values):
        if not self.training:
            return values
        numpys = np.random.random()  # noqa: NPY002 - what such a layer would call
        return values + 0.1 * (random.random() + numpys + torch.rand(()))


def test_a_network_that_draws_from_any_generator_resumes_in_the_same_bits():
    def begin(calls: Calls) -> Training:
        seed_all(0)
        net = nn.Sequential(nn.Linear(6, 8), Dithers(), nn.Linear(8, 1))
        settled, _ = settle(SECTION, BINARY, rows=150, pictures=False)
        section = replace(settled, precision="float32", threads=1)
        return Training(net, {"train": table()}, task=BINARY, section=section, calls=calls)

    saved: list[Checkpoint] = []
    whole = begin(Calls(save=lambda checkpoint, _: saved.append(deepcopy(checkpoint))))
    whole.run()
    for checkpoint in saved[:-1]:
        again = begin(Calls())
        seed_all(99)
        again.resume(checkpoint)
        again.run()
        assert same(states_of(again), states_of(whole))


def test_the_same_steps_as_a_loop_written_by_hand():
    """Plain torch with the same batches gives the same weights, bit for bit."""
    section = replace(SECTION, ema=0.0, epochs=2, optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9},
                      schedule={"name": "constant"})  # fmt: skip
    ours = training(section)
    hand = network()
    ours.run()
    feed = table()
    groups = [{"params": [p for p in hand.parameters() if (p.ndim > 1) == matrix]} for matrix in (True, False)]
    fast = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True, fused=True)
    torch.manual_seed(0)
    hand2 = network()
    hand.load_state_dict(hand2.state_dict())
    best, lowest = {}, float("inf")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for epoch in range(2):
        hand.train()
        for rows in order(150, seed=0, epoch=epoch).split(16):
            inputs, targets = feed.batch(rows)
            fast.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(hand(inputs), targets.float().unsqueeze(1)).backward()
            fast.step()
        hand.eval()
        inputs, targets = table(60, 1).batch(torch.arange(60))
        with torch.no_grad():
            loss = nn.functional.binary_cross_entropy_with_logits(hand(inputs), targets.float().unsqueeze(1)).item()
        if loss < lowest:
            lowest, best = loss, {k: v.clone() for k, v in hand.state_dict().items()}
    torch.set_num_threads(threads)
    assert same(states_of(ours), {name: value.numpy() for name, value in best.items()})


def test_a_halt_saves_a_last_checkpoint_and_says_so():
    saved = []
    steps = iter(range(100))
    run = training(SECTION, Calls(save=lambda c, _: saved.append(c.state.step), halt=lambda: next(steps) >= 3))
    with pytest.raises(Interrupted, match="step 4"):
        run.run()
    assert saved[-1] == 4


def test_early_stopping_waits_as_long_as_it_was_told():
    section = replace(SECTION, epochs=50, stop={"watch": "validation.accuracy", "after": 2}, optimizer={"lr": 1e-12})
    state = training(section).run()
    best = state.stopping["epoch"]
    assert state.epoch == best + 2


def test_a_regression_learns_in_standard_units_and_answers_in_its_own():
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(400, 6)).astype(np.float32)
    targets = (1000 + 50 * inputs[:, 0]).astype(np.float32)
    feed = MemoryFeed(inputs, targets)
    torch.manual_seed(0)
    unit = Unit()
    unit.scale.fill_(50.0)
    unit.offset.fill_(1000.0)
    net = nn.Sequential()
    net.add_module("output", nn.Linear(6, 1))
    net.add_module("unit", unit)
    section = replace(SECTION, epochs=60, ema=0.0, optimizer={"name": "adamw", "lr": 0.05})
    task = Task("regression", "y")
    settled, _ = settle(section, task, rows=400, pictures=False)
    run = Training(
        net,
        {"train": feed, "validation": feed},
        task=task,
        section=replace(settled, precision="float32", threads=1),
        calls=Calls(),
    )
    state = run.run()
    assert state.history[-1]["validation.rmse"] < 1.0
    answers = run.network(torch.from_numpy(inputs)).detach().numpy()[:, 0]
    assert np.sqrt(np.mean((answers - targets) ** 2)) < 1.0


def test_a_loss_that_is_no_number_says_what_to_change():
    section = replace(SECTION, optimizer={"name": "sgd", "lr": 1e30}, ema=0.0)
    with pytest.raises(DataError, match="lower the learning rate"):
        training(section).run()


def test_without_validation_rows_the_training_loss_is_watched():
    state = training(SECTION, None, train=table()).run()
    assert "validation.loss" not in state.history[-1]
    assert state.stopping["epoch"] >= 1


def test_single_rows_are_refused_for_a_network_that_cannot_take_them():
    with pytest.raises(UsageError, match="batch = 1 is refused"):
        training(replace(SECTION, batch=1))


def test_no_training_rows_is_an_error():
    with pytest.raises(UsageError, match="no training rows"):
        training(SECTION, None, train=table(0))


def test_a_last_batch_of_one_row_is_left_out():
    assert training(replace(SECTION, epochs=1), None, train=table(33)).run().step == 2
