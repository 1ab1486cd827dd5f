"""Which parts of a saved dictionary are weights, optimizer, epoch and the rest.

``torch.save`` fixes no layout; people save a state_dict, or a dictionary of parts under one of a dozen usual names, or
what Lightning writes. Where two networks are in one file, nothing is guessed: the file is refused with their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from numpy import ndarray

from engram.errors import FormatError
from engram.formats._pickle import Inert, SpecialDict
from engram.formats._pytorch.tensors import Tensor

__all__ = ["OWN", "Contents", "Weights", "contents"]

OWN: Final = "engram"
"""The key under which Engram keeps what torch has no place for."""
Weights = Mapping[str, Tensor | ndarray]
_LIGHTNING: Final = "pytorch-lightning_version"
_WEIGHTS: Final = (
    "state_dict", "model_state_dict", "model", "net", "module", "network", "weights", "model_state", "net_state_dict",
    "params",
)  # fmt: skip
_OPTIMIZERS: Final = (
    "optimizer_states",
    "optimizer_state_dict",
    "optimizer",
    "optim",
    "optimizer_state",
    "optim_state_dict",
)
_SCHEDULERS: Final = ("lr_schedulers", "lr_scheduler", "scheduler", "lr_scheduler_state_dict", "scheduler_state_dict")
_AVERAGES: Final = ("ema", "ema_state_dict", "model_ema", "state_dict_ema", "ema_model", "average")
_SCALERS: Final = ("scaler", "grad_scaler", "amp_scaler", "scaler_state_dict", "MixedPrecisionPlugin", "MixedPrecision")
_EPOCHS: Final = ("epoch", "epochs")
_STEPS: Final = ("global_step", "step", "iteration", "iter", "global_iter", "steps", "num_updates")


@dataclass(frozen=True, slots=True)
class Contents:
    """A file's parts.

    Attributes:
        layout: ``state_dict``, ``checkpoint`` or ``lightning``.
        weights: by name, in the order of the file.
        metadata: versions of modules, as torch keeps them beside a state_dict.
        optimizer: what its ``state_dict()`` gave; None if there is none.
        scheduler: likewise.
        scaler: likewise.
        average: of the weights, by name.
        averaged: how many weights the average is of, a number or a tensor of one; None if the file does not say.
        epoch: None where the file does not say.
        step: likewise.
        rest: everything else, by its key.
        own: what Engram keeps under its own key.
        left: what is not taken, a sentence each with the reason.
    """

    layout: str
    weights: Weights
    metadata: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Any = None
    scheduler: Any = None
    scaler: Any = None
    average: Weights = field(default_factory=dict)
    averaged: Any = None
    epoch: int | None = None
    step: int | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)
    own: Any = None
    left: tuple[str, ...] = ()


def contents(tree: Any, where: str) -> Contents:  # noqa: ANN401 - of a stranger's file
    """The parts of a tree.

    Raises:
        FormatError: it holds no network's weights, or more than one's.
    """
    if not isinstance(tree, dict):
        kind = type(tree).__name__.lower()
        raise FormatError(f"{where} holds a {kind} and no dictionary of tensors; save module.state_dict()")
    if not tree:
        raise FormatError(f"{where} holds an empty dictionary and no weights; save module.state_dict()")
    if _is_weights(tree) and not any(isinstance(value, dict) and _is_weights(value) for value in tree.values()):
        return _state_dict(tree)
    if not all(type(key) is str for key in tree):
        raise FormatError(f"{where} has keys that are no texts, so none of them names the weights")
    key = _weights_key(tree, where)
    weights, left = _tensors(tree[key], key)
    parts = _Parts({name: value for name, value in tree.items() if name != key})
    own, lightning = parts.take((OWN,)), _LIGHTNING in tree
    optimizer, scheduler, scaler = (parts.single(names) for names in (_OPTIMIZERS, _SCHEDULERS, _SCALERS))
    epoch, step = parts.count(_EPOCHS), parts.count(_STEPS)
    average, averaged = parts.average(weights)
    return Contents(
        layout="lightning" if lightning else "checkpoint",
        weights=weights,
        metadata=_metadata(tree[key]),
        optimizer=optimizer,
        scheduler=scheduler,
        scaler=scaler,
        average=average,
        averaged=averaged,
        epoch=epoch,
        step=step,
        rest=parts.rest,
        own=own,
        left=(*left, *parts.left),
    )


class _Parts:
    """What is in a dictionary beside the weights, taken out part by part."""

    def __init__(self, rest: dict[str, Any]) -> None:
        self.rest = rest
        self.left: list[str] = []

    def take(self, names: Sequence[str]) -> Any:  # noqa: ANN401 - of a stranger's file
        """What stands under the first of these names that is there; None if none is."""
        return next((self.rest.pop(name) for name in names if name in self.rest), None)

    def single(self, names: Sequence[str]) -> Any:  # noqa: ANN401 - of a stranger's file
        """The one state under these names; of a list, which Lightning writes, its one entry."""
        name = next((name for name in names if self.rest.get(name) is not None), None)
        if name is None:
            return None
        found = self.rest[name]
        if isinstance(found, list) and len(found) > 1:
            self.left.append(f"{name} has {len(found)} entries, of which training goes on with one alone")
            return None
        if isinstance(found, list):
            found = found[0] if found else None
        if found is not None and not isinstance(found, dict):
            return None
        del self.rest[name]
        return found

    def count(self, names: Sequence[str]) -> int | None:
        """The whole number under the first of these names that has one."""
        for name in names:
            found = self.rest.get(name)
            if type(found) is int and found >= 0:
                del self.rest[name]
                return found
        return None

    def average(self, weights: Weights) -> tuple[Weights, Any]:
        """An average of the weights that has their names, perhaps as ``AveragedModel`` writes them."""
        for name in _AVERAGES:
            found = self.rest.get(name)
            if not isinstance(found, dict) or not _is_weights(found):
                continue
            averaged = found.get("n_averaged")
            plain = {key.removeprefix("module."): value for key, value in found.items() if key != "n_averaged"}
            named = plain if plain.keys() <= weights.keys() else {k: v for k, v in found.items() if k != "n_averaged"}
            if named and named.keys() <= weights.keys():
                del self.rest[name]
                return named, averaged
        return {}, None


def _state_dict(tree: dict[str, Any]) -> Contents:
    weights, left = _tensors(tree, "the state_dict")
    return Contents("state_dict", weights, metadata=_metadata(tree), left=left)


def _weights_key(tree: Mapping[str, Any], where: str) -> str:
    """The key of the weights: a usual name, or the only one that has such a thing.

    Raises:
        FormatError: there is none, or there are several.
    """
    found = [key for key, value in tree.items() if isinstance(value, dict) and _is_weights(value)]
    usual = [name for name in _WEIGHTS if name in found]
    if usual:
        return usual[0]
    others = [key for key in found if key not in _AVERAGES]
    if len(others) == 1:
        return others[0]
    if not found:
        listed = ", ".join(sorted(map(repr, tree))[:12])[:300]
        raise FormatError(f"{where} holds no weights: none of {listed} is a dictionary of tensors")
    listed = ", ".join(map(repr, found[:12]))[:300]
    raise FormatError(f"{where} holds several networks ({listed}); save the state_dict of the one that is wanted")


def _is_weights(found: Mapping[Any, Any]) -> bool:
    """Whether a dictionary is a state_dict: names of tensors, and little else."""
    tensors = sum(isinstance(value, (Tensor, ndarray)) for value in found.values())
    return tensors * 2 >= len(found) and tensors > 0 and all(type(key) is str for key in found)


def _tensors(found: Mapping[str, Any], where: str) -> tuple[dict[str, Tensor | ndarray], tuple[str, ...]]:
    """The tensors of a state_dict, and of what it has besides why it is left."""
    tensors = {name: value for name, value in found.items() if isinstance(value, (Tensor, ndarray))}
    left = tuple(
        f"{name!r} in {where} is a {_called(value)} and no tensor"
        for name, value in found.items()
        if name not in tensors
    )
    noted = tuple(
        f"what a program had set on the tensor {name!r} ({', '.join(tensor.notes)[:80]}) is left out"
        for name, tensor in tensors.items()
        if isinstance(tensor, Tensor) and tensor.notes
    )
    return tensors, left + noted


def _called(value: object) -> str:
    return f"{value.module}.{value.name}" if isinstance(value, Inert) else type(value).__name__


def _metadata(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The versions of modules beside a state_dict, where they are as torch writes them."""
    known = found.attributes.get("_metadata") if isinstance(found, SpecialDict) else None
    if not isinstance(known, dict):
        return {}
    plain = all(
        type(name) is str
        and isinstance(entry, dict)
        and all(type(key) is str and type(value) in {int, bool, str} for key, value in entry.items())
        for name, entry in known.items()
    )
    return {name: dict(entry) for name, entry in known.items()} if plain else {}
