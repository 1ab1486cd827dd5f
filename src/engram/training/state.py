"""Taking everything that training knows apart into a ``Checkpoint``, and putting it together again.

Arrays are copied: torch's own ``state_dict`` shares memory with what goes on learning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from engram.errors import UsageError

__all__ = ["arrays", "load_weights", "optimizer_facts", "random_state", "restore_random", "restore_slots", "slots"]


def arrays(tensors: Mapping[str, Tensor]) -> dict[str, ndarray]:
    """A copy of each tensor as a contiguous array."""
    return {name: np.array(value.detach().cpu().contiguous().numpy(), copy=True) for name, value in tensors.items()}


def load_weights(network: nn.Module, weights: Mapping[str, ndarray]) -> None:
    """Put these weights into the network.

    Raises:
        UsageError: a name or a shape differs.
    """
    own = network.state_dict()
    if set(own) != set(weights):
        differing = sorted(set(own) ^ set(weights))
        raise UsageError(
            f"the weights do not fit the network: {differing[0]!r} is only on one side; resume with the lock file"
        )
    with torch.no_grad():
        for name, value in own.items():
            if tuple(value.shape) != weights[name].shape:
                shapes = f"{list(weights[name].shape)} for {list(value.shape)}"
                raise UsageError(
                    f"the weights do not fit the network: {name!r} has {shapes}; resume with the lock file"
                )
            value.copy_(torch.from_numpy(np.array(weights[name])))


def slots(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, ndarray]:
    """The optimizer's tensors as ``SLOT/PARAMETER`` → array."""
    found: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        for slot, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                found[f"{slot}/{name}"] = value
    return arrays(found)


def restore_slots(optimizer: torch.optim.Optimizer, network: nn.Module, kept: Mapping[str, ndarray]) -> None:
    """Give the optimizer its tensors back."""
    by_name = dict(network.named_parameters())
    for place, value in kept.items():
        slot, _, name = place.partition("/")
        parameter = by_name[name]
        restored = torch.from_numpy(np.array(value)).to(parameter.device)
        if restored.shape == parameter.shape:  # same strides as the parameter, which the fused kernels want
            restored = torch.empty_like(parameter, dtype=restored.dtype, requires_grad=False).copy_(restored)
        optimizer.state[parameter][slot] = restored


def optimizer_facts(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What the optimizer is, as plain JSON values."""
    groups = [
        {k: v for k, v in group.items() if k != "params" and isinstance(v, (bool, int, float, str, tuple))}
        for group in optimizer.param_groups
    ]
    return {"kind": type(optimizer).__name__, "groups": groups}


def random_state() -> dict[str, ndarray]:
    """The state of torch's generators."""
    states = {"torch": torch.get_rng_state().numpy().copy()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state().numpy().copy()
    return states


def restore_random(states: Mapping[str, ndarray]) -> None:
    """Set torch's generators to these states."""
    torch.set_rng_state(torch.from_numpy(np.array(states["torch"])))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.from_numpy(np.array(states["cuda"])))
