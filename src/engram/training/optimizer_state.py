"""What an optimizer knows besides the weights: out of it by the names of its parameters, and back into one.

A training state may come from a run of Engram's, from a loop of one's own, from a checkpoint of torch or from a file of
Keras. Whatever it is, all of it is compared with the optimizer before anything is changed: one that goes on with half
of its state learns on without a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy import ndarray
from torch import Tensor, nn

from engram.errors import ShapeError, UnknownName, UsageError
from engram.plugins import nearest
from engram.records import TrainingState
from engram.training.state import tensor

__all__ = ["beside", "facts", "fit", "restore", "restore_slots", "slots"]

_HOW = frozenset({"capturable", "differentiable", "foreach", "fused", "params"})
"""Settings that say how a step is computed on a machine, and not what it is."""
_SUMS = frozenset({"col_var", "row_var"})
"""What Adafactor keeps of a parameter, a number a row or a column."""
_KNOWN = {
    "Adadelta": {"acc_delta", "square_avg", "step"}, "Adagrad": {"step", "sum"},
    "Adam": {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"}, "Adamax": {"exp_avg", "exp_inf", "step"},
    "AdamW": {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"}, "SGD": {"momentum_buffer"},
    "RAdam": {"exp_avg", "exp_avg_sq", "step"}, "NAdam": {"exp_avg", "exp_avg_sq", "mu_product", "step"},
    "RMSprop": {"grad_avg", "momentum_buffer", "square_avg", "step"},
}  # fmt: skip
"""What torch's own optimizers keep; a slot of another name would be passed over in silence."""


