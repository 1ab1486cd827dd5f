"""Training after import: nine networks of PyTorch, exported and rebuilt, against the networks themselves."""

import copy
import json

import numpy as np
import pytest
import torch

from engram.graphs.weights import attach
from engram.runtime import onnxruntime
from engram.runtime import torch as runtime
from engram.store.training import modules
from engram.training import state as states
from networks.torch_networks import CLASSES, NETWORKS, exported

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.05, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, 1e-2),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, 1e-2, weight_decay=0.1),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, 1e-3, momentum=0.5, centered=True),
}


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture
def pair(name):
    """The original, and its likeness from the canonical graph."""
    model = exported(name)
    return NETWORKS[name].made(), runtime.module(model.graph, model.weights)


def outputs(network, rows):
    found = network(*rows)
    return found if isinstance(found, tuple) else (found,)


def loss(network, rows):
    """Cross entropy of what is a class, the square of what is a number."""
    targets = torch.arange(len(rows[0])) % CLASSES
    first, *rest = outputs(network, rows)
    return torch.nn.functional.cross_entropy(first, targets) + sum(one.square().mean() for one in rest)


def step(network, optimizer, rows, seed):
    torch.manual_seed(seed)
    optimizer.zero_grad()
    loss(network.train(), rows).backward()
    optimizer.step()


def test_it_answers_as_the_original_and_as_onnxruntime(name, pair):
    original, likeness = pair
    model, rows = exported(name), NETWORKS[name].rows(7)
    fed = {spec.name: values.numpy() for spec, values in zip(NETWORKS[name].inputs, rows, strict=True)}
    peer = onnxruntime.run(attach(model.graph, model.weights).SerializeToString(), fed)
    mine, theirs = outputs(likeness.eval(), rows), outputs(original.eval(), rows)
    for one, two, three in zip(mine, theirs, peer.values(), strict=True):
        np.testing.assert_allclose(one.detach(), two.detach(), atol=1e-5)
        np.testing.assert_allclose(one.detach(), three, atol=1e-5)


def test_names_and_order_of_parameters_are_the_originals(pair):
    original, likeness = pair
    assert list(likeness.state_dict()) == list(original.state_dict())
    assert [n for n, _ in likeness.named_parameters()] == [n for n, _ in original.named_parameters()]


def test_gradients_statistics_and_dropout_are_those_of_the_original_in_training(name, pair):
    """Under one seed the masks are the same, so that gradients are; running statistics move alike."""
    rows = NETWORKS[name].rows(9)
    for network in pair:
        torch.manual_seed(5)
        loss(network.train(), rows).backward()
    expected = dict(pair[0].named_parameters())
    for key, parameter in pair[1].named_parameters():
        np.testing.assert_allclose(parameter.grad, expected[key].grad, atol=1e-4, err_msg=key)
    buffers = dict(pair[0].named_buffers())
    for key, value in buffers.items():
        np.testing.assert_allclose(pair[1].state_dict()[key], value, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_five_steps_end_where_five_steps_of_the_original_end(name, pair, kind):
    optimizers = [OPTIMIZERS[kind](network.parameters()) for network in pair]
    for number in range(5):
        rows = NETWORKS[name].rows(12, seed=number)
        for network, optimizer in zip(pair, optimizers, strict=True):
            step(network, optimizer, rows, number)
    expected = pair[0].state_dict()
    for key, value in pair[1].state_dict().items():
        # the kernels are the same, so only sums taken in another order differ; Adam divides by what is almost nothing
        np.testing.assert_allclose(value, expected[key], atol=1e-5 if kind == "sgd" else 2e-4, err_msg=key)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", ["cnn", "lstm"], indirect=True)
@pytest.mark.parametrize("way", ["from torch", "to torch"])
def test_an_optimizer_goes_on_in_the_other(name, pair, kind, way):
    """Three steps in one, its state taken over, two steps in both: they end alike."""
    first, second = pair if way == "from torch" else pair[::-1]
    optimizer = OPTIMIZERS[kind](first.parameters())
    for number in range(3):
        step(first, optimizer, NETWORKS[name].rows(12, seed=number), number)
    second.load_state_dict(first.state_dict())
    follower = OPTIMIZERS[kind](second.parameters())
    follower.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for number in (3, 4):
        for network, one in ((first, optimizer), (second, follower)):
            step(network, one, NETWORKS[name].rows(12, seed=number), number)
    expected = first.state_dict()
    for key, value in second.state_dict().items():
        np.testing.assert_allclose(value, expected[key], atol=1e-5 if kind == "sgd" else 2e-4, err_msg=key)


@pytest.mark.parametrize("name", ["cnn", "transformer"], indirect=True)
def test_the_slots_of_a_checkpoint_have_the_same_names_in_both(name, pair):
    """By name and not by number, so that a state survives a change of program."""
    found = []
    for network in pair:
        optimizer = OPTIMIZERS["adam"](network.parameters())
        step(network, optimizer, NETWORKS[name].rows(8), 0)
        kept = modules.checkpoint(modules.Parts(network, optimizer), states_of(0), states.Staging())
        found.append(kept.state)
    assert list(found[0].slots) == list(found[1].slots)
    assert {key.partition("/")[2] for key in found[0].slots} == {key for key, _ in pair[0].named_parameters()}
    for key, value in found[0].slots.items():
        np.testing.assert_allclose(found[1].slots[key], value, atol=1e-4, err_msg=key)
    assert json.dumps(found[0].optimizer, sort_keys=True) == json.dumps(found[1].optimizer, sort_keys=True)


def states_of(number):
    from engram.records import TrainingState

    return TrainingState(step=number)
