import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from engram.errors import FormatError
from engram.graphs.check import check
from engram.graphs.weights import detach
from engram.records import Limits

FLOAT = TensorProto.FLOAT


def sound(nodes=None, tensors=()):
    given = nodes or [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")]
    weight = numpy_helper.from_array(np.ones((3, 2), "f4"), "w")
    value = helper.make_tensor_value_info
    outputs = [value("y", FLOAT, ["batch", None])]
    graph = helper.make_graph(given, "g", [value("x", FLOAT, ["batch", 3])], outputs, [weight, *tensors])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def refused(model, match, **more):
    data = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(FormatError, match=match or ".") as caught:
        check(data, **more)
    assert "\n" not in str(caught.value)


def test_a_sound_graph_passes_with_and_without_its_weights():
    model = sound()
    assert check(model.SerializeToString()) == model
    check(detach(model)[0])


@pytest.mark.parametrize("junk", [b"", b"not a model", b"\x80\x04\x95", b"PK\x03\x04" + bytes(30), bytes(100)])
def test_what_is_no_graph_is_refused(junk):
    refused(junk, "")


def test_every_truncation_is_refused():
    data = sound().SerializeToString()
    for length in range(0, len(data), 3):
        refused(data[:length], "")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_with_our_error_or_still_sound(data):
    raw = bytearray(sound().SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FormatError):
        check(bytes(raw))


def test_operators_that_are_not_onnx_are_named():
    refused(sound([helper.make_node("Run", ["x"], ["y"], name="evil", domain="shell")]), "'evil' is shell.Run")
    refused(sound([helper.make_node("Systm", ["x"], ["y"], name="n")]), "'n' is a 'Systm'")


def test_data_outside_the_file_are_refused_unless_they_are_the_weights():
    graph, _ = detach(sound())
    refused(graph, "has its data in 'weights'", outside=())
    model = onnx.load_from_string(graph)
    model.graph.initializer[0].external_data[0].value = "../../etc/passwd"
    refused(model, "passwd")


def test_data_outside_are_refused_in_attributes_and_branches():
    hidden = TensorProto(name="h", data_type=FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    hidden.external_data.add(key="location", value="weights")
    node = helper.make_node("Constant", [], ["c"])
    node.attribute.append(onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR, t=hidden))
    refused(sound([node, helper.make_node("Add", ["x", "c"], ["y"])]), "outside the file")
    branch = helper.make_graph(
        [helper.make_node("Add", ["x", "h"], ["z"])],
        "b",
        [],
        [helper.make_tensor_value_info("z", FLOAT, ["batch", 3])],
        [hidden],
    )
    choice = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    truth = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    refused(sound([truth, choice]), "outside the file")


@pytest.mark.parametrize(("more", "ok"), [(-1, False), (0, True), (1, False)])
def test_a_tensor_holds_exactly_what_it_declares(more, ok):
    model = sound()
    model.graph.initializer[0].raw_data = bytes(24 + 4 * more)
    if ok:
        check(model.SerializeToString())
    else:
        refused(model, r"'w' \[3, 2\] needs 24 bytes, but holds")


def test_a_vast_declared_shape_is_refused_before_anything_is_allocated():
    model = sound()
    model.graph.initializer[0].dims[:] = [2**40, 2**40]
    refused(model, "needs 4835703278458516698824704 bytes")


def test_limits_hold_to_the_last_unit():
    def at(limits, model):
        check(model.SerializeToString(), limits)

    chain = [helper.make_node("Relu", ["x"], ["v0"])]
    chain += [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(3)]
    chain.append(helper.make_node("MatMul", ["v3", "w"], ["y"]))
    model = sound(chain)
    at(Limits(nodes=5), model)
    refused(model, "more than 4 of node", limits=Limits(nodes=4))
    two = sound(tensors=[numpy_helper.from_array(np.ones(1, "f4"), "b")])
    at(Limits(tensors=2), two)
    refused(two, "more than 1 of tensor", limits=Limits(tensors=1))
    size = len(model.SerializeToString())
    at(Limits(protobuf_bytes=size), model)
    refused(model, f"has {size} bytes", limits=Limits(protobuf_bytes=size - 1))
    deep = sound(tensors=[numpy_helper.from_array(np.ones((1,) * 5, "f4"), "d")])
    at(Limits(rank=5), deep)
    refused(deep, "has 5 axes, but at most 4", limits=Limits(rank=4))
    wide = sound(tensors=[numpy_helper.from_array(np.ones(9, "f4"), "d")])
    at(Limits(dimension=9), wide)
    refused(wide, "an axis of 9", limits=Limits(dimension=8))


def nested(depth):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])], "b", [], [helper.make_tensor_value_info("z", FLOAT, ["batch", 3])]
    )
    for level in range(depth):
        node = helper.make_node("If", ["c"], [f"z{level}"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "b", [], [helper.make_tensor_value_info(f"z{level}", FLOAT, ["batch", 3])])
    truth = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    return sound([truth, helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)])


