"""Weights into a torch module that exists already, in place: no second module, and no second copy of the numbers.

Everything is compared before anything is copied, so that a module which does not fit is left as it was. Tensors that a
module holds under several names are filled once, from whichever of these names the version has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from numpy import ndarray
from torch import Tensor, nn
from torch.utils.dlpack import from_dlpack

from engram.errors import ShapeError, UnknownName, UsageError
from engram.plugins import nearest
from engram.store.files import Files
from engram.store.weights import contents
from engram.store.weights.encodings import Entry

__all__ = ["Filled", "extras", "fill"]

_BATCH = 256_000_000
_EXTRA = "_extra_state"  # the last part of such a key, as torch writes it


@dataclass(frozen=True, slots=True)
class Filled:
    """What became of the names on both sides.

    Attributes:
        names: of the parameters and buffers that were filled.
        missing: of those that the version has no weight for, and which are as they were.
        unexpected: of the weights that the module has no place for.
    """

    names: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


def fill(module: nn.Module, files: Files, *, strict: bool = True) -> Filled:
    """Copy the weights of a version into the parameters and buffers of a module, wherever these are.

    Args:
        module: on any device but ``meta``.
        files: of the version.
        strict: whether a name that only one side has is an error; if not, it is passed over.

    Raises:
        UnknownName: only one side has a name; the message gives the nearest of the other.
        ShapeError: a shape or a type differs.
        UsageError: a parameter has no memory yet, or two weights are to share one.
        StoreError: something in the version is gone or damaged.
    """
    state, apart = module.state_dict(keep_vars=True), extras(module)
    own = {name: value for name, value in state.items() if isinstance(value, Tensor) and name not in apart}
    kept = contents.entries(files)
    filled = [name for name in own if name in kept]
    reached = {id(own[name]) for name in filled}
    missing = tuple(name for name, value in own.items() if id(value) not in reached)
    unexpected = tuple(name for name in kept if name not in own)
    if strict:
        _complete(files.name, own, kept, missing, unexpected)
    for name in filled:
        _fits(f"{files.name}: {name!r}", own[name], kept[name])
    once = _once(files, own, filled)
    with torch.no_grad():
        for name, array in _coming(files, kept, once):
            own[name].copy_(_tensor(array))
    return Filled(tuple(filled), missing, unexpected)


def extras(module: nn.Module) -> dict[str, nn.Module]:
    """The parts of a module that have a state besides parameters and buffers, by its key in the ``state_dict``.

    It is whatever the part says (``get_extra_state``), and only the part itself can put it back: also where it is a
    tensor, that may be one made for the occasion.
    """
    plain, parts = nn.Module.get_extra_state, module.named_modules(remove_duplicate=False)
    return {f"{n}.{_EXTRA}".removeprefix("."): part for n, part in parts if type(part).get_extra_state != plain}


def _complete(
    where: str, own: Mapping[str, Tensor], kept: Mapping[str, Entry], missing: Collection[str], extra: Collection[str]
) -> None:
    """Refuse what only one side has.

    Raises:
        UnknownName: something.
    """
    for name in missing:
        raise UnknownName(
            f"{where} has no weight {name!r}, which the module wants ({len(missing)} in all); {nearest(name, kept)}, "
            "or pass over it with strict=False"
        )
    for name in extra:
        raise UnknownName(
            f"the module has no parameter or buffer {name!r}, which {where} holds ({len(extra)} in all); "
            f"{nearest(name, own)}, or pass over it with strict=False"
        )


def _fits(where: str, own: Tensor, kept: Entry) -> None:
    """Refuse another type or shape.

    Raises:
        ShapeError: one of them differs.
        UsageError: there is nothing to copy into.
    """
    kind = str(own.dtype).removeprefix("torch.")
    if tuple(own.shape) != kept.true:
        raise ShapeError(
            f"{where} was kept in the shape {list(kept.true)}, and the module's is {list(own.shape)}; build the module "
            "as it was"
        )
    if kind != kept.name:
        raise ShapeError(f"{where} was kept as {kept.name}, and the module's is {kind}; convert the module first (to)")
    if own.layout is torch.strided and any(s == 0 and n > 1 for s, n in zip(own.stride(), own.shape, strict=True)):
        raise UsageError(f"{where} shows one number in many places (expand) in the module; make it contiguous")
    if own.is_meta:
        raise UsageError(f"{where} has no memory in the module; call module.to_empty(device=...) first")


def _once(files: Files, own: Mapping[str, Tensor], filled: Collection[str]) -> list[str]:
    """One name for every tensor of the module.

    Raises:
        UsageError: a tensor has two names under which the version holds different numbers.
    """
    first: dict[int, str] = {}
    for name in filled:
        other = first.setdefault(id(own[name]), name)
        if other == name:
            continue
        pair = contents.weights(files, (other, name))
        if pair[other].tobytes() != pair[name].tobytes():
            raise UsageError(
                f"{files.name}: {other!r} and {name!r} are one tensor of the module and were kept with different "
                "numbers; build the module without the tie"
            )
    return list(first.values())


def _coming(files: Files, kept: Mapping[str, Entry], names: Collection[str]) -> Iterator[tuple[str, ndarray]]:
    """The weights of these names, so many at a time that those of a remote place need not all be in memory."""
    together: list[str] = []
    size = 0
    for name in names:
        together.append(name)
        size += kept[name].end - kept[name].begin
        if size >= _BATCH:
            yield from contents.weights(files, tuple(together)).items()
            together, size = [], 0
    if together:
        yield from contents.weights(files, tuple(together)).items()


def _tensor(array: ndarray) -> Tensor:
    """The numbers of an array as a tensor, to be read only; types that numpy lacks go by way of bytes."""
    kind = getattr(torch, array.dtype.name)
    if array.dtype.isbuiltin == 1:
        found: Tensor = from_dlpack(array)
        return found
    plain: Tensor = from_dlpack(array.view(f"uint{8 * array.itemsize}"))
    return plain.view(kind)
