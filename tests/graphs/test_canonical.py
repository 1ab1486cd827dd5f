import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from engram.errors import ConversionError
from engram.graphs.canonical import canonical
from engram.graphs.weights import detach, note, noted

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(1)


def model(nodes, weights=None, shape=("batch", 4), opset=21, ir=10, **more):
    """A graph from x to y."""
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    inputs = [helper.make_tensor_value_info("x", FLOAT, shape), *more.pop("inputs", [])]
    outputs = [helper.make_tensor_value_info("y", FLOAT, None)]
    graph = helper.make_graph(nodes, "main", inputs, outputs, tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir, **more)
    return with_shape(made)


def with_shape(made):
    """onnx's checker wants a shape for every output; what it holds is onnx's own business here."""
    inferred = onnx.shape_inference.infer_shapes(made).graph.output[0]
    made.graph.output[0].CopyFrom(inferred)
    if not made.graph.output[0].type.tensor_type.HasField("shape"):
        made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, ["batch", None]))
    return made


def kinds(found):
    return [node.op_type for node in found.graph.node if node.op_type != "Constant"]


def answers(found, x):
    return ReferenceEvaluator(found).run(None, {"x": x})[0]


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs, [output], **attributes)


X = RNG.normal(size=(5, 4)).astype("f4")


def test_what_hangs_on_no_input_and_no_weight_becomes_a_constant():
    nodes = [
        node("Constant", [], "two", value_float=2.0),
        node("Constant", [], "three", value_floats=[3.0]),
        node("Mul", ["two", "three"], "six"),
        node("Shape", ["w"], "s"),
        node("Cast", ["s"], "f", to=FLOAT),
        node("ReduceProd", ["f"], "n", keepdims=0),
        node("MatMul", ["x", "w"], "p"),
        node("Add", ["p", "six"], "q"),
        node("Div", ["q", "n"], "y"),
    ]
    given = model(nodes, {"w": RNG.normal(size=(4, 3)).astype("f4")})
    found = canonical(given)
    assert kinds(found) == ["MatMul", "Add", "Div"]
    np.testing.assert_allclose(answers(found, X), answers(given, X), atol=1e-6)


def test_weights_are_never_folded():
    nodes = [node("Transpose", ["w"], "t"), node("MatMul", ["x", "t"], "y")]
    found = canonical(model(nodes, {"w": np.ones((3, 4), "f4")}))
    assert kinds(found) == ["Transpose", "MatMul"]
    assert [t.name for t in found.graph.initializer] == ["w"]


def test_an_initializer_is_learned_and_a_constant_is_not():
    nodes = [node("Reshape", ["x", "shape"], "r"), node("Mul", ["r", "factor"], "m"), node("Add", ["m", "b"], "y")]
    weights = {"shape": np.array([-1, 4]), "factor": np.float32(2), "b": np.ones(4, "f4")}
    found = canonical(model(nodes, weights))
    assert [t.name for t in found.graph.initializer] == ["b"]
    assert sorted(n.output[0] for n in found.graph.node if n.op_type == "Constant") == ["factor", "shape"]


def test_exactly_the_named_are_learned_where_names_are_given():
    nodes = [node("Mul", ["x", "scale"], "m"), node("Add", ["m", "table"], "y")]
    given = model(nodes, {"scale": np.float32(2), "table": np.ones(4, "f4")})
    found = canonical(given, names={"scale"})
    assert [t.name for t in found.graph.initializer] == ["scale"]
    assert detach(found)[1].keys() == {"scale"}
    assert canonical(found) == found


def test_a_bias_of_zeros_that_was_computed_is_left_out():
    nodes = [
        node("Constant", [], "zero", value_float=0.0),
        node("Constant", [], "three", value_ints=[3]),
        node("Expand", ["zero", "three"], "zeros"),
        node("CastLike", ["zeros", "x"], "bias"),
        node("Conv", ["x", "w", "bias"], "y"),
    ]
    given = model(nodes, {"w": np.ones((3, 2, 1, 1), "f4")}, shape=("batch", 2, 4, 4))
    found = canonical(given)
    assert [list(n.input) for n in found.graph.node] == [["x", "w"]]


def test_a_learned_bias_of_zeros_stays():
    given = model(
        [node("Conv", ["x", "w", "b"], "y")],
        {"w": np.ones((3, 2, 1, 1), "f4"), "b": np.zeros(3, "f4")},
        shape=("batch", 2, 4, 4),
    )
    assert list(canonical(given).graph.node[0].input) == ["x", "w", "b"]


