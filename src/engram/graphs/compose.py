"""From raw input to answer in one graph: preprocessing, network and head, so that a request runs one session.

The head is made here from the kind of the network's output and from the labels. It is never stored: the network in
the store stays the one that was trained, and how its answer is read is part of the signature.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from engram.errors import ConversionError
from engram.graphs.build import IR_VERSION, Builder, element_type
from engram.graphs.naming import distinguish, rename, unique, values
from engram.graphs.weights import attach
from engram.records import Model, TensorSpec

__all__ = ["classes", "compose", "head", "join"]

_ANSWERS = ("label", "probabilities", "value")
_CHANCES = {"logits", "logit", "probabilities", "probability"}
_BINARY = {"logit", "probability"}
_HEAD_INPUT = "network's answer"


def compose(model: Model, *, network_outputs: bool = False) -> bytes:
    """The whole model as one serialized ModelProto, weights inside: raw inputs in, answer out.

    Outputs by the kind of the network's first output: ``logits``, ``logit``, ``probabilities`` and ``probability``
    give ``label`` (string, (batch,)) and ``probabilities`` (float32, (batch, classes)); ``value`` gives ``value``
    (float32, (batch,), or (batch, outputs) where there are several); anything else gives the network's own outputs.

    Args:
        model: with or without preprocessing and labels.
        network_outputs: whether the network's own outputs follow the answer.

    Raises:
        ConversionError: preprocessing and network do not fit together.
        FormatError: the weights are not the graph's.
    """
    network = attach(model.graph, model.weights)
    own = [value.name for value in network.graph.output]
    whole, own = _with_preprocessing(model, network, own)
    answer = head(model)
    if not answer:
        return _finish(whole, own)
    whole, new = join(whole, _parse(answer), {_HEAD_INPUT: own[0]}, prefix="answer")
    return _finish(whole, [*new, *(own if network_outputs else own[1:])])


def classes(model: Model) -> tuple[str, ...]:
    """The labels in the order of the columns of ``probabilities``; class numbers where there are none.

    Empty when the model does not classify.

    Raises:
        ConversionError: there are more or fewer labels than the network has classes.
    """
    spec = model.signature.outputs[0]
    if not _classifies(spec, model.labels):
        return ()
    last = spec.shape[-1] if spec.shape else 1
    width = 2 if spec.kind in _BINARY else last
    labels = model.labels or tuple(str(number) for number in range(int(width)))
    if isinstance(width, int) and width != len(labels):
        raise ConversionError(f"output {spec.name!r} has {width} classes, but there are {len(labels)} labels")
    return labels


def head(model: Model) -> bytes:
    """What turns the network's first output into an answer, as a graph; empty when there is nothing to turn."""
    spec = model.signature.outputs[0]
    labels = classes(model)
    if not labels and spec.kind != "value":
        return b""
    plain = TensorSpec(_HEAD_INPUT, spec.dtype, spec.shape)
    builder = Builder([plain], name="answer")
    value = plain.name if spec.dtype == "float32" else builder.node("Cast", plain.name, to=element_type("float32"))
    if not labels:
        return _value_head(builder, value, spec)
    return _label_head(builder, value, spec.kind, labels)


def join(
    first: onnx.ModelProto, second: onnx.ModelProto, wires: Mapping[str, str], *, prefix: str
) -> tuple[onnx.ModelProto, list[str]]:
    """Two graphs as one.

    Args:
        first: its names stay.
        second: its names get the prefix where they would collide.
        wires: input of the second → value of the first that feeds it.
        prefix: for names of the second (``network`` makes ``network/add``).

    Returns:
        The graph without outputs, and the names its outputs would have if they were those of the second.

    Raises:
        ConversionError: the two are written in different versions of an operator set.
    """
    whole, added = onnx.ModelProto(), onnx.ModelProto()
    whole.CopyFrom(first)
    added.CopyFrom(second)
    taken = values(whole.graph)
    mapping = dict(wires)
    for name in sorted(values(added.graph) - set(wires)):
        mapping[name] = unique(f"{prefix}/{name}" if name in taken else name, taken)
    rename(added.graph, mapping)
    whole.graph.node.extend(added.graph.node)
    whole.graph.initializer.extend(added.graph.initializer)
    whole.graph.sparse_initializer.extend(added.graph.sparse_initializer)
    whole.graph.input.extend(v for v in added.graph.input if v.name not in wires.values())
    whole.graph.value_info.extend(added.graph.output)
    whole.functions.extend(added.functions)
    _merge_versions(whole, added)
    return whole, [value.name for value in added.graph.output]


