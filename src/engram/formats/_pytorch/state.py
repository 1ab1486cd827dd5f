"""What training goes on from, out of the parts of a file and back into them.

torch's own parts (optimizer, scheduler, scaler, average, epoch, step) are read and written where every torch script
looks for them. What only Engram knows stands as plain values under its own key, with the tensors they speak of beside
them; on reading, torch's parts win, so that a file that a script went on with is read as it now is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._pickle import Inert
from engram.formats._pytorch import optimizers, trees
from engram.formats._pytorch.layout import OWN, Contents
from engram.formats._pytorch.optimizers import Known, Optimizer
from engram.formats._pytorch.tensors import Memory, Tensor
from engram.records import TrainingState

__all__ = ["optimizer", "read", "tree"]

_GENERATORS: Final = {"rng_state": "torch", "torch_rng_state": "torch", "cuda_rng_state": "cuda"}
_NAMESPACES: Final = frozenset({"AttributeDict", "Namespace"})
_TEXTS: Final = ("position", "stopping", "progress", "history", "extra", "scheduler", "optimizer")
_ARRAYS: Final = ("random", "best", "slots")
_VERSION: Final = 1
_PLAIN: Final = frozenset({type(None), bool, int, float, str})


def read(found: Contents, memory: Memory) -> TrainingState | None:
    """The training state in a file; None where it holds weights alone.

    What could not be taken is named under ``not taken`` in ``extra``, each with its reason.

    Raises:
        FormatError: a tensor of it is damaged, or what Engram wrote was changed.
    """
    if found.layout == "state_dict":
        return None
    own = _own(found.own)
    slots: dict[str, Tensor | ndarray] = {}
    taken, left = optimizer(found, own)
    slots |= taken.slots
    scheduler, scaler = (_pressed(part, name, slots, left) for part, name in _besides(found))
    rest = dict(found.rest)
    random = {new: rest.pop(old) for old, new in _GENERATORS.items() if _is_generator(rest.get(old))}
    given = {key: _pressed(_plain(value), f"given.{key}", slots, left) for key, value in rest.items()}
    extra: dict[str, Any] = {"given": {key: value for key, value in given.items() if value is not None}}
    extra |= {"tied": _tied(found, memory), "scaler": scaler, "averaged": _number(found.averaged, memory)}
    if taken.guess:
        extra["guessed"] = f"which parameter each slot of the optimizer belongs to is a guess: {taken.guess}"
    state = {
        "epoch": found.epoch or 0,
        "step": found.step if found.step is not None else _steps(taken, memory),
        "optimizer": taken.facts,
        "scheduler": {"state": scheduler} if scheduler is not None else {},
        "extra": extra | ({"not taken": [*found.left, *left]} if found.left or left else {}),
        "slots": slots,
        "average": found.average,
        "random": random,
    }
    return _whole(state, own, memory)


def optimizer(found: Contents, own: Mapping[str, Any] | None = None) -> tuple[Optimizer, list[str]]:
    """The optimizer in a file by the names of its parameters, and why it is not taken where it is not."""
    if found.optimizer is None:
        return Optimizer({}, {}), []
    known = own.get("known") if own else None
    try:
        return optimizers.read(found.optimizer, found.weights, known), []
    except FormatError as wrong:
        return Optimizer({}, {}), [f"the optimizer's state is left out, because {wrong}"]


def tree(weights: Mapping[str, Any], state: TrainingState, plain: Mapping[str, ndarray]) -> dict[str, Any]:
    """A dictionary as scripts save it, with the optimizer as torch takes it.

    Args:
        weights: what is written as the network's state_dict.
        state: what training goes on from.
        plain: the weights by name.

    Raises:
        ConversionError: the state holds what has no place in such a file.
    """
    known = optimizers.names_in(state, plain) if state.optimizer else None
    made: dict[str, Any] = {"model": weights, "epoch": state.epoch, "step": state.step}
    if known is not None:
        made["optimizer"] = optimizers.written(state, known)
    if "state" in state.scheduler:
        made["scheduler"] = trees.grown(state.scheduler["state"], _finder(state))
    if state.extra.get("scaler") is not None:
        made["scaler"] = trees.grown(state.extra["scaler"], _finder(state))
    if state.average:
        made["ema"] = dict(state.average)
    said = {name: getattr(state, name) for name in _TEXTS}
    if known is not None:
        said["known"] = {"kind": known.kind, "names": known.names, "bare": known.bare}
        said["optimizer"] = {}
    inside = set(_inside(state, known))
    kept = {"random": dict(state.random), "best": dict(state.best)}
    kept["slots"] = {key: array for key, array in state.slots.items() if key not in inside}
    plain_values = _json({"version": _VERSION, **said}, "the training state")
    return {**made, OWN: {"state": plain_values, **{name: arrays for name, arrays in kept.items() if arrays}}}


def _inside(state: TrainingState, known: Known | None) -> list[str]:
    """The keys of the tensors that the optimizer itself holds."""
    if known is None:
        return []
    named = {name for names in known.names for name in names}
    return [
        key
        for key in state.slots
        if key.partition("/")[2] in named or (not known.bare and key.startswith("optimizer.groups["))
    ]


def _own(found: Any) -> dict[str, Any] | None:  # noqa: ANN401 - of a stranger's file
    """What Engram wrote under its own key, checked; None where there is nothing.

    Raises:
        FormatError: it was changed.
    """
    if found is None:
        return None
    where = f"what stands under the key {OWN!r}"
    said = found.get("state") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(said, dict) or said.get("version") != _VERSION:
        raise FormatError(f"{where} is not as this Engram writes it; remove the key, or update Engram")
    try:
        said = _json(said, where)
    except ConversionError as wrong:
        raise FormatError(f"{where} is damaged: {wrong}") from wrong
    kinds = {"position": int, "history": list, "known": dict, **dict.fromkeys(_TEXTS[1:3], dict)}
    if not all(isinstance(said.get(name, kind()), kind) for name, kind in kinds.items()):
        raise FormatError(f"{where} is damaged")
    arrays = {name: found.get(name, {}) for name in _ARRAYS}
    for name, group in arrays.items():
        if not isinstance(group, dict) or not all(isinstance(value, (Tensor, ndarray)) for value in group.values()):
            raise FormatError(f"{name!r} under the key {OWN!r} must be tensors by name")
    return {**said, **arrays, "known": _known(said.get("known"), where)}


def _json(value: Any, where: str) -> Any:  # noqa: ANN401 - any value
    """A value of JSON's types, and of floats also those that JSON has no word for; a tuple becomes a list.

    Raises:
        ConversionError: something in it is of another type; its place is named.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {key: _json(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item, f"{where}[{number}]") for number, item in enumerate(value)]
    if isinstance(value, np.generic) and type(value.item()) in _PLAIN:
        return value.item()
    raise ConversionError(f"{where} is a {type(value).__name__}, which is no plain value")