def slots(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """The optimizer's tensors by ``SLOT/PARAMETER``."""
    found: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        for slot, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                found[f"{slot}/{name}"] = value
    return found


def facts(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What the optimizer is, as plain JSON values."""
    groups = [
        {k: v for k, v in group.items() if k != "params" and isinstance(v, (bool, int, float, str, tuple))}
        for group in optimizer.param_groups
    ]
    return {"kind": type(optimizer).__name__, "groups": groups}


def fit(optimizer: torch.optim.Optimizer, network: nn.Module, state: TrainingState) -> None:
    """See that an optimizer can go on from a training state; nothing is changed.

    Args:
        optimizer: of parameters of the network.
        network: whose names the state uses.
        state: from wherever it comes.

    Raises:
        UnknownName: the state speaks of a parameter that the network has not.
        ShapeError: a slot is of another shape than its parameter.
        UsageError: the state is another optimizer's or holds none, its groups are others, or it lacks a slot.
    """
    kind, own = str(state.optimizer.get("kind", "")), type(optimizer).__name__
    if not state.optimizer and not state.slots:
        raise UsageError("the training state holds nothing of an optimizer; begin with a new one")
    if differs := state.optimizer.get("differs"):
        raise UsageError(f"{differs}; begin with a new optimizer")
    if kind and kind.lower() != own.lower():
        raise UsageError(f"the training state is that of {kind} and the optimizer is {own}; build torch.optim.{kind}")
    _groups(optimizer, state)
    foreign = [
        place for place in state.slots if place.partition("/")[0] not in _KNOWN.get(own, {place.partition("/")[0]})
    ]
    if foreign:
        raise UsageError(f"torch's {own} keeps nothing like the slot {foreign[0]!r}; begin with a new optimizer")
    _fitting(optimizer, network, state.slots)


def restore(optimizer: torch.optim.Optimizer, network: nn.Module, state: TrainingState) -> None:
    """Let an optimizer go on from a training state: its settings (learning rate, moments) and its slots.

    Args:
        optimizer: of parameters of the network; what says how a step is computed (``fused``) stays as it is.
        network: whose names the state uses.
        state: from wherever it comes; its arrays are copied.

    Raises:
        UnknownName, ShapeError, UsageError: as ``fit``; nothing was changed.
    """
    fit(optimizer, network, state)
    for group, kept in zip(optimizer.param_groups, _groups(optimizer, state), strict=True):
        group.update({key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()})
    optimizer.state.clear()
    _fill(optimizer, network, state.slots)


def restore_slots(optimizer: torch.optim.Optimizer, network: nn.Module, kept: Mapping[str, ndarray]) -> None:
    """Give the optimizer its tensors back, by ``SLOT/PARAMETER``.

    Raises:
        UnknownName, ShapeError, UsageError: as ``fit``; nothing was changed.
    """
    _fitting(optimizer, network, kept)
    _fill(optimizer, network, kept)


def beside(value: Tensor, parameter: Tensor) -> Tensor:
    """A slot on the device of its parameter and, where it has the same shape, in the same order of memory.

    The fused kernels want the same strides.
    """
    moved = value.to(parameter.device)
    if moved.shape != parameter.shape:
        return moved
    return torch.empty_like(parameter, dtype=moved.dtype, requires_grad=False).copy_(moved)


def _fill(optimizer: torch.optim.Optimizer, network: nn.Module, kept: Mapping[str, ndarray]) -> None:
    by_name = dict(network.named_parameters())
    for place, value in kept.items():
        slot, _, name = place.partition("/")
        optimizer.state[by_name[name]][slot] = beside(tensor(value), by_name[name])


def _groups(optimizer: torch.optim.Optimizer, state: TrainingState) -> list[dict[str, Any]]:
    """The settings for each group of the optimizer, of those that it has.

    Raises:
        UsageError: the state has another number of groups, or settings that only a loop's checkpoint goes on with.
    """
    kept, own = state.optimizer.get("groups") or [{}], optimizer.param_groups
    if len(kept) not in {1, len(own)}:
        raise UsageError(
            f"the training state has {len(kept)} groups of parameters and the optimizer has {len(own)}; build them as "
            "they were"
        )
    made = []
    for number, group in enumerate(own):
        told = kept[number if len(kept) > 1 else 0]
        found = {key: value for key, value in told.items() if key in group and key not in _HOW and value is not None}
        odd = [key for key, value in found.items() if isinstance(value, Mapping)]
        if odd:
            raise UsageError(f"the optimizer's {odd[0]!r} was kept as a tensor by a loop; go on with store.restore")
        made.append(found)
    return made


def _fitting(optimizer: torch.optim.Optimizer, network: nn.Module, kept: Mapping[str, ndarray]) -> None:
    """Compare slots with the parameters that the optimizer learns.

    Raises:
        UnknownName, ShapeError, UsageError: as ``fit``.
    """
    by_name = dict(network.named_parameters())
    learned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    known: dict[str, set[str]] = {}
    for place, value in kept.items():
        slot, _, name = place.partition("/")
        if name not in by_name:
            raise UnknownName(
                f"the optimizer's slot {place!r} is of no parameter of the network; {nearest(name, by_name)}"
            )
        if id(by_name[name]) not in learned:
            raise UsageError(
                f"the slot {place!r} is of a parameter that the optimizer does not learn; give it that one, too"
            )
        wanted = tuple(by_name[name].shape)
        if value.shape != wanted and value.ndim and slot not in _SUMS:
            raise ShapeError(
                f"the slot {place!r} has the shape {list(value.shape)} and its parameter {list(wanted)}; take the "
                "network that the state was trained with"
            )
        known.setdefault(name, set()).add(slot)
    _complete(known, by_name)


def _complete(known: Mapping[str, set[str]], by_name: Mapping[str, Tensor]) -> None:
    """See that parameters have the same slots, matrices and vectors apart; one that never had a gradient has none.

    Raises:
        UsageError: one has fewer.
    """
    for wide in (True, False):
        alike = {name: found for name, found in known.items() if (by_name[name].ndim > 1) == wide}
        every = set().union(*alike.values())
        for name, found in alike.items():
            if lacking := every - found:
                place = f"{min(lacking)}/{name}"
                raise UsageError(
                    f"the training state has no slot {place!r}, which other parameters have; keep it whole"
                )
