"""What the names in a file of torch's mean, and no others.

A tensor is rebuilt as a record of where its numbers lie. A name that is of no use here, but is honest, is answered with
what to do; the machine answers every other one with the name itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._pickle import (
    ARRAYS,
    CONTAINERS,
    KEPT,
    OBJECTS,
    Allowed,
    Reference,
    Refused,
    Word,
)
from engram.formats._pytorch import types
from engram.formats._pytorch.tensors import Storage, Tensor, window

__all__ = ["ALLOWED"]

_TENSORS = frozenset(
    {
        Reference("torch", "Tensor"),
        Reference("torch._tensor", "Tensor"),
        Reference("torch.nn.parameter", "Parameter"),
        Reference("torch.nn.parameter", "Buffer"),
    }
)
_BITS = frozenset({"neg", "conj"})
_MODULE = "no part of a state_dict; if a whole module was saved, save module.state_dict() or use torch.export"
_QUANTIZED = "quantized tensors are not read; save tensor.dequantize()"
_SPARSE = "sparse tensors are not read; save tensor.to_dense()"
_HOLLOW = "a tensor without numbers was saved, from the device 'meta'"
_NESTED = "nested tensors are not read; save the tensors in them"


def _tensor(
    storage: object, offset: object, shape: object, strides: object, grad: object = False, _hooks: object = None,
    bits: object = None,
) -> Tensor:  # fmt: skip
    """A tensor whose type is that of its storage."""
    if not isinstance(storage, Storage) or not isinstance(grad, bool):
        raise FormatError("a tensor lies in a storage")
    return _with_bits(window(storage, storage.kind, (offset, _lengths(shape), strides)), bits)


def _typed(
    storage: object, offset: object, shape: object, strides: object, _grad: object, _hooks: object, kind: object,
    bits: object = None,
) -> Tensor:  # fmt: skip
    """A tensor that names its type, over bytes."""
    if not isinstance(storage, Storage):
        raise FormatError("a tensor lies in a storage")
    return _with_bits(window(storage, types.named(kind), (offset, _lengths(shape), strides)), bits)


def _with_bits(tensor: Tensor, bits: object) -> Tensor:
    """A tensor with what torch says of how its numbers are to be taken: with the other sign, or conjugate."""
    if bits is None:
        return tensor
    if not isinstance(bits, dict) or not bits.keys() <= _BITS or not all(type(bit) is bool for bit in bits.values()):
        told = ", ".join(sorted(map(str, bits)))[:80] if isinstance(bits, dict) else type(bits).__name__
        raise FormatError(f"its numbers are to be taken in a way that is not known ({told}); save tensor.clone()")
    negative, conjugate = bits.get("neg", False), bits.get("conj", False)
    kind = tensor.kind.kind
    if (conjugate and kind != "c") or (negative and kind in "bu"):
        raise FormatError(f"numbers of {tensor.kind} have no conjugate or no sign")
    return replace(tensor, negative=negative, conjugate=conjugate)


def _parameter(data: object, _grad: object = True, _hooks: object = None, state: object = None) -> Tensor:
    if not isinstance(data, Tensor):
        raise FormatError("a parameter is made of a tensor")
    return replace(data, parameter=True, notes=_noted(state))


def _of_type(make: object, kind: object, arguments: object, state: object) -> Tensor:
    """A tensor of a derived class, or one with attributes, which are left and named."""
    builders: dict[str, Callable[..., Tensor]] = {
        "_rebuild_tensor_v2": _tensor,
        "_rebuild_tensor_v3": _typed,
        "_rebuild_parameter": _parameter,
    }
    if not isinstance(make, Reference) or make.module != "torch._utils" or make.name not in builders:
        raise FormatError(f"no tensor is made by {make}")
    if kind not in _TENSORS or type(arguments) is not tuple:
        raise FormatError(f"a tensor of the class {kind} is not known; save a plain tensor")
    parameter = isinstance(kind, Reference) and kind.name == "Parameter"
    return replace(builders[make.name](*arguments), parameter=parameter, notes=_noted(state))


def _noted(state: object) -> tuple[str, ...]:
    """The names of what a program had set on a tensor: a dictionary of attributes, perhaps with one of slots."""
    both = state if type(state) is tuple else (state,)
    return tuple(str(name)[:60] for part in both if isinstance(part, dict) for name in part)


def _from_array(data: object, kind: object, _device: object, _grad: object) -> ndarray:
    """A tensor of a device that hands its numbers over as numpy's (XLA, HPU)."""
    if not isinstance(data, ndarray):
        raise FormatError("the numbers of such a tensor are an array")
    with np.errstate(all="ignore"):
        return data.astype(types.named(kind))


