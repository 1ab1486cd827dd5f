"""A canonical network as a TFLite subgraph.

One table says which function writes which node; a network with a node that is not in it is refused before anything is
written, with all of them named, so that nobody has to find them one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._tflite import (
    write_convolution,
    write_elementwise,
    write_matrix,
    write_pooling,
    write_quantized,
    write_recurrent,
    write_reduction,
    write_resize,
    write_shape,
)
from engram.formats._tflite.draft import Draft, Held, Scaled, natural
from engram.formats._tflite.facts import Facts, gather
from engram.formats._tflite.narrowing import narrow
from engram.formats._tflite.parts import Entry, Quantization, Subgraph
from engram.formats._tflite.writing import Write, Writing
from engram.records import Model

__all__ = ["Written", "write_network"]

_TABLE: Mapping[str, Write] = {
    **write_elementwise.TABLE,
    **write_convolution.TABLE,
    **write_pooling.TABLE,
    **write_matrix.TABLE,
    **write_shape.TABLE,
    **write_reduction.TABLE,
    **write_resize.TABLE,
    **write_recurrent.TABLE,
    **write_quantized.TABLE,
}


@dataclass(frozen=True, slots=True)
class Written:
    """A network as TFLite has it.

    Attributes:
        graph: the subgraph.
        entry: its inputs and outputs by their names in the network.
        sources: tensor → where its numbers come from.
        folded: the BatchNormalizations that stand in the weights before them.
        weights: by name, the memory that ``sources`` looks into.
    """

    graph: Subgraph
    entry: Entry
    sources: Mapping[int, ndarray | Scaled]
    folded: tuple[str, ...]
    weights: Mapping[str, ndarray]


def write_network(model: Model) -> Written:
    """The network of a model as a subgraph; its preprocessing is not looked at.

    Raises:
        ConversionError: TFLite has nothing for one of its nodes; all of them are named.
    """
    facts = gather(model)
    _refuse_unknown(facts)
    writing = Writing(facts, Draft())
    write_quantized.hand_over(facts, writing.draft)
    inputs = {name: _input(writing, name) for name in facts.inputs}
    for node in facts.nodes:
        known = all(name in facts.constants or name in facts.counted for name in node.outputs if name)
        if not known and node.name not in writing.done:
            _TABLE[node.operator](node, writing)
    outputs = {name: _output(writing, name, set(inputs.values())) for name in facts.outputs}
    narrow(writing.draft, list(outputs.values()))
    graph, numbers = writing.draft.finish(list(inputs.values()), list(outputs.values()))
    place = {number: new for new, number in enumerate(numbers)}
    entry = Entry(
        "serving_default",
        {name: place[number] for name, number in inputs.items()},
        {name: place[number] for name, number in outputs.items()},
    )
    sources = {place[number]: source for number, source in writing.draft.sources.items() if number in place}
    return Written(graph, entry, sources, tuple(writing.folded), facts.weights)


def _refuse_unknown(facts: Facts) -> None:
    unknown = {
        node.operator if not node.domain else f"{node.domain}.{node.operator}"
        for node in facts.nodes
        if (node.operator not in _TABLE or node.domain)
        and not all(name in facts.constants or name in facts.counted for name in node.outputs if name)
    }
    if unknown:
        listed = ", ".join(sorted(unknown))
        raise ConversionError(f"the network has {listed}, for which TFLite has no operator here; write ONNX")


def _input(writing: Writing, name: str) -> int:
    shape, dtype = writing.shape(name), writing.dtype(name)
    if dtype == "string":
        raise ConversionError(f"input {name!r} is text, which a TFLite network cannot take here; encode it before")
    number = writing.draft.tensor(name, dtype, shape)
    writing.values[name] = Held(shape, dtype, {natural(len(shape)): number})
    return number


def _output(writing: Writing, name: str, taken: set[int]) -> int:
    """The tensor of an output; one that is an input, a constant or another output as well is copied."""
    if name in writing.integers:
        return _integer_output(writing, name)
    held = writing.held(name)
    number = writing.draft.get(held)
    draft = writing.draft
    if number in taken or number not in draft.makers:
        made = draft.tensor(name, held.dtype, held.shape)
        wanted = list(held.shape)
        draft.put("RESHAPE", [number, draft.integers(wanted)], [made], {"new_shape": wanted})
        number = made
    taken.add(number)
    draft.rename(number, name)
    return number


def _integer_output(writing: Writing, name: str) -> int:
    """An output that is quantized; moved back where the network has it without a sign."""
    tensor, layout = writing.integers[name]
    draft = writing.draft
    told = draft.tensors[tensor].quantization
    plain = draft.transpose(tensor, [layout.index(axis) for axis in range(len(layout))])
    if writing.dtype(name) == "uint8" and told is not None:
        moved = draft.tensor(name, "uint8", draft.shape(plain), Quantization(told.scale, told.zero_point + 128))
        draft.put("QUANTIZE", [plain], [moved], {})
        plain = moved
    draft.rename(plain, name)
    return plain
