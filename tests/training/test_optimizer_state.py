"""An optimizer goes on from what another one knew, or says in one sentence why it cannot."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from engram.errors import ShapeError, UnknownName, UsageError
from engram.records import TrainingState
from engram.training import optimizer_state
from engram.training.state import copies

KINDS = {
    "Adam": lambda learned: torch.optim.Adam(learned, lr=0.02, betas=(0.8, 0.95), eps=1e-5),
    "AdamW": lambda learned: torch.optim.AdamW(learned, lr=0.02, weight_decay=0.1),
    "SGD": lambda learned: torch.optim.SGD(learned, lr=0.1, momentum=0.8, nesterov=True),
    "RMSprop": lambda learned: torch.optim.RMSprop(learned, lr=0.01, centered=True),
    "Adafactor": lambda learned: torch.optim.Adafactor(learned, lr=0.05),
}


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))


def train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    rows = torch.linspace(-1, 1, 24).reshape(6, 4)
    for _ in range(steps):
        optimizer.zero_grad()
        module(rows).square().sum().backward()
        optimizer.step()


def kept(optimizer: torch.optim.Optimizer, module: nn.Module) -> TrainingState:
    slots = copies(optimizer_state.slots(optimizer, module))
    return TrainingState(step=3, optimizer=optimizer_state.facts(optimizer), slots=slots)


@pytest.mark.parametrize("kind", KINDS)
def test_five_steps_after_going_on_are_those_of_one_that_never_stopped(kind):
    straight = network()
    own = KINDS[kind](straight.parameters())
    train(straight, own, 3)
    state, weights = kept(own, straight), {name: value.clone() for name, value in straight.state_dict().items()}
    train(straight, own, 5)
    again = network()
    again.load_state_dict(weights)
    other = getattr(torch.optim, kind)(again.parameters(), lr=9.0)  # whose other settings are torch's, too
    optimizer_state.restore(other, again, state)
    train(again, other, 5)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_one_group_of_settings_serves_several_groups_of_parameters():
    module = network()
    own = KINDS["Adam"](module.parameters())
    train(module, own, 2)
    halves = [{"params": list(layer.parameters())} for layer in (module[0], module[2])]
    optimizer = torch.optim.Adam(halves, lr=1.0)
    optimizer_state.restore(optimizer, module, kept(own, module))
    assert [(group["lr"], group["betas"]) for group in optimizer.param_groups] == [(0.02, (0.8, 0.95))] * 2


def changed(state: TrainingState, **slots: np.ndarray | None) -> TrainingState:
    named = {place.replace("__", "/").replace("_dot_", "."): array for place, array in slots.items()}
    made = {**state.slots, **named}
    return replace(state, slots={place: array for place, array in made.items() if array is not None})


@pytest.mark.parametrize(
    ("spoil", "kind", "reason"),
    [
        (lambda s: changed(s, exp_avg__2_dot_wieght=np.zeros((2, 5), "f4")), UnknownName,
         "'exp_avg/2.wieght' is of no parameter of the network; did you mean '2.weight'"),
        (lambda s: changed(s, exp_avg__2_dot_weight=np.zeros((5, 2), "f4")), ShapeError,
         r"'exp_avg/2.weight' has the shape \[5, 2\] and its parameter \[2, 5\]"),
        (lambda s: changed(s, exp_avg__2_dot_bias=np.zeros(1, "f4")), ShapeError, r"the shape \[1\]"),
        (lambda s: changed(s, exp_avg_sq__0_dot_bias=None), UsageError, "no slot 'exp_avg_sq/0.bias'"),
        (lambda s: replace(s, optimizer={**s.optimizer, "kind": "SGD"}), UsageError,
         "is that of SGD and the optimizer is Adam; build torch.optim.SGD"),
        (lambda s: replace(s, optimizer={**s.optimizer, "groups": [{}, {}]}), UsageError, "2 groups .* has 1"),
        (lambda s: replace(s, optimizer={"kind": "Adam", "groups": [{"lr": {"tensor": "x"}}]}), UsageError,
         "store.restore"),
        (lambda s: changed(s, momentum__0_dot_bias=np.zeros(5, "f4")), UsageError,
         "torch's Adam keeps nothing like the slot 'momentum/0.bias'"),
        (lambda _: TrainingState(step=4), UsageError, "holds nothing of an optimizer"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_and_nothing_is_changed(spoil, kind, reason):
    module = network()
    own = KINDS["Adam"](module.parameters())
    train(module, own, 2)
    state, optimizer = kept(own, module), torch.optim.Adam(module.parameters(), lr=0.5)
    with pytest.raises(kind, match=reason):
        optimizer_state.restore(optimizer, module, spoil(state))
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert not optimizer.state
    optimizer_state.restore(optimizer, module, state)
    assert optimizer.param_groups[0]["lr"] == 0.02


def test_slots_of_a_parameter_that_is_not_learned_are_refused():
    module = network()
    own = KINDS["Adam"](module.parameters())
    train(module, own, 1)
    with pytest.raises(UsageError, match=r"'step/2.weight' is of a parameter that the optimizer does not learn"):
        optimizer_state.restore_slots(
            torch.optim.Adam(module[0].parameters()), module, {"step/2.weight": np.array(1.0, "f4")}
        )