def _from_tensor(data: object, kind: object, _device: object, _grad: object) -> Tensor:
    if not isinstance(data, Tensor) or types.named(kind) != data.kind:
        raise FormatError("the numbers of such a tensor are a tensor of its type")
    return data


def _size(lengths: object = ()) -> tuple[int, ...]:
    return _lengths(lengths)


def _lengths(shape: object) -> tuple[int, ...]:
    found = tuple(shape) if isinstance(shape, (list, tuple)) else None
    if found is None or not all(type(axis) is int for axis in found):
        raise FormatError("lengths are whole numbers")
    return found


def _device(kind: object, number: object = None) -> str:
    """A device as the text that names it."""
    if type(kind) is not str or not (number is None or type(number) is int):
        raise FormatError("a device is a name and a number")
    return kind if number is None else f"{kind}:{number}"


def _layout(name: object) -> str:
    """A layout as the text that names it; only ``torch.strided`` is that of a tensor here."""
    if name != "torch.strided":
        raise FormatError(_SPARSE)
    return "torch.strided"


def _path(*parts: object) -> str:
    """A path as its text, which leads nowhere."""
    if not all(type(part) is str for part in parts):
        raise FormatError("a path is made of texts")
    return "/".join(str(part) for part in parts).replace("//", "/") or "."


def _words(module: str, names: Mapping[str, Any] | tuple[str, ...]) -> dict[tuple[str, str], Allowed]:
    return {(module, name): Word(Reference(module, name)) for name in names}


def _refused(module: str, names: tuple[str, ...], why: str) -> dict[tuple[str, str], Allowed]:
    return {(module, name): Refused(why) for name in names}


_KNOWN: Mapping[tuple[str, str], Allowed] = {
    **CONTAINERS,
    **OBJECTS,
    **ARRAYS,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _from_array,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _from_tensor,
    ("torch._utils", "_rebuild_xla_tensor"): _from_array,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch.serialization", "_get_layout"): _layout,
    **{(item.module, item.name): Word(item) for item in _TENSORS},
    **_words("torch", types.STORAGES),
    **_words("torch.cuda", types.STORAGES),
    **_words("torch.storage", ("UntypedStorage",)),
    **_words("torch", types.TYPES),
    **_refused("torch", types.QUANTIZED, _QUANTIZED),
    **_refused("torch._utils", ("_rebuild_qtensor",), _QUANTIZED),
    **_refused("torch._utils", ("_rebuild_sparse_tensor", "_rebuild_sparse_csr_tensor"), _SPARSE),
    **_refused("torch._utils", ("_rebuild_meta_tensor_no_storage", "_rebuild_wrapper_subclass"), _HOLLOW),
    **_refused("torch._utils", ("_rebuild_nested_tensor",), _NESTED),
    ("argparse", "Namespace"): KEPT,
    ("pytorch_lightning.utilities.parsing", "AttributeDict"): KEPT,
    ("lightning.pytorch.utilities.parsing", "AttributeDict"): KEPT,
    ("lightning.fabric.utilities.data", "AttributeDict"): KEPT,
    ("lightning_fabric.utilities.data", "AttributeDict"): KEPT,
    **{("pathlib", f"{pure}{kind}Path"): _path for pure in ("", "Pure") for kind in ("", "Posix", "Windows")},
}


class _Names(Mapping[tuple[str, str], Allowed]):
    """The known names, and for the rest of torch's modules and for classes of a user's own what to do."""

    def __getitem__(self, key: tuple[str, str]) -> Allowed:
        module = key[0].partition(".")[0]
        if key in _KNOWN:
            return _KNOWN[key]
        if key[0].startswith("torch.nn.") or (module and module not in _FOREIGN):
            return Refused(_MODULE)
        raise KeyError(key)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(_KNOWN)

    def __len__(self) -> int:
        return len(_KNOWN)


_FOREIGN = frozenset({*sys.stdlib_module_names, "__builtin__", "copy_reg", "torch", "numpy"}) - {"__main__"}

ALLOWED: Final[Mapping[tuple[str, str], Allowed]] = _Names()
