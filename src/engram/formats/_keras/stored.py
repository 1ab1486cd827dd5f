"""Weights as Keras keeps them in HDF5: by the place of a layer in its model, or, before Keras 3, by lists of names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from numpy import ndarray

from engram.errors import FormatError
from engram.formats._hdf5.tree import Tree
from engram.formats._keras.kind import Part
from engram.formats._keras.parts import arrays

__all__ = ["alone", "by_list", "by_place", "is_by_list", "listed", "names_of"]

_ROOTS = ("", "_layer_checkpoint_dependencies/")
"""Where layers stand: at the root, or, in the first releases that wrote ``.keras``, under a name of TensorFlow's."""
_OTHERS = ("seed_generator", "random_generator", "_random_generator")


class Held(Mapping[str, ndarray]):
    """Weights by our names, each read from its place in a tree when it is asked for."""

    def __init__(self, tree: Tree, places: Mapping[str, str]) -> None:
        self._tree, self._places = tree, places

    def __getitem__(self, name: str) -> ndarray:
        return self._tree.array(self._places[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def by_place(tree: Tree, parts: Mapping[str, Part]) -> Mapping[str, ndarray]:
    """The weights in a tree that says ``layers/dense/vars/0``, under our names, each read when it is asked for.

    Raises:
        FormatError: one is not there, or there is one that no layer has.
    """
    wanted = [(name, place) for part in parts.values() for name, place, _ in arrays(part)]
    index = {_plain(path): path for path in tree.arrays()}
    found, missing = dict[str, str](), []
    for name, place in wanted:
        path = index.pop(_plain(place), None)
        if path is None:
            missing.append((name, place))
        else:
            found[name] = path
    if missing:
        name, place = missing[0]
        raise FormatError(f"{tree.where} has no {place!r}, where the weight {name!r} should be")
    left = [path for path in index.values() if _is_weight(path)]
    if left:
        raise FormatError(f"{tree.where} has {left[0]!r}, which is a weight of no layer that the config describes")
    return Held(tree, found)


def _plain(path: str) -> str:
    """A place without what differs between releases: attributes were private in the first ones."""
    path = path.removeprefix("_layer_checkpoint_dependencies/")
    path = path.replace("/_layer_checkpoint_dependencies/", "/layers/")
    plain = "/".join(part.removeprefix("_") for part in path.split("/"))
    return plain if plain.startswith("layers/") else f"layers/{plain}"


def _is_weight(path: str) -> bool:
    parts = path.split("/")
    outside = parts[0] in {"optimizer", "metrics", "loss", "compile_metrics", "vars", "_metrics", "_compile_metrics"}
    return not outside and not any(part in _OTHERS for part in parts)


def is_by_list(tree: Tree, group: str) -> bool:
    """Whether a group lists its layers by name, as before Keras 3."""
    return group in tree and bool(listed(tree, group, "layer_names"))


def by_list(tree: Tree, group: str, parts: Mapping[str, Part]) -> Mapping[str, ndarray]:
    """The weights in a group that lists layers and, for each, its arrays in order, under our names; as ``by_place``.

    Raises:
        FormatError: a layer has another number of arrays than the config says.
    """
    found: dict[str, str] = {}
    for part in parts.values():
        wanted = [name for name, trained in names_of(part)]
        inside = f"{group}/{part.layer.name}" if group else part.layer.name
        given = listed(tree, inside, "weight_names") if inside in tree else []
        if len(given) != len(wanted):
            raise FormatError(f"{tree.where} has {len(given)} arrays for {part.where}, which has {len(wanted)}")
        for name, place in zip(wanted, given, strict=True):
            found[name] = f"{inside}/{place}"
    return Held(tree, found)


def names_of(part: Part) -> list[tuple[str, bool]]:
    """Names of a part's arrays and whether they are trained: those that are come first, as Keras lists them."""
    every = [(name, trained) for name, _, trained in arrays(part)]
    return [one for one in every if one[1]] + [one for one in every if not one[1]]


def alone(tree: Tree) -> dict[str, ndarray]:
    """The weights of a file that holds nothing else, under the names it gives them."""
    if is_by_list(tree, ""):
        return dict(_named(tree))
    return {path: tree.array(path) for path in tree.arrays() if _is_weight(path)}


def _named(tree: Tree) -> Iterator[tuple[str, ndarray]]:
    for layer in listed(tree, "", "layer_names"):
        for name in listed(tree, layer, "weight_names"):
            path = f"{layer}/{name}"
            yield (name.removesuffix(":0") if "/" in name else path.removesuffix(":0")), tree.array(path)


def listed(tree: Tree, path: str, key: str) -> list[str]:
    """A list of names, which stands in several attributes where it is long."""
    attributes = tree.node(path).attributes
    if key in attributes:
        return _texts(attributes[key])
    names, place = [], 0
    while f"{key}{place}" in attributes:
        names += _texts(attributes[f"{key}{place}"])
        place += 1
    return names


def _texts(found: object) -> list[str]:
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