def test_dropout_and_batch_normalization_stay_and_lose_their_training_mode():
    nodes = [
        node("BatchNormalization", ["x", "s", "b", "m", "v"], "n", momentum=0.9, training_mode=0),
        node("Constant", [], "ratio", value_float=0.3),
        node("Constant", [], "train", value=helper.make_tensor("t", TensorProto.BOOL, [], [True])),
        node("Dropout", ["n", "ratio", "train"], "y"),
    ]
    found = canonical(model(nodes, {k: np.ones(4, "f4") for k in "sbmv"}))
    assert kinds(found) == ["BatchNormalization", "Dropout"]
    assert list(found.graph.node[-1].input) == ["n", "ratio"]
    assert {a.name for a in found.graph.node[-2].attribute} == {"momentum"}


def test_a_flatten_written_as_shape_arithmetic_becomes_one_reshape():
    nodes = [
        node("Shape", ["x"], "s", start=0, end=1),
        node("Constant", [], "axes", value_ints=[0]),
        node("Squeeze", ["s", "axes"], "n"),
        node("Constant", [], "open", value_ints=[-1]),
        node("Reshape", ["n", "open"], "batch"),
        node("Constant", [], "rest", value_ints=[12]),
        node("Concat", ["batch", "rest"], "shape", axis=0),
        node("Reshape", ["x", "shape"], "y", allowzero=1),
    ]
    found = canonical(model(nodes, shape=("batch", 3, 4)))
    assert kinds(found) == ["Reshape"]
    assert answers(found, np.ones((5, 3, 4), "f4")).shape == (5, 12)


def test_a_reshape_with_two_open_axes_is_left_alone():
    nodes = [
        node("Shape", ["x"], "a", start=0, end=1),
        node("Shape", ["x"], "b", start=1, end=2),
        node("Constant", [], "rest", value_ints=[2, 2]),
        node("Concat", ["a", "b", "rest"], "shape", axis=0),
        node("Reshape", ["x", "shape"], "y"),
    ]
    given = model(nodes, shape=("batch", "length", 4))
    found = canonical(given)
    x = np.arange(24, dtype="f4").reshape(2, 3, 4)
    assert answers(found, x).shape == (2, 3, 2, 2)


def test_functions_are_written_out():
    body = [helper.make_node("Add", ["a", "a"], ["twice"])]
    function = helper.make_function("mine", "Twice", ["a"], ["twice"], body, [helper.make_opsetid("", 21)])
    given = model([node("Relu", ["x"], "y")])
    given.graph.node[0].CopyFrom(helper.make_node("Twice", ["x"], ["y"], domain="mine"))
    given.functions.append(function)
    given.opset_import.append(helper.make_opsetid("mine", 1))
    found = canonical(given)
    assert kinds(found) == ["Add"]
    assert not found.functions
    np.testing.assert_array_equal(answers(found, X), X + X)


def test_an_old_file_whose_initializers_are_inputs_too_keeps_its_one_input():
    given = model(
        [node("Gemm", ["x", "w", "b"], "y", transB=1)],
        {"w": np.ones((3, 4), "f4"), "b": np.ones(3, "f4")},
        opset=9,
        ir=3,
        inputs=[
            helper.make_tensor_value_info("w", FLOAT, [3, 4]),
            helper.make_tensor_value_info("b", FLOAT, [3]),
        ],
    )
    found = canonical(given)
    assert [value.name for value in found.graph.input] == ["x"]
    assert found.ir_version == 10
    assert [(e.domain, e.version) for e in found.opset_import] == [("", 21)]
    np.testing.assert_allclose(answers(found, X), X.sum(1, keepdims=True).repeat(3, 1) + 1, atol=1e-5)


@pytest.mark.parametrize("opset", [13, 17, 22, 23, 24])
def test_other_operator_sets_are_brought_to_21_with_their_names(opset):
    nodes = [
        node("Conv", ["x", "layer.0.weight"], "c"),
        node("GlobalMaxPool", ["c"], "p"),
        node("Flatten", ["p"], "y"),
    ]
    weights = {"layer.0.weight": RNG.normal(size=(3, 2, 2, 2)).astype("f4")}
    given = model(nodes, weights, shape=("batch", 2, 4, 4), opset=opset)
    found = canonical(given)
    assert found.opset_import[0].version == 21
    assert [t.name for t in found.graph.initializer] == ["layer.0.weight"]
    x = RNG.normal(size=(2, 2, 4, 4)).astype("f4")
    np.testing.assert_allclose(answers(found, x), answers(given, x), atol=1e-5)


def test_an_operator_that_came_later_is_written_out_in_older_ones():
    given = model([node("RMSNormalization", ["x", "g"], "y")], {"g": RNG.normal(size=4).astype("f4")}, opset=23)
    found = canonical(given)
    assert "RMSNormalization" not in kinds(found)
    np.testing.assert_allclose(answers(found, X), answers(given, X), atol=1e-5)


