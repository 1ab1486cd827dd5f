"""A torch module, its optimizer and what surrounds them as one checkpoint, and back in place, bit for bit.

Everything goes by the name of its parameter. What cannot be kept exactly is refused while it is saved, and what does
not fit is refused before anything is changed: a loop that goes on with half of its state goes on without a warning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy import ndarray
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import AveragedModel

from engram.errors import ShapeError, UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Checkpoint, TrainingState
from engram.store import given
from engram.store.files import Files
from engram.store.training import trees
from engram.store.training.stateful import Stateful
from engram.store.weights import contents, filling
from engram.training import optimizer_state
from engram.training import state as states

__all__ = ["Parts", "bare", "checkpoint", "fits", "name", "restore"]

_WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}
_OFFENDING = re.compile(r"[^a-z0-9._-]+")
_STATEFUL = ("state_dict", "load_state_dict")


@dataclass(frozen=True, slots=True)
class Parts:
    """All that learns, or decides how.

    Attributes:
        module: whose weights are learned.
        optimizer: None where it is not kept.
        scheduler: of the learning rate.
        average: of the weights: an ``AveragedModel``, another module, or name → tensor.
        scaler: of the gradients.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer | None = None
    scheduler: Stateful | None = None
    average: nn.Module | Mapping[str, Tensor] | None = None
    scaler: Stateful | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.average, nn.Module | Mapping | None):
            raise UsageError(f"the average is {self.average!r}, and must be a torch.nn.Module, or a name → tensor")
        wanted = {"optimizer": ("param_groups", "state_dict"), "scheduler": _STATEFUL, "scaler": _STATEFUL}
        for part, methods in wanted.items():
            own = getattr(self, part)
            if own is not None and not all(hasattr(own, method) for method in methods):
                said = f"{own!r:.60} ({type(own).__name__})"
                raise UsageError(f"the {part} is {said}, and must be one that has {' and '.join(methods)}, as torch's")


def name(module: nn.Module) -> str:
    """What a module is called where nobody says: its class, in the letters that a name may have."""
    return _OFFENDING.sub("-", type(bare(module)).__name__.lower()).strip("._-") or "network"


def checkpoint(parts: Parts, state: TrainingState, staging: states.Staging) -> Checkpoint:
    """Everything at this moment; arrays of what lies in memory are views of what goes on learning.

    Args:
        parts: all that learns.
        state: where the loop stands, in ``extra`` what it wants back as ``given``; what belongs to torch is added.
        staging: memory for what lies on devices.

    Raises:
        UsageError: something cannot be kept exactly; it is named.
    """
    module = bare(parts.module)
    weights = _tensors(module, "the module")
    tensors: dict[str, Tensor] = {}
    optimizer = _optimizer(parts.optimizer, module, tensors) if parts.optimizer is not None else {}
    pressed = {
        part: trees.pressed(value.state_dict(), part, tensors)
        for part, value in (("scheduler", parts.scheduler), ("scaler", parts.scaler))
        if value is not None
    }
    extra = {**state.extra, "tied": _tied(weights), "scaler": pressed.get("scaler")}
    extra["parts"] = {
        key: trees.pressed(part.get_extra_state(), key, tensors) for key, part in filling.extras(module).items()
    }
    extra["averaged"] = int(parts.average.n_averaged) if isinstance(parts.average, AveragedModel) else None
    found = TrainingState(
        epoch=state.epoch,
        step=state.step,
        optimizer=optimizer,
        slots=staging.arrays(tensors, "slots"),
        scheduler={"state": pressed["scheduler"]} if "scheduler" in pressed else {},
        average=staging.arrays(_once(_average(parts.average)), "average"),
        random=states.random_state(),
        stopping=state.stopping,
        history=state.history,
        extra=extra,
    )
    return Checkpoint(staging.arrays(_once(weights), "weights"), found)


def restore(parts: Parts, files: Files, *, random: bool = True) -> TrainingState:
    """Put a checkpoint back into what it was made of; either all of it or, where something does not fit, nothing.

    Args:
        parts: built as they were; a part that is None is left out.
        files: of the checkpoint.
        random: whether the generators go on as well.

    Returns:
        The state, with what the loop itself had given as ``extra``.

    Raises:
        UnknownName: the module, its average or the optimizer lacks a name, or has another; it is given.
        ShapeError: a shape or a type differs.
        UsageError: a part was saved without, is of another kind, or is tied in another way.
        StoreError: the checkpoint is damaged.
    """
    module, state = bare(parts.module), contents.state(files)
    weights = _tensors(module, "the module")
    _same_ties(_tied(weights), state.extra.get("tied", []), files.name)
    _same_names(_once(weights), contents.entries(files), f"{files.name}: the module")
    average = _once(_average(parts.average))
    _same_names(filling.extras(module), state.extra.get("parts", {}), f"{files.name}: the module")
    _check_rest(parts, state, files.name)
    if parts.average is not None:
        _same_names(average, state.average, f"{files.name}: the average")
        for key, value in average.items():
            _same_shape(value, state.average[key], f"{files.name}: average {key!r}")
    if parts.optimizer is not None:
        _check_optimizer(parts.optimizer, module, state, files.name)
    filling.fill(module, files)
    with torch.no_grad():
        for key, value in average.items():
            value.copy_(states.tensor(state.average[key]))
    if isinstance(parts.average, AveragedModel):
        parts.average.n_averaged.fill_(state.extra["averaged"] or 0)
    _load_rest(parts, module, state)
    if random:
        states.restore_random(state.random)
    return state


