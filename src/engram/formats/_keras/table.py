"""Every class of layer and every operation that is known, by Keras' name for it."""

from __future__ import annotations

from collections.abc import Mapping

from engram.errors import FormatError
from engram.formats._keras import (
    layers_attention,
    layers_convolution,
    layers_dense,
    layers_normalization,
    layers_pictures,
    layers_recurrent,
    layers_shape,
    layers_tables,
)
from engram.formats._keras.config import NETWORKS, Layer
from engram.formats._keras.kind import Kind
from engram.formats._keras.operations import OPERATIONS
from engram.plugins import nearest

__all__ = ["LAYERS", "kind_of"]

LAYERS: Mapping[str, Kind] = {
    **layers_attention.KINDS,
    **layers_convolution.KINDS,
    **layers_dense.KINDS,
    **layers_normalization.KINDS,
    **layers_pictures.KINDS,
    **layers_recurrent.KINDS,
    **layers_shape.KINDS,
    **layers_tables.KINDS,
}


def kind_of(layer: Layer, where: str) -> Kind:
    """The kind of a layer that is no network and no input.

    Raises:
        FormatError: there is none of this name.
    """
    known = OPERATIONS if layer.operation or (layer.bare and layer.kind in OPERATIONS) else LAYERS
    if layer.kind not in known:
        noun = "operation of keras.ops" if layer.operation else "layer"
        near = nearest(layer.kind, known)  # of the hundreds of names all others would hide what went wrong
        hint = near if near.startswith("did you") else "say it with those that are, or save the model as a SavedModel"
        raise FormatError(f"{where}: the {noun} {layer.kind} ({layer.name!r}) is not read; {hint}")
    assert layer.kind not in NETWORKS
    return known[layer.kind]
