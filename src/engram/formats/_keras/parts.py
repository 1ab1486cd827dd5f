"""The tree of a model's layers: what each array is called, and where Keras keeps it.

The rule of names: the names of the layers from the outermost network on, joined by ``/``, then Keras' own name for the
array (``encoder/dense_1/kernel``, ``bidirectional/forward_lstm/lstm_cell/bias``). Keras' own paths leave the outer
networks out, and two inner networks could then hold arrays of one name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from engram.formats._keras.config import Layer, Network
from engram.formats._keras.kind import Part
from engram.formats._keras.table import kind_of

__all__ = ["arrays", "snake", "tree"]

_ALIASES = {"GroupQueryAttention": "GroupedQueryAttention", "Model": "Functional"}


def tree(network: Network, path: str = "", place: str = "", *, frozen: bool = False) -> dict[str, Part]:
    """The layers of a network as parts, by name.

    Raises:
        FormatError: a layer is of a kind that is not known.
    """
    made: dict[str, Part] = {}
    used: dict[str, int] = {}
    for layer in network.layers:
        inside = f"{path}/{layer.name}" if path else layer.name
        still = frozen or layer.settings.get("trainable") is False
        kept = ""
        if not layer.operation:
            kept = f"{place}layers/{_unique(snake(_class(layer.kind)), used)}"
        made[layer.name] = _part(layer, inside, kept, still=still)
    return made


def _part(layer: Layer, path: str, place: str, *, still: bool) -> Part:
    """A layer with all that is within it."""
    if layer.network is not None:
        return Part(layer, path, place, children=tree(layer.network, path, f"{place}/", frozen=still), frozen=still)
    if layer.kind == "InputLayer":
        return Part(layer, path, place)
    kind = kind_of(layer, f"layer {path!r}")
    below = {
        at: _part(one, f"{path}/{one.name}", f"{place}/{at}", still=still) for at, one in kind.children(layer).items()
    }
    return Part(layer, path, place, kind.variables(layer.settings), below, still)


def arrays(part: Part) -> Iterator[tuple[str, str, bool]]:
    """Name, place and whether it is trained, of every array of a part, in Keras' order."""
    for variable in part.variables:
        yield f"{part.path}/{variable.called}", f"{part.place}/{variable.place}", variable.trained and not part.frozen
    for child in part.children.values():
        yield from arrays(child)


def snake(name: str) -> str:
    """A class as Keras names it in files."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _class(kind: str) -> str:
    """The class that a loaded layer really has, where the config uses an alias of it."""
    return _ALIASES.get(kind, kind)


def _unique(name: str, used: dict[str, int]) -> str:
    used[name] = used.get(name, -1) + 1
    return f"{name}_{used[name]}" if used[name] else name
