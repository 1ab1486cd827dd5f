"""Graphs within graphs: branches, loops, scans and sequences, against onnxruntime; and their gradients."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from engram.errors import ConversionError, FormatError, ShapeError
from engram.runtime import onnxruntime
from engram.runtime import torch as runtime

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def value(name, kind=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def model(nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


def branches():
    """x · 2 where the first number is positive, else -w · x; the constants 2 and w lie in different graphs."""
    then = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["a"])], "t", [], [value("a")], [constant("two", np.float32(2))]
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Mul", ["n", "w"], ["b"])], "e", [], [value("b")]
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    constants = [constant("zero", np.float32(0)), constant("w", np.full(3, 5, "f4"))]
    return model(nodes, [value("x", FLOAT, [3])], [value("y", FLOAT, [3])], constants)


def loop(rounds=4):
    """x doubled round by round; each round leaves its value and number behind."""
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["v", "two"], ["w"]),
            helper.make_node("Cast", ["i"], ["j"], to=FLOAT),
            helper.make_node("Add", ["w", "j"], ["left"]),
            helper.make_node("Identity", ["going"], ["goes"]),
        ],
        "b", [value("i", INT, []), value("going", BOOL, []), value("v", FLOAT, [2])],
        [value("goes", BOOL, []), value("w", FLOAT, [2]), value("left", FLOAT, [2])],
    )  # fmt: skip
    nodes = [helper.make_node("Loop", ["count", "yes", "x"], ["last", "all"], body=body)]
    constants = [constant("count", np.int64(rounds)), constant("yes", np.bool_(True)), constant("two", np.float32(2))]
    return model(nodes, [value("x", FLOAT, [2])], [value("last", FLOAT, [2]), value("all", FLOAT, None)], constants)


def scan(turned=0):
    """The running sum of rows, as a cumulative sum along the first axis."""
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "r"], ["t"]), helper.make_node("Identity", ["t"], ["o"])],
        "b", [value("s", FLOAT, [3]), value("r", FLOAT, [3])], [value("t", FLOAT, [3]), value("o", FLOAT, [3])],
    )  # fmt: skip
    nodes = [
        helper.make_node("Scan", ["start", "x"], ["last", "all"], body=body, num_scan_inputs=1,
                         scan_input_directions=[turned], scan_output_directions=[turned])
    ]  # fmt: skip
    constants = [constant("start", np.zeros(3, "f4"))]
    return model(
        nodes, [value("x", FLOAT, [4, 3])], [value("last", FLOAT, [3]), value("all", FLOAT, [4, 3])], constants
    )


DRAWN = np.random.default_rng(1).normal(size=(4, 3)).astype("f4")
CASES = {
    "the branch taken": (branches(), np.array([-1, 2, -3], "f4")),
    "the branch not taken": (branches(), np.array([-1, -2, -3], "f4")),
    "a loop": (loop(), np.array([1, -0.5], "f4")),
    "a scan": (scan(), DRAWN),
    "a scan from the end": (scan(1), DRAWN),
}


@pytest.mark.parametrize("name", CASES)
def test_it_answers_as_onnxruntime(name):
    graph, x = CASES[name]
    mine, theirs = runtime.run(graph, {"x": x}), onnxruntime.run(graph, {"x": x})
    for key, values in theirs.items():
        np.testing.assert_allclose(mine[key], values, atol=1e-6, err_msg=key)


def test_gradients_are_those_of_the_rounds_that_were_run():
    network = runtime.module(loop(), {})
    x = torch.tensor([1.0, -0.5], requires_grad=True)
    last, everything = network(x)
    last.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [16, 16]
    x.grad = None
    everything.sum().backward()
    assert x.grad.tolist() == [2 + 4 + 8 + 16] * 2


def test_a_loop_of_no_rounds_hands_its_values_on():
    found = runtime.run(loop(0), {"x": np.array([3, 4], "f4")})
    assert found["last"].tolist() == [3, 4]
    assert found["all"].shape[0] == 0


def test_constants_of_inner_graphs_move_with_the_module_and_stay_out_of_its_state():
    network = runtime.module(branches(), {}).double()
    assert network(torch.ones(3, dtype=torch.float64)).dtype == torch.float64
    assert not network.state_dict()


def sequences():
    nodes = [
        helper.make_node("SplitToSequence", ["x"], ["s"], axis=0, keepdims=0),
        helper.make_node("SequenceErase", ["s", "one"], ["short"]),
        helper.make_node("SequenceInsert", ["short", "more"], ["long"]),
        helper.make_node("SequenceLength", ["long"], ["n"]),
        helper.make_node("ConcatFromSequence", ["long"], ["y"], axis=1, new_axis=1),
    ]
    constants = [constant("one", np.int64(-1)), constant("more", np.full(3, 7, "f4"))]
    return model(nodes, [value("x", FLOAT, [4, 3])], [value("n", INT, []), value("y", FLOAT, None)], constants)


def test_sequences_are_split_shortened_lengthened_and_joined():
    mine, theirs = (engine.run(sequences(), {"x": DRAWN}) for engine in (runtime, onnxruntime))
    assert mine["n"] == theirs["n"] == 4
    np.testing.assert_array_equal(mine["y"], theirs["y"])


@pytest.mark.parametrize("kind", ["SequenceAt", "SequenceErase"])
def test_a_place_outside_a_sequence_is_refused(kind):
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "x"], ["s"]),
        helper.make_node(kind, ["s", "nine"], ["y"], name="pick"),
    ]
    made = model(nodes, [value("x", FLOAT, [2])], [value("y")], [constant("nine", np.int64(9))])
    with pytest.raises(ShapeError, match="'pick' asks for number 9 of a sequence of 2"):
        runtime.run(made, {"x": np.ones(2, "f4")})


def test_an_empty_optional_that_is_opened_is_refused():
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2]))
    made = model(
        [helper.make_node("OptionalGetElement", ["x"], ["y"])], [helper.make_value_info("x", kind)], [value("y")]
    )
    assert runtime.run(made, {"x": np.ones(2, "f4")})["y"].tolist() == [1, 1]
    with pytest.raises(ConversionError, match="empty"):
        runtime.run(made, {"x": None})


def test_a_name_that_nobody_makes_is_refused_also_within():
    then = helper.make_graph([helper.make_node("Neg", ["nothing"], ["a"])], "t", [], [value("a")])
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=then)]
    with pytest.raises(FormatError, match="'nothing', which no node makes"):
        runtime.module(model(nodes, [value("c", BOOL, [])], [value("y")]), {})


def test_a_value_that_is_read_before_it_is_made_is_refused():
    nodes = [helper.make_node("Neg", ["b"], ["a"]), helper.make_node("Neg", ["x"], ["b"])]
    with pytest.raises(FormatError, match="reads 'b' before"):
        runtime.module(model(nodes, [value("x")], [value("a")]), {})
