"""MXNet: ``NAME-symbol.json`` and ``NAME-0000.params``, as ``export`` and ``save_checkpoint`` write them. Read only.

Both files are read by code of our own; MXNet is not needed, and has not been released since 2022. The symbol is the
file of the network; its parameters lie beside it under the same name, and where there are several (one an epoch), the
one that is meant is named instead. Parameters alone are weights without a graph.

Shapes of inputs stand in no file of MXNet. They are found from the first layer that meets them, as ``_mxnet/ends.py``
says; whoever saved a network may also have given its variables a shape, which is then believed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats import _files
from engram.formats._faults import typed
from engram.formats._mxnet import params, symbol
from engram.formats._mxnet.read import network
from engram.records import Limits, Model, Signature

__all__ = ["CARRIES", "SUFFIXES", "WRITES", "read", "recognizes", "write"]

SUFFIXES = ("-symbol.json", ".params")
CARRIES = ("graph", "weights", "names")
WRITES = False

_SYMBOL, _PARAMETERS = SUFFIXES
_NUMBERED = re.compile(r"-\d{4,6}\.params")
_KINDS = ("arg:", "aux:")


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file begins as a list of MXNet's arrays, or as a JSON object whose nodes have operators."""
    if head.startswith(params.MAGIC):
        return True
    if not head.lstrip(b" \t\r\n").startswith(b"{"):
        return False
    return path.name.lower().endswith(_SYMBOL) or bool(re.search(rb'"nodes"\s*:\s*\[\s*\{\s*"op"\s*:', head))


@typed
def read(path: Path, limits: Limits) -> Model:
    """The network of a symbol with the parameters beside it, or of parameters with the symbol beside them.

    Args:
        path: of either; parameters without a symbol are weights alone.
        limits: the largest of everything that is accepted.

    Raises:
        UsageError: there is no such file.
        FormatError: a file is damaged or hostile, the other one is not there or not the only one, or an operator is not
            read.
    """
    if _files.beginning(path).startswith(params.MAGIC):
        graph, arrays = _symbol_of(path), path
    else:
        graph, arrays = path, _parameters_of(path, limits)
    weights, fixed = _weights(params.read(arrays, limits))
    if graph is None:
        return Model(b"", weights, Signature((), ()), source={"format": "mxnet"})
    found = symbol.read(graph, limits)
    source: dict[str, Any] = {"format": "mxnet", "parameters": arrays.name}
    if found.version:
        source["mxnet"] = found.version
    return network(found, weights, fixed, source, limits)


def write(model: Model, path: Path) -> None:
    """Refuse, because MXNet is only read.

    Raises:
        ConversionError: always.
    """
    raise ConversionError(f"{path.name}: {len(model.weights):,} weights cannot go to MXNet, which is only read")


def _symbol_of(path: Path) -> Path | None:
    """The symbol beside a file of parameters; None where there is none."""
    numbered = _NUMBERED.search(path.name)
    stem = path.name[: numbered.start()] if numbered else path.stem
    beside = path.with_name(f"{stem}{_SYMBOL}")
    return _files.safe_join(path.parent, beside.name) if beside.exists() or beside.is_symlink() else None


def _parameters_of(path: Path, limits: Limits) -> Path:
    stem = path.name[: -len(_SYMBOL)] if path.name.lower().endswith(_SYMBOL) else path.stem
    found = []
    for place, file in enumerate(path.parent.iterdir()):
        if place > limits.files:
            raise FormatError(f"{path.parent} holds more than {limits.files:,} files; name the file of parameters")
        rest = file.name[len(stem) :] if file.name.startswith(stem) else ""
        if rest == _PARAMETERS or _NUMBERED.fullmatch(rest):
            found.append(file.name)
    if not found:
        raise FormatError(f"{path.name} needs its parameters beside it ({stem}-0000.params)")
    if len(found) > 1:
        raise FormatError(f"{path.name} has several files of parameters; name the one that is meant, as {max(found)}")
    return _files.safe_join(path.parent, found[0])


def _weights(found: dict[str, ndarray]) -> tuple[dict[str, ndarray], set[str]]:
    """Parameters by their own names, and which of them training does not move."""
    weights: dict[str, ndarray] = {}
    fixed = set()
    for key, array in found.items():
        kind = next((one for one in _KINDS if key.startswith(one)), "")
        name = key.removeprefix(kind)
        if name in weights or not name:
            raise FormatError(f"two parameters are called {name!r}, which only one can be")
        weights[name] = array
        fixed |= {name} if kind == _KINDS[1] else set()
    return weights, fixed
