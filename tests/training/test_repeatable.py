"""What trains on a GPU ends in the same bits every time, and torch is left as it was."""

import os
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import nn

from engram.records import Task
from engram.records.pipeline import TrainSection
from engram.training.feed import MemoryFeed
from engram.training.loop import Calls, Training
from engram.training.repeatable import repeatable
from engram.training.settle import settle

TASK = Task("multiclass", "label", ("a", "b", "c"))


def learned(device: str) -> dict[str, torch.Tensor]:
    """The weights of a network of convolutions, whose gradients a GPU's fastest kernels sum in any order."""
    draw = np.random.default_rng(0)
    feed = MemoryFeed(draw.normal(size=(512, 3, 16, 16)).astype("f4"), draw.integers(0, 3, 512), device)
    torch.manual_seed(0)
    convolved = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3))
    network = nn.Sequential(convolved, nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(3))
    network(torch.zeros(2, 3, 16, 16))
    section, _ = settle(
        TrainSection(epochs=3, batch=32, device=device, threads=1, precision="float32"), TASK, rows=512, pictures=True
    )
    run = Training(network, {"train": feed}, task=TASK, section=section, calls=Calls())
    run.run()
    return run.network.state_dict()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_two_trainings_on_a_gpu_end_in_the_same_bits():
    one, other = learned("cuda"), learned("cuda")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_torch_repeats_inside_and_is_as_it_was_outside(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    torch.use_deterministic_algorithms(mode=False)
    with suppress(KeyboardInterrupt), repeatable(torch.device("cuda")):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        raise KeyboardInterrupt
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark


def test_on_a_processor_nothing_is_changed():
    with repeatable(torch.device("cpu")):
        assert not torch.are_deterministic_algorithms_enabled()