def _known(found: Any, where: str) -> Known | None:  # noqa: ANN401 - of a stranger's file
    if found is None:
        return None
    names = found.get("names")
    sound = isinstance(names, list) and all(
        isinstance(group, list) and all(type(name) is str for name in group) for group in names
    )
    if not sound or type(found.get("kind")) is not str or type(found.get("bare")) is not bool:
        raise FormatError(f"{where} is damaged")
    return Known(found["kind"], names, found["bare"])


def _whole(state: dict[str, Any], own: dict[str, Any] | None, memory: Memory) -> TrainingState:
    """The state with its arrays, and with what only Engram could say."""
    if own is not None:
        state |= {name: own[name] for name in ("position", "stopping", "progress", "extra") if name in own}
        state |= {"history": tuple(own.get("history", ())), "random": own["random"], "best": own["best"]}
        state["slots"] = {**state["slots"], **own["slots"]}
        if own.get("scheduler") and not state["scheduler"]:
            state["scheduler"] = own["scheduler"]
        if own.get("optimizer") and not state["optimizer"]:
            state["optimizer"] = own["optimizer"]
    for name in ("average", "random", "best", "slots"):
        found = state.get(name, {})
        state[name] = {
            key: memory.array(value, key) if isinstance(value, Tensor) else value for key, value in found.items()
        }
    return TrainingState(**{one.name: state[one.name] for one in fields(TrainingState) if one.name in state})


def _besides(found: Contents) -> list[tuple[Any, str]]:
    return [(found.scheduler, "scheduler"), (found.scaler, "scaler")]


def _pressed(part: Any, name: str, slots: dict[str, Any], left: list[str]) -> Any:  # noqa: ANN401 - any value
    """A part as plain values, or None with a word in ``left`` where it has no such form."""
    try:
        held: dict[str, Any] = {}
        made = trees.pressed(part, name, held.__setitem__)
    except FormatError as wrong:
        left.append(f"{name.removeprefix('given.')} is not taken: {wrong}")
        return None
    slots |= held
    return made


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value
    """A namespace as the dictionary that it is."""
    if isinstance(value, Inert) and value.name in _NAMESPACES:
        return value.pairs or (value.state if isinstance(value.state, dict) else {})
    return value


def _is_generator(found: object) -> bool:
    return isinstance(found, Tensor) and len(found.shape) == 1 and found.kind == np.uint8


def _tied(found: Contents, memory: Memory) -> list[list[str]]:
    """The names that are one tensor, as the store tells them."""
    groups: dict[int, list[str]] = {}
    for name, value in found.weights.items():
        array = memory.array(value, name) if isinstance(value, Tensor) else value
        groups.setdefault(id(array), []).append(name)
    return sorted(sorted(names) for names in groups.values() if len(names) > 1)


def _number(found: Any, memory: Memory) -> int | None:  # noqa: ANN401 - of a stranger's file
    array = memory.array(found, "n_averaged") if isinstance(found, Tensor) else found
    if isinstance(array, ndarray) and array.size == 1 and array.dtype.kind in "iu":
        return int(array.reshape(-1)[0])
    return array if type(array) is int else None


def _steps(taken: Optimizer, memory: Memory) -> int:
    """The optimizer's own count, where the file has no other."""
    found = 0
    for key, value in taken.slots.items():
        if key.startswith("step/") and isinstance(value, Tensor) and value.shape in {(), (1,)}:
            number = memory.array(value, key).reshape(-1)[0]
            found = max(found, int(number) if np.isfinite(number) else 0)
    counted = (slots.get("step") for slots in taken.facts.get("slots", {}).values())
    return max([found, *(count for count in counted if type(count) is int)])


def _finder(state: TrainingState) -> Any:  # noqa: ANN401 - a function
    def find(key: str) -> ndarray:
        if key not in state.slots:
            raise ConversionError(f"the training state speaks of {key!r} and does not hold it; it is damaged")
        return state.slots[key]

    return find
