import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from engram.errors import FormatError
from engram.graphs.weights import attach, detach, learned, names, outside

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def network(arrays, extra=()):
    """A graph that passes its input on and holds the arrays as initializers, each also an output."""
    value = helper.make_tensor_value_info
    outputs = [value("y", TensorProto.FLOAT, ["batch"])]
    nodes = [helper.make_node("Identity", ["x"], ["y"]), *extra]
    tensors = []
    for place, array in enumerate(arrays):
        tensors.append(numpy_helper.from_array(array, f"layer{place}.weight"))
        nodes.append(helper.make_node("Identity", [f"layer{place}.weight"], [f"out{place}"]))
        outputs.append(value(f"out{place}", tensors[-1].data_type, array.shape))
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, ["batch"])], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@st.composite
def arrays(draw):
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), min_size=0, max_size=3))
    numbers = draw(st.lists(st.floats(-1e4, 1e4, width=16), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    return np.array(numbers, dtype=dtype).reshape(shape)


@given(st.lists(arrays(), min_size=1, max_size=4))
def test_attaching_what_was_detached_gives_the_same_network(given_arrays):
    model = network(given_arrays)
    graph, weights = detach(model, names={f"layer{i}.weight" for i in range(len(given_arrays))})
    again = attach(graph, weights)
    del again.metadata_props[:]
    assert {t.name: numpy_helper.to_array(t).tobytes() for t in again.graph.initializer} == {
        f"layer{i}.weight": a.tobytes() for i, a in enumerate(given_arrays)
    }
    assert [t.data_type for t in again.graph.initializer] == [t.data_type for t in model.graph.initializer]
    assert [list(t.dims) for t in again.graph.initializer] == [list(t.dims) for t in model.graph.initializer]
    assert list(again.graph.node) == list(model.graph.node)


@given(st.lists(arrays(), min_size=1, max_size=4))
def test_a_scalar_that_was_named_as_learned_is_found_again_without_its_name(given_arrays):
    wanted = {f"layer{i}.weight" for i in range(len(given_arrays))}
    whole = attach(*detach(network(given_arrays), names=wanted))
    assert learned(whole) == wanted
    graph, weights = detach(whole)
    assert weights.keys() == wanted
    assert attach(graph, weights) == whole


def test_the_graph_holds_no_weights_and_a_thousand_weights_make_no_larger_graph():
    small, _ = detach(network([np.zeros((2, 2), np.float32)]))
    large, weights = detach(network([np.zeros((2, 100_000), np.float32)]))
    assert abs(len(large) - len(small)) < 16
    assert weights["layer0.weight"].nbytes == 800_000


def test_detaching_leaves_the_model_as_it_was():
    model = network([np.ones((2, 2), np.float32)])
    before = model.SerializeToString(deterministic=True)
    detach(model)
    assert model.SerializeToString(deterministic=True) == before


def test_a_weight_that_is_outside_already_stays_there():
    model = network([np.ones((2, 2), np.float32), np.ones((3,), np.float32)])
    whole, _ = detach(model)
    model.graph.initializer[0].CopyFrom(outside("layer0.weight", TensorProto.FLOAT, (2, 2)))
    graph, weights = detach(model)
    assert graph == whole
    assert weights.keys() == {"layer1.weight"}


def test_the_detached_model_answers_as_before():
    model = network([np.arange(6, dtype=np.float32).reshape(2, 3)])
    again = attach(*detach(model))
    x = np.ones(3, np.float32)
    for a, b in zip(
        ReferenceEvaluator(model).run(None, {"x": x}), ReferenceEvaluator(again).run(None, {"x": x}), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_whole_numbers_and_scalars_stay_with_the_graph():
    model = network([np.array([1, 2], np.int64), np.float32(3) * np.ones((), np.float32)])
    graph, weights = detach(model)
    assert weights == {}
    assert names(graph) == set()


def test_a_large_table_of_whole_numbers_leaves_the_graph():
    assert detach(network([np.zeros(2000, np.int8)]))[1].keys() == {"layer0.weight"}


def test_the_scales_of_a_resize_are_not_learned():
    resize = helper.make_node("Resize", ["picture", "", "scales"], ["larger"], mode="nearest")
    model = network([], extra=[resize])
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    assert learned(model) == set()


def test_a_missing_weight_is_named():
    graph, _ = detach(network([np.ones((2, 2), np.float32)]))
    with pytest.raises(FormatError, match=r"no 'layer0\.weight'"):
        attach(graph, {})


@pytest.mark.parametrize("wrong", [np.ones((2, 3), np.float32), np.ones((2, 2), np.float64)])
def test_a_weight_of_another_shape_or_type_is_refused(wrong):
    graph, _ = detach(network([np.ones((2, 2), np.float32)]))
    with pytest.raises(FormatError, match=r"'layer0\.weight' is float.* but the graph needs float \[2, 2\]"):
        attach(graph, {"layer0.weight": wrong})


def test_a_note_that_is_no_list_of_names_is_ignored():
    model = network([np.ones((), np.float32)])
    helper.set_model_props(model, {"engram.learned": '{"a": 1}'})
    assert learned(model) == set()
    helper.set_model_props(model, {"engram.learned": "not json"})
    assert learned(model) == set()
    helper.set_model_props(model, {"engram.learned": '["no_such_initializer"]'})
    assert learned(model) == set()


def test_the_graph_stays_readable_for_onnx():
    graph, _ = detach(network([np.ones((2, 2), np.float32)]))
    entry = onnx.load_from_string(graph).graph.initializer[0].external_data[0]
    assert (entry.key, entry.value) == ("location", "weights")
