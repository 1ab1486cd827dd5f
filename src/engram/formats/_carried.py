"""A whole model as one text beside its weights, for formats of arrays that have a place for a text.

The graphs and the description; the weights themselves are the format's own. On reading it is believed only if it fits
the weights that are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from numpy import ndarray

from engram.errors import FormatError
from engram.formats import _description, _document
from engram.records import Limits, Model

__all__ = ["KEY", "MEMBER", "noted", "notes", "text", "whole"]

KEY: Final = "engram"
"""Where the text stands in a dictionary."""
MEMBER: Final = "engram.json"
"""What the text is called in a zip."""


def text(model: Model) -> bytes:
    """The text; empty where a model has no graph, so that the file is the format's alone.

    Raises:
        ConversionError: the description is not plain JSON.
    """
    return _document.text(notes(model), "the description of the model") if model.graph else b""


def notes(model: Model) -> dict[str, Any]:
    """What the text says, as plain values."""
    return {
        **_description.graphs_as_text(model),
        "names": list(model.weights),
        **_description.describe(model),
    }


def whole(said: bytes, weights: Mapping[str, ndarray], where: str, limits: Limits) -> Model:
    """The model that the text and the weights beside it are.

    Args:
        said: the text.
        weights: by name, in any order.
        where: what to call the text in an error.
        limits: the largest of everything.

    Raises:
        FormatError: the text is damaged, or speaks of other weights.
    """
    return noted(_document.parse(said, where, depth=limits.config_depth), weights, where, limits)


def noted(found: Any, weights: Mapping[str, ndarray], where: str, limits: Limits) -> Model:  # noqa: ANN401 - of a stranger's file
    """As ``whole``, of what the text says.

    Raises:
        FormatError: as ``whole``.
    """
    description = _description.from_json(found, where)
    names = found.get("names")
    if not isinstance(names, list) or len(names) != len(weights) or {str(name) for name in names} != weights.keys():
        raise FormatError(f"the tensors are not those that {where} names; one was added or lost")
    graph, preprocessing = _description.graphs(found, where)
    ordered = {name: weights[name] for name in names}
    return _description.model(description, graph, ordered, preprocessing=preprocessing, limits=limits)