def fits(module: nn.Module, files: Files) -> bool:
    """Whether a module has the names, shapes and types of a checkpoint's weights."""
    kept, own = contents.entries(files), _once(_tensors(bare(module), "the module"))
    return own.keys() == kept.keys() and all(
        tuple(value.shape) == kept[key].true and str(value.dtype).removeprefix("torch.") == kept[key].name
        for key, value in own.items()
    )


def bare(module: nn.Module) -> nn.Module:
    """The module inside what runs it in parallel or compiled, whose names are those of its own file.

    Raises:
        UsageError: it is no module.
    """
    given.record(module, nn.Module, "the module", "torch.nn.Module")
    while inner := _WRAPPERS.get(type(module).__name__):
        module = module.get_submodule(inner)
    return module


def _tensors(module: nn.Module, what: str) -> dict[str, Tensor]:
    """The parameters and buffers of a module by name.

    Raises:
        UsageError: its state holds something else.
    """
    apart = filling.extras(module)
    found = {key: value for key, value in module.state_dict(keep_vars=True).items() if key not in apart}
    for key, value in found.items():
        if is_lazy(value):
            raise UsageError(f"{key!r} of {what} has no shape, as it has not seen data yet; run one batch first")
        if not isinstance(value, Tensor):
            raise UsageError(
                f"{key!r} in the state of {what} is a {type(value).__name__} and no tensor; make it a buffer, or give "
                "it as extra"
            )
        if any(step == 0 and length > 1 for step, length in zip(_strides(value), value.shape, strict=False)):
            raise UsageError(
                f"{key!r} of {what} shows one number in many places (expand), so that nothing can be put back into it; "
                "make it contiguous"
            )
    return found


def _strides(value: Tensor) -> tuple[int, ...]:
    """The steps of a tensor in memory; none of one that does not lie there in order."""
    return value.stride() if value.layout is torch.strided and not value.is_meta else ()


