"""Keras' HDF5 files written: weights by the place of their layers, or in lists of names as before Keras 3.

h5py writes them, because what Keras reads is what h5py makes; groups are made in the order of their names and no times
are kept, so that the same weights give the same bytes. It is given the file itself, so that no number lies in memory
twice. It is imported on writing alone: reading needs nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, MissingLibrary
from engram.formats._keras.kind import Part
from engram.formats._keras.parts import arrays
from engram.formats._keras.stored import names_of

__all__ = ["alone", "by_lists", "by_places"]

_PLACE = re.compile(r"(^|/)vars/\d+$")
"""Where Keras 3 keeps an array, whatever the layers and attributes on the way are called."""
_HEADER = 64_000
"""Bytes of names that one attribute may hold; Keras cuts longer lists, too."""


def alone(file: BinaryIO, weights: Mapping[str, ndarray]) -> None:
    """Weights under their own names, which must be places in Keras' files.

    Args:
        file: empty, open for reading and writing.
        weights: by name.

    Raises:
        ConversionError: a name is none that Keras gives.
    """
    odd = [name for name in weights if not _PLACE.search(name)]
    if odd or not weights:
        given = f"the weight {odd[0]!r} is" if odd else "there are no weights, and they would be"
        raise ConversionError(f"{given} in no layer of a Keras network, and there is no graph; write safetensors")
    with _hdf5(file) as tree:
        for name in sorted(weights):
            _put(tree, name, weights[name])


def by_places(
    file: BinaryIO,
    parts: Mapping[str, Part],
    weights: Mapping[str, ndarray],
    optimizer: Sequence[ndarray] = (),
    *,
    note: bytes = b"",
) -> None:
    """``model.weights.h5``: ``layers/dense/vars/0`` and, where there are any, ``optimizer/vars/0``."""
    places: dict[str, str | int] = {place: name for part in parts.values() for name, place, _ in arrays(part)}
    places |= {f"optimizer/vars/{number}": number for number in range(len(optimizer))}
    names = {f"{part.place}/vars": part.layer.name for part in _every(parts) if part.place}
    with _hdf5(file) as tree:
        tree.create_group("vars")
        if note:
            tree.attrs["engram"] = note.decode()
        for place in sorted({*names, *places}):
            if place in names:
                tree.require_group(place).attrs["name"] = names[place]
            else:
                said = places[place]  # each array is made or fetched when its turn comes
                _put(tree, place, weights[said] if isinstance(said, str) else optimizer[said])


def by_lists(
    file: BinaryIO,
    parts: Mapping[str, Part],
    weights: Mapping[str, ndarray],
    attributes: Mapping[str, str],
    optimizer: Sequence[tuple[str, ndarray]] = (),
) -> None:
    """A whole model's ``.h5``: attributes of the root, ``model_weights``, ``optimizer_weights``."""
    with _hdf5(file) as tree:
        for key, text in attributes.items():
            tree.attrs[key] = text
        group = tree.create_group("model_weights")
        layers = [part for part in parts.values() if not part.layer.operation]
        _list(group, "layer_names", [part.layer.name for part in layers])
        for key in ("backend", "keras_version"):
            group.attrs[key] = attributes[key]
        for part in sorted(layers, key=lambda part: part.layer.name):
            inside = group.create_group(part.layer.name)
            names = [name for name, _ in names_of(part)]
            _list(inside, "weight_names", names)
            for name in sorted(names):
                _put(inside, name, weights[name])
        _list(group.create_group("top_level_model_weights"), "weight_names", [])
        if optimizer:
            inside = tree.create_group("optimizer_weights")
            _list(inside, "weight_names", [name for name, _ in optimizer])
            for name, array in optimizer:
                _put(inside, name, array)


def _hdf5(file: BinaryIO) -> Any:  # noqa: ANN401 - h5py has no types
    try:
        import h5py
    except ModuleNotFoundError as missing:
        raise MissingLibrary(
            "writing Keras files needs h5py, which is not installed; pip install 'engram[keras]'"
        ) from missing
    return h5py.File(file, "w")


def _every(parts: Mapping[str, Part]) -> list[Part]:
    """All parts at any depth that Keras keeps a name for."""
    return [one for part in parts.values() for one in (part, *_every(part.children))]


def _put(group: Any, place: str, array: ndarray) -> None:  # noqa: ANN401 - h5py has no types
    """An array at a place; of bfloat16 the bits and a note, as Keras does it."""
    given = np.asarray(array)
    made = group.create_dataset(place, data=given, track_times=False)
    if given.dtype.name == "bfloat16":
        made.attrs["dtype"] = "bfloat16"


def _list(group: Any, key: str, names: Sequence[str]) -> None:  # noqa: ANN401 - h5py has no types
    encoded = [name.encode() for name in names]
    width = max((len(name) for name in encoded), default=1) or 1
    many = max(_HEADER // width, 1)
    if len(encoded) <= many:
        group.attrs[key] = np.array(encoded, dtype=f"S{width}")
        return
    for number, start in enumerate(range(0, len(encoded), many)):
        group.attrs[f"{key}{number}"] = np.array(encoded[start : start + many], dtype=f"S{width}")
