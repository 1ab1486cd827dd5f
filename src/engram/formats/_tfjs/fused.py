"""Operations that TensorFlow's optimizer joined into one, divided again into those it joined.

TensorFlow.js' converter lets it do so, and TensorFlow.js has these operations; nothing else that reads graphs has. What
is divided computes the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engram.errors import FormatError
from engram.formats._tensorflow.messages import message

__all__ = ["divided"]

_PLAIN: Mapping[str, str] = {
    "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative",
    "_FusedConv2D": "Conv2D",
    "_FusedMatMul": "MatMul",
}
_AFTER = frozenset({"Elu", "LeakyRelu", "Relu", "Relu6", "Sigmoid", "Tanh"})
_SAID = frozenset(
    {"T", "data_format", "dilations", "explicit_paddings", "padding", "strides", "transpose_a", "transpose_b"}
)


def divided(graph: Any) -> None:  # noqa: ANN401 - a generated class
    """Put plain nodes in the place of joined ones, in a graph and in its functions.

    Raises:
        FormatError: something is joined that is not known.
    """
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        made = [one for node in nodes for one in _parts(node, inside=nodes is not graph.node)]
        if len(made) != len(nodes):
            del nodes[:]
            nodes.extend(made)


def _parts(node: Any, *, inside: bool) -> list[Any]:  # noqa: ANN401 - generated classes
    if node.op == "Prelu":
        return _prelu(node, inside=inside)
    if node.op not in _PLAIN:
        return [node]
    given = [text for text in node.input if not text.startswith("^")]
    joined = [text.decode("utf-8", "replace") for text in node.attr["fused_ops"].list.s]
    made = [_node(f"{node.name}/{_PLAIN[node.op]}", _PLAIN[node.op], given[:2], node)]
    rest = given[2:]
    for place, kind in enumerate(joined):
        before = _edge(made[-1], inside=inside)
        name = f"{node.name}/{kind}_{place}"
        if kind == "BiasAdd" and rest:
            made.append(_node(name, "BiasAdd", [before, rest.pop(0)], node))
        elif kind == "Prelu" and rest:
            made += _prelu(_node(name, "Prelu", [before, rest.pop(0)], node), inside=inside)
        elif kind in _AFTER:
            made.append(_node(name, kind, [before], node))
            if kind == "LeakyRelu":
                made[-1].attr["alpha"].f = node.attr["leakyrelu_alpha"].f if "leakyrelu_alpha" in node.attr else 0.2
        else:
            raise FormatError(f"node {node.name!r} joins {kind!r:.40} to a {_PLAIN[node.op]}, which is not read")
    made[-1].name = node.name
    return made


def _prelu(node: Any, *, inside: bool) -> list[Any]:  # noqa: ANN401 - generated classes
    """max(x, 0) − a · max(−x, 0), which is x above 0 and a · x below."""
    value, slope = list(node.input)[:2]
    above = _node(f"{node.name}/above", "Relu", [value], node)
    turned = _node(f"{node.name}/turned", "Neg", [value], node)
    below = _node(f"{node.name}/below", "Relu", [_edge(turned, inside=inside)], node)
    part = _node(f"{node.name}/part", "Mul", [slope, _edge(below, inside=inside)], node)
    both = [_edge(above, inside=inside), _edge(part, inside=inside)]
    return [above, turned, below, part, _node(node.name, "Sub", both, node)]


def _node(name: str, kind: str, given: list[str], source: Any) -> Any:  # noqa: ANN401 - generated classes
    made = message("Node", name=name, op=kind, input=given)
    for key in source.attr:
        if key in _SAID:
            made.attr[key].CopyFrom(source.attr[key])
    return made


def _edge(node: Any, *, inside: bool) -> str:  # noqa: ANN401 - a generated class
    return f"{node.name}:output:0" if inside else str(node.name)
