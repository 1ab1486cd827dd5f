"""Schedules against theory, optimizers against torch's."""

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from engram.errors import UnknownName, UsageError
from engram.training.optimizers import OPTIMIZERS, SCHEDULES, optimizer_for, rate_for


def theirs(scheduler, steps: int) -> list[float]:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    made = scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return rates


def test_cosine_is_torchs():
    ours = rate_for({"name": "cosine"}, steps=40, epoch=10)
    assert [ours.at(step) for step in range(40)] == pytest.approx(theirs(lambda o: CosineAnnealingLR(o, 40), 40))


def test_step_is_torchs():
    ours = rate_for({"name": "step", "every": 2, "factor": 0.5}, steps=60, epoch=10)
    assert [ours.at(step) for step in range(60)] == pytest.approx(theirs(lambda o: StepLR(o, 20, 0.5), 60))


def test_one_cycle_rises_to_one_and_falls_to_nearly_nothing():
    rates = [rate_for({"name": "onecycle"}, steps=100, epoch=10).at(step) for step in range(100)]
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in {24, 25}
    assert rates[0] < 0.1
    assert rates[-1] < 0.005


def test_warm_up_rises_and_ends_where_it_should():
    rates = [rate_for({"name": "constant", "warmup": 0.5}, steps=10, epoch=5).at(step) for step in range(10)]
    assert rates[:5] == sorted(rates[:5])
    assert rates[4:] == [1.0] * 6


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_spares_vectors_from_decay(name):
    optimizer = optimizer_for({"name": name, "weight_decay": 0.5}, nn.Linear(3, 2))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_no_schedule_ever_leaves_the_range_from_0_to_1(name):
    rate = rate_for({"name": name}, steps=37, epoch=5)
    assert all(0 <= rate.at(step) <= 1 for step in range(40))


def test_wrong_names_keys_and_values_are_refused():
    with pytest.raises(UnknownName, match="did you mean 'adam'"):
        optimizer_for({"name": "adamx"}, nn.Linear(2, 1))
    with pytest.raises(UnknownName, match="no key 'learning_rate'"):
        optimizer_for({"name": "sgd", "learning_rate": 0.1}, nn.Linear(2, 1))
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="refused"):
            optimizer_for({"lr": rate}, nn.Linear(2, 1))
    with pytest.raises(UnknownName, match="did you mean 'cosine'"):
        rate_for({"name": "cosin"}, steps=1, epoch=1)
