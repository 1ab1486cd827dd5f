"""What is found when ``[train]`` says nothing, and what is refused."""

from dataclasses import fields, replace

import pytest
import torch
from torch import nn

from engram.errors import UnknownName, UsageError
from engram.records import Task
from engram.records.pipeline import TrainSection
from engram.training.settle import faster, settle

BINARY, MANY, NUMBER = (
    Task("binary", "y", ("a", "b")),
    Task("multiclass", "y", ("a", "b", "c")),
    Task("regression", "y"),
)


def test_nothing_is_left_open_and_everything_found_has_a_reason():
    settled, reasons = settle(TrainSection(), BINARY, rows=1000, pictures=False)
    network = nn.Linear(4, 1)
    settled, more = faster(settled, network, (8, 4))
    found = {f.name for f in fields(TrainSection) if getattr(TrainSection(), f.name) != getattr(settled, f.name)}
    assert {place.removeprefix("train.") for place in reasons | more} >= found
    assert None not in [getattr(settled, f.name) for f in fields(settled)]
    assert all(reasons.values())


@pytest.mark.parametrize(("task", "loss"), [(BINARY, "binary_cross_entropy"), (MANY, "cross_entropy"), (NUMBER, "mse")])
def test_the_target_decides_the_loss(task, loss):
    assert settle(TrainSection(), task, rows=10, pictures=False)[0].loss == loss


def test_what_is_said_is_kept():
    said = TrainSection(epochs=3, batch=7, loss="huber", threads=1, precision="float32", ema=0.5)
    settled, reasons = settle(said, NUMBER, rows=10, pictures=False)
    assert (settled.epochs, settled.batch, settled.loss, settled.ema) == (3, 7, "huber", 0.5)
    assert faster(settled, nn.Linear(2, 1), (4, 2)) == (settled, {})
    assert not {"train.epochs", "train.batch", "train.loss"} & reasons.keys()


@pytest.mark.parametrize("rows", [1, 10, 100, 10_000, 10_000_000])
@pytest.mark.parametrize("pictures", [True, False])
def test_any_number_of_rows_gets_sensible_numbers(rows, pictures):
    settled, _ = settle(TrainSection(), BINARY, rows=rows, pictures=pictures)
    assert 10 <= settled.epochs <= 100
    assert 16 <= settled.batch <= 256


@pytest.mark.parametrize(
    ("section", "says"),
    [
        (TrainSection(loss="mse"), "does not fit a binary target"),
        (TrainSection(loss="hube"), "did you mean 'huber'"),
        (TrainSection(precision="float16"), "precision 'float16' does not exist"),
        (TrainSection(device="gpu"), "device 'gpu' does not exist"),
    ],
)
def test_what_does_not_fit_is_refused(section, says):
    with pytest.raises((UnknownName, UsageError)) as refused:
        settle(section, BINARY, rows=10, pictures=False)
    assert says in str(refused.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="torch sees no GPU"):
        settle(TrainSection(device="cuda"), BINARY, rows=10, pictures=False)


def test_the_trial_leaves_network_generator_and_threads_as_they_were():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(1))
    network(torch.zeros(2, 3, 8, 8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    settled, _ = settle(TrainSection(), BINARY, rows=10, pictures=True)
    faster(replace(settled, precision=""), network, (4, 3, 8, 8))
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