def _average(average: nn.Module | Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    if isinstance(average, AveragedModel):
        return _tensors(bare(average.module), "the average")
    if isinstance(average, nn.Module):
        return _tensors(bare(average), "the average")
    return dict(average or {})


def _tied(weights: Mapping[str, Tensor]) -> list[list[str]]:
    """The names that are one tensor, each group sorted."""
    groups: dict[int, list[str]] = {}
    for key, value in weights.items():
        groups.setdefault(id(value), []).append(key)
    return sorted(sorted(names) for names in groups.values() if len(names) > 1)


def _once(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One name for each tensor: the first of those it has."""
    later = {name for names in _tied(tensors) for name in names[1:]}
    return {name: value for name, value in tensors.items() if name not in later}


def _optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Kind, groups and slots by parameter name.

    Raises:
        UsageError: it learns what is not the module's, or keeps more than its state says.
    """
    kind, names = type(optimizer), _names(module)
    if kind.state_dict is not torch.optim.Optimizer.state_dict:
        raise UsageError(
            f"{kind.__name__} has a state_dict of its own, which cannot be kept by name; give what it wraps"
        )
    groups = []
    for number, group in enumerate(optimizer.param_groups):
        where = f"group {number} of the optimizer"
        known = {"params": [_named(parameter, names, where) for parameter in group["params"]]}
        rest = {key: value for key, value in group.items() if key != "params"}
        groups.append(known | trees.pressed(rest, f"optimizer.groups[{number}]", tensors))
    slots = {_named(parameter, names, "the optimizer's state"): state for parameter, state in optimizer.state.items()}
    pressed = {
        key: {slot: trees.pressed(value, f"{slot}/{key}", tensors) for slot, value in state.items()}
        for key, state in slots.items()
    }
    return {"kind": kind.__name__, "groups": groups, "slots": pressed}


def _names(module: nn.Module) -> dict[int, str]:
    return {id(parameter): key for key, parameter in module.named_parameters()}


def _named(parameter: object, names: Mapping[int, str], where: str) -> str:
    if id(parameter) not in names:
        shape = f" of shape {list(parameter.shape)}" if isinstance(parameter, Tensor) else f" ({parameter!r})"
        raise UsageError(
            f"{where} holds something{shape} that is no parameter of the module; give the module that has all that the "
            "optimizer learns (nn.ModuleDict puts several together)"
        )
    return names[id(parameter)]


def _same_names(own: Mapping[str, object], kept: Mapping[str, object], where: str) -> None:
    for key in kept:
        if key not in own:
            raise UnknownName(f"{where} has no {key!r}, which was saved; {nearest(key, own)}")
    for key in own:
        if key not in kept:
            raise UnknownName(f"{where} has {key!r}, which was not saved; {nearest(key, kept)}")


def _same_ties(own: list[list[str]], kept: list[list[str]], where: str) -> None:
    for names in own + kept:
        if (names in own) != (names in kept):
            now, then = ("are", "were not") if names in own else ("are not", "were")
            listed = " and ".join(map(repr, names))
            raise UsageError(
                f"{where}: {listed} {now} one tensor in the module and {then} when it was saved; tie them as before"
            )


def _same_shape(own: Tensor, kept: ndarray, where: str) -> None:
    if tuple(own.shape) != kept.shape or str(own.dtype).removeprefix("torch.") != kept.dtype.name:
        raise ShapeError(
            f"{where} was saved as {kept.dtype.name} {list(kept.shape)} and is "
            f"{str(own.dtype).removeprefix('torch.')} {list(own.shape)}; build it as it was"
        )


def _check_rest(parts: Parts, state: TrainingState, where: str) -> None:
    kept = {
        "optimizer": (parts.optimizer, state.optimizer),
        "scheduler": (parts.scheduler, state.scheduler),
        "scaler": (parts.scaler, state.extra.get("scaler") is not None),
        "average": (parts.average, state.average),
    }
    for part, (own, saved) in kept.items():
        if own is not None and not saved:
            raise UsageError(f"{where} was saved without {part}; restore without it, or save it as well")


def _check_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, state: TrainingState, where: str) -> None:
    kind, kept, names = type(optimizer).__name__, state.optimizer, _names(module)
    if "slots" not in kept:
        raise UsageError(f"{where} was saved by engram run, whose optimizer only engram resume goes on with")
    if kept["kind"] not in {kind, ""}:  # a file of torch's does not always say of which class it is
        raise UsageError(f"{where} was saved with the optimizer {kept['kind']} and this is a {kind}; take the same")
    own = [[_named(one, names, f"group {n} of the optimizer") for one in group["params"]]
           for n, group in enumerate(optimizer.param_groups)]  # fmt: skip
    saved = [list(group["params"]) for group in kept["groups"]]
    if len(own) != len(saved):
        raise UsageError(
            f"{where} was saved with {len(saved)} groups of parameters in the optimizer, and this one has {len(own)}; "
            "build them as they were"
        )
    for number, (here, there) in enumerate(zip(own, saved, strict=True)):
        if here != there:
            differing = next(iter(sorted(set(here) ^ set(there))), "their order")
            raise UsageError(
                f"{where}: group {number} of the optimizer holds other parameters than it was saved with "
                f"({differing}); build the groups as they were"
            )


def _load_rest(parts: Parts, module: nn.Module, state: TrainingState) -> None:
    """Put back what is not weights; all of it was checked to fit."""
    find = _finding(state, torch.empty(0))
    for key, part in filling.extras(module).items():
        part.set_extra_state(trees.grown(state.extra["parts"][key], find))
    if parts.optimizer is not None:
        _load_optimizer(parts.optimizer, module, state)
    if parts.scheduler is not None:
        parts.scheduler.load_state_dict(trees.grown(state.scheduler["state"], find))
    if parts.scaler is not None:
        parts.scaler.load_state_dict(trees.grown(state.extra["scaler"], find))


def _load_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, state: TrainingState) -> None:
    by_name, counted_near = dict(module.named_parameters()), dict[str, bool]()
    for group, kept in zip(optimizer.param_groups, state.optimizer["groups"], strict=True):
        options = {key: value for key, value in kept.items() if key != "params"}
        first = group["params"][0] if group["params"] else torch.empty(0)
        group.update(trees.grown(options, _finding(state, torch.empty(0, device=first.device))))
        near = bool(group.get("fused") or group.get("capturable"))
        counted_near |= dict.fromkeys(kept["params"], near)
    optimizer.state.clear()
    for key, slots in state.optimizer["slots"].items():
        parameter = by_name[key]
        for slot, value in slots.items():
            apart = slot == "step" and not counted_near.get(key, False)  # counted in memory, as torch itself does
            near_by = torch.empty(0) if apart else parameter
            optimizer.state[parameter][slot] = trees.grown(value, _finding(state, near_by))


def _finding(state: TrainingState, near: Tensor) -> Callable[[str], Tensor]:
    """What finds a tensor by its key and puts it beside another."""
    return lambda key: optimizer_state.beside(states.tensor(state.slots[key]), near)