def test_an_operator_that_cannot_be_written_out_is_named():
    with pytest.raises(ConversionError, match="'CumProd' of operator set 26 is not in 21"):
        canonical(model([node("CumProd", ["x", "axis"], "y")], {"axis": np.array(1)}, opset=26))


def test_what_an_exporter_says_of_itself_is_forgotten():
    named = node("Relu", ["x"], "y", name="r", doc_string="File /home/somebody/train.py")
    given = model([named], producer_name="pytorch", doc_string="long")
    given.graph.value_info.append(helper.make_tensor_value_info("y", FLOAT, [7]))
    helper.set_model_props(given, {"path": "/home/somebody"})
    helper.set_model_props(named, {})
    assert b"somebody" not in canonical(given).SerializeToString()
    assert not canonical(given).graph.value_info


def test_notes_on_weights_survive():
    given = model([node("Mul", ["x", "s"], "y")], {"s": np.float32(2)})
    note(given, {"s"})
    note(given, {"s"}, "engram.fixed")
    found = canonical(given)
    assert noted(found) == {"s"}
    assert noted(found, "engram.fixed") == {"s"}


def test_a_constant_of_2_to_the_40_is_never_made():
    nodes = [
        node("Constant", [], "shape", value_ints=[2**40]),
        node("ConstantOfShape", ["shape"], "vast"),
        node("ReduceSum", ["vast"], "sum"),
        node("Add", ["x", "sum"], "y"),
    ]
    assert kinds(canonical(model(nodes))) == ["ConstantOfShape", "ReduceSum", "Add"]


def test_expanding_and_tiling_beyond_reason_is_not_folded():
    nodes = [
        node("Constant", [], "one", value_float=1.0),
        node("Constant", [], "shape", value_ints=[2**20, 2**20]),
        node("Expand", ["one", "shape"], "e"),
        node("ReduceSum", ["e"], "sum"),
        node("Add", ["x", "sum"], "y"),
    ]
    assert "Expand" in kinds(canonical(model(nodes)))


def test_weights_in_constant_nodes_become_initializers():
    large = numpy_helper.from_array(RNG.normal(size=(4, 300)).astype("f4"))
    found = canonical(model([node("Constant", [], "w", value=large), node("MatMul", ["x", "w"], "y")]))
    assert [t.name for t in found.graph.initializer] == ["w"]


def test_initializers_of_a_branch_are_lifted_out_of_it():
    def branch(number):
        return helper.make_graph(
            [node("Add", ["x", "b"], "out")],
            "branch",
            [],
            [helper.make_tensor_value_info("out", FLOAT, ["batch", 4])],
            [numpy_helper.from_array(np.full(4, number, "f4"), "b")],
        )

    nodes = [
        node("ReduceSum", ["x"], "sum", keepdims=0),
        node("Greater", ["sum", "zero"], "positive"),
        helper.make_node("If", ["positive"], ["y"], then_branch=branch(1), else_branch=branch(2)),
    ]
    given = model(nodes, {"zero": np.float32(0)})
    found = canonical(given)
    assert sorted(t.name for t in found.graph.initializer) == ["b", "b_2"]
    for x in (np.abs(X), -np.abs(X)):
        np.testing.assert_array_equal(answers(found, x), answers(given, x))


def test_a_sparse_weight_becomes_a_plain_one():
    values = numpy_helper.from_array(np.array([5, 7], "f4"), "w")
    indices = numpy_helper.from_array(np.array([1, 6], np.int64))
    sparse = helper.make_sparse_tensor(values, indices, [4, 2])
    given = model([node("MatMul", ["x", "w"], "y")])
    given.graph.sparse_initializer.append(sparse)
    found = canonical(given)
    assert numpy_helper.to_array(found.graph.initializer[0]).tolist() == [[0, 5], [0, 0], [0, 0], [7, 0]]


def test_canonical_twice_is_canonical_once():
    nodes = [node("MatMul", ["x", "w"], "p"), node("Add", ["p", "two"], "y")]
    once = canonical(model(nodes, {"w": np.ones((4, 2), "f4"), "two": np.float32(2)}))
    assert canonical(once) == once


def test_two_nodes_of_one_name_are_told_apart():
    nodes = [node("Relu", ["x"], "r", name="act"), node("Relu", ["r"], "y", name="act")]
    assert len({n.name for n in canonical(model(nodes)).graph.node}) == 2
    onnx.checker.check_model(canonical(model(nodes)), full_check=True)
