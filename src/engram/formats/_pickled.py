"""Plain arrays and dictionaries in a pickle, by joblib or by Python alone: what both formats have in common.

Which of the two a file is matters only for its name: people dump by joblib to ``.pkl``. Whatever was dumped is read
under either suffix; what is written under one is the one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from engram.errors import ConversionError, FormatError
from engram.formats import _carried
from engram.formats._flat import flat
from engram.formats._joblib import stream, unpickled
from engram.formats._pickle import ARRAYS, CONTAINERS, OBJECTS, Allowed
from engram.formats._pickle.writing import Call, pieces
from engram.records import Limits, Model, Signature

__all__ = ["is_joblibs", "is_pickle", "read", "write"]

_BINARY: Final = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_WRITTEN: Final = (b"(dp", b"(lp", b"}q", b"]q", b"(cnumpy", b"cnumpy")
"""How pickles of dictionaries, lists and arrays begin in protocols 0 and 1, which have no mark of their own."""
_TORCH: Final = b"\x80\x02\x8a\nl\xfc\x9cF"
_PROTOCOL: Final = 4
_ALLOWED: Final[Mapping[tuple[str, str], Allowed]] = {**CONTAINERS, **OBJECTS, **ARRAYS}
_FORMATS: Final = frozenset({"pickle", "joblib"})


def is_pickle(head: bytes) -> bool:
    """Whether a file begins as a pickle does, or as one that joblib compressed, and not as torch's old form."""
    if head.startswith(_TORCH):
        return False
    begin = stream.begins(head) if stream.is_packed(head) else head
    return begin.startswith((*_BINARY, *_WRITTEN)) or head.startswith(stream.LZ4)


def is_joblibs(head: bytes, path: Path) -> bool:
    """Whether a pickle goes by the name of joblib: by its suffix, and where that says nothing by what is in it."""
    suffix = path.suffix.lower()
    if suffix in {".pkl", ".pickle"}:
        return False
    return suffix == ".joblib" or b"joblib.numpy_pickle" in head or head[:1] != b"\x80"


def read(path: Path, limits: Limits, name: str) -> Model:
    """The arrays of a file, with graph and description where Engram wrote it.

    Raises:
        FormatError: the file is damaged or hostile, or holds anything but arrays and plain values.
    """
    tree = unpickled(path, _ALLOWED, limits)
    said = tree.get(_carried.KEY) if isinstance(tree, dict) else None
    if type(said) is str:
        tree = {key: value for key, value in tree.items() if key != _carried.KEY}
    weights, values = flat(tree, path.name)
    if len(weights) > limits.tensors:
        raise FormatError(f"{path.name} has {len(weights):,} arrays, over the limit of {limits.tensors:,}")
    if type(said) is str:
        return _carried.whole(said.encode("utf-8", "replace"), weights, f"the key {_carried.KEY!r}", limits)
    source: dict[str, Any] = {"format": name}
    if values:
        source["values"] = values
    return Model(graph=b"", weights=weights, signature=Signature((), ()), source=source)


def write(model: Model, path: Path, call: Callable[[object], Call | None]) -> None:
    """A dictionary of arrays by name, with the plain values that such a file had beside them.

    Raises:
        ConversionError: the model has no weights, or one whose name or type such a file cannot have.
    """
    if not model.weights:
        raise ConversionError("the model has no weights, of which alone such a file is made")
    if _carried.KEY in model.weights:
        raise ConversionError(f"a weight is called {_carried.KEY!r}, which is where the graph stands; rename it")
    made: dict[str, Any] = dict(model.weights)
    if said := _carried.text(model):
        made[_carried.KEY] = said.decode()
    elif model.source.get("format") in _FORMATS:
        made |= {key: value for key, value in model.source.get("values", {}).items() if key not in made}
    with path.open("wb") as file:
        for piece in pieces(made, call, _PROTOCOL):
            file.write(piece)