def _with_preprocessing(model: Model, network: onnx.ModelProto, own: list[str]) -> tuple[onnx.ModelProto, list[str]]:
    """The network behind its preprocessing, with the names of the answer left free, and its outputs' names now."""
    reserved = set(_ANSWERS) & (values(network.graph) - {value.name for value in network.graph.input})
    mapping = {name: f"network/{name}" for name in reserved}
    rename(network.graph, mapping)
    own = [mapping.get(name, name) for name in own]
    if not model.preprocessing:
        network.graph.value_info.extend(network.graph.output)
        return network, own
    preprocessing = _parse(model.preprocessing)
    made = {value.name for value in preprocessing.graph.output}
    wanted = [value.name for value in network.graph.input]
    absent = [name for name in wanted if name not in made]
    if absent:
        raise ConversionError(f"the network wants {absent[0]!r}, but preprocessing makes {', '.join(sorted(made))}")
    mapped = {name: name for name in wanted}
    return join(preprocessing, network, mapped, prefix="network")


def _finish(model: onnx.ModelProto, outputs: list[str]) -> bytes:
    declared = {v.name: v for v in [*model.graph.value_info, *model.graph.output, *model.graph.input]}
    chosen = [declared[name] for name in outputs]
    del model.graph.output[:]
    model.graph.output.extend(chosen)
    del model.graph.value_info[:]
    distinguish(model.graph)
    model.ir_version = max(model.ir_version, IR_VERSION)
    model.producer_name = "engram"
    return bytes(model.SerializeToString(deterministic=True))


def _classifies(spec: TensorSpec, labels: tuple[str, ...]) -> bool:
    if spec.kind not in _CHANCES or len(spec.shape) > 2:
        return False
    return bool(labels) or spec.kind in _BINARY or (len(spec.shape) == 2 and isinstance(spec.shape[-1], int))


def _value_head(builder: Builder, value: str, spec: TensorSpec) -> bytes:
    single = len(spec.shape) == 2 and spec.shape[1] == 1
    if single:
        builder.node("Squeeze", value, builder.constant([1], dtype="int64"), name="value")
    else:
        builder.node("Identity", value, name="value")
    return builder.finish([TensorSpec("value", "float32", spec.shape[:1] if single else spec.shape)])


def _label_head(builder: Builder, value: str, kind: str, labels: tuple[str, ...]) -> bytes:
    if kind in _BINARY:
        value = _two_columns(builder, value, kind)
    ranked = value
    if kind == "logits":
        # the label is read from the logits: probabilities of different logits may round to the same number
        value = builder.node("Softmax", value, axis=-1, name="probabilities")
    else:
        value = builder.node("Identity", value, name="probabilities")
    place = builder.node("ArgMax", ranked, axis=-1, keepdims=0)
    builder.node("Gather", builder.constant(labels, name="labels"), place, axis=0, name="label")
    outputs = [
        TensorSpec("label", "string", ("batch",)),
        TensorSpec("probabilities", "float32", ("batch", len(labels))),
    ]
    return builder.finish(outputs)


def _two_columns(builder: Builder, value: str, kind: str) -> str:
    """The chances of both classes, (batch, 2), from the second's alone."""
    column = builder.node("Reshape", value, builder.constant([-1, 1], dtype="int64"))
    if kind == "probability":
        rest = builder.node("Sub", builder.constant(np.float32(1)), column)
        return builder.node("Concat", rest, column, axis=1)
    # the sigmoid of the negated logit, because 1 - p loses the digits of a small chance
    other = builder.node("Sigmoid", builder.node("Neg", column))
    return builder.node("Concat", other, builder.node("Sigmoid", column), axis=1)


def _merge_versions(whole: onnx.ModelProto, added: onnx.ModelProto) -> None:
    versions = {entry.domain: entry.version for entry in whole.opset_import}
    for entry in added.opset_import:
        if versions.setdefault(entry.domain, entry.version) != entry.version:
            domain = entry.domain or "ai.onnx"
            raise ConversionError(
                f"operator set {domain} is {versions[entry.domain]} in one graph and {entry.version} in the other; "
                "bring both into the canonical form first"
            )
    del whole.opset_import[:]
    whole.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in sorted(versions.items()))


def _parse(graph: bytes) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.ParseFromString(graph)
    return model
