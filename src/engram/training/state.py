"""Taking everything that training knows apart into a ``Checkpoint``, and putting it together again.

Arrays are copied: torch's own ``state_dict`` shares memory with what goes on learning.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from engram.errors import UsageError

__all__ = [
    "arrays",
    "load_weights",
    "optimizer_facts",
    "random_state",
    "restore_random",
    "restore_slots",
    "seed_all",
    "slots",
]


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


def seed_all(seed: int) -> None:
    """Seed every generator that a network may draw from: torch's, Python's own and numpy's."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the one that a network written elsewhere draws from


def random_state() -> dict[str, ndarray]:
    """The state of the generators of torch, Python (without a kept second normal) and numpy (likewise)."""
    numpys = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 - see ``seed_all``
    states = {
        "torch": torch.get_rng_state().numpy().copy(),
        "python": np.array(random.getstate()[1], dtype=np.uint32),
        "numpy": np.append(numpys["key"], np.uint32(numpys["pos"])).astype(np.uint32),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state().numpy().copy()
    return states


def restore_random(states: Mapping[str, ndarray]) -> None:
    """Set the generators to these states; one that an older checkpoint lacks stays as it is."""
    torch.set_rng_state(torch.from_numpy(np.array(states["torch"])))
    if "python" in states:
        random.setstate((3, tuple(states["python"].tolist()), None))
    if "numpy" in states:
        *key, position = states["numpy"].tolist()
        np.random.set_state(("MT19937", np.array(key, dtype=np.uint32), position, 0, 0.0))  # noqa: NPY002 - likewise
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.from_numpy(np.array(states["cuda"])))