def test_graphs_within_graphs_are_counted():
    model = nested(2)
    check(model.SerializeToString(), Limits(nesting=4))
    refused(model, "nested more than 3 deep", limits=Limits(nesting=3))


def test_doubling_functions_are_counted_and_not_inlined():
    model = sound([helper.make_node("f40", ["x"], ["y"], domain="mine")])
    model.opset_import.append(helper.make_opsetid("mine", 1))
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("mine", 1)]
    for level in range(41):
        call = (f"f{level - 1}", "mine") if level else ("Relu", "")
        body = [helper.make_node(call[0], [a], [b], domain=call[1]) for a, b in (("a", "b"), ("b", "c"))]
        model.functions.append(helper.make_function("mine", f"f{level}", ["a"], ["c"], body, imports))
    refused(model, r"has 2,199,023,255,552 nodes once inlined")


def test_functions_that_call_in_a_ring_are_refused():
    model = sound([helper.make_node("a", ["x"], ["y"], domain="mine")])
    model.opset_import.append(helper.make_opsetid("mine", 1))
    for name, other in (("a", "b"), ("b", "a")):
        body = [helper.make_node(other, ["i"], ["o"], domain="mine")]
        imports = [helper.make_opsetid("mine", 1)]
        model.functions.append(helper.make_function("mine", name, ["i"], ["o"], body, imports))
    refused(model, "function 'a' calls itself")


def test_shapes_that_contradict_each_other_are_refused():
    model = sound(tensors=[numpy_helper.from_array(np.ones((5, 5), "f4"), "v")])
    model.graph.node[0].input[1] = "v"
    refused(model, "not valid ONNX")


def test_stale_shapes_of_an_exporter_are_no_fault():
    model = sound([helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["y"])])
    model.graph.value_info.append(helper.make_tensor_value_info("p", FLOAT, [17, 17, 17]))
    check(model.SerializeToString())


def test_a_sparse_tensor_that_is_nearly_all_zero_is_refused():
    values = numpy_helper.from_array(np.array([5], "f4"), "s")
    indices = numpy_helper.from_array(np.array([1], np.int64))
    model = sound()
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2**30, 2**9]))
    refused(model, "holds 1 of 549755813888 numbers")


def test_an_unknown_operator_set_is_refused():
    model = sound()
    model.opset_import[0].version = 999
    refused(model, "operator set 999 is not known")


def test_a_million_empty_nodes_in_two_megabytes_are_refused_before_parsing():
    graph = b"\x0a\x00" * 1_000_000
    length, size = b"", len(graph)
    while size:
        length += bytes([size & 127 | (128 if size > 127 else 0)])
        size >>= 7
    refused(b"\x3a" + length + graph, "more than 500,000 of node", limits=Limits(nodes=500_000))
