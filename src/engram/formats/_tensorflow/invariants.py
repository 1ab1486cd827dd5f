"""What a loop hands to itself unchanged: weights, handles and lengths, which need not be carried."""

from __future__ import annotations

from engram.formats._tensorflow.graph import Body, Edge

__all__ = ["plain", "unchanged"]

_PASSING = frozenset({"Identity", "StopGradient", "Snapshot"})


def plain(body: Body, edge: Edge) -> Edge:
    """Where an edge begins once operations that change nothing are passed over."""
    seen = 0
    while edge.node in body.nodes and body.nodes[edge.node].operation in _PASSING and seen < len(body.nodes):
        edge = body.nodes[edge.node].inputs[0]
        seen += 1
    return edge


def unchanged(body: Body) -> set[int]:
    """The places of arguments that a body gives back as they are."""
    return {
        place
        for place, (name, result) in enumerate(zip(body.arguments, body.results, strict=False))
        if plain(body, result).node == name
    }
