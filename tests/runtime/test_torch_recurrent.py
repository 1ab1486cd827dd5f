"""Recurrent layers in every form of ONNX, against onnxruntime; gradients of both our ways against each other."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from engram.errors import ConversionError
from engram.runtime import onnxruntime
from engram.runtime import torch as runtime

STEPS, ROWS, FEATURES, WIDTH = 5, 3, 4, 6
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
NAMES = ("x", "w", "r", "b", "lengths", "h", "c", "p")
LENGTHS = np.array([5, 2, 4], "i4")


def arrays(kind, directions, seed=0):
    """Every input a node may have."""
    draw = np.random.default_rng(seed)
    gates = GATES[kind] * WIDTH
    shapes = {
        "x": (STEPS, ROWS, FEATURES), "w": (directions, gates, FEATURES), "r": (directions, gates, WIDTH),
        "b": (directions, 2 * gates), "h": (directions, ROWS, WIDTH), "c": (directions, ROWS, WIDTH),
        "p": (directions, 3 * WIDTH),
    }  # fmt: skip
    return {name: (draw.normal(size=shape) * 0.5).astype("f4") for name, shape in shapes.items()}


def graph(kind, given, attributes):
    """One node with these inputs, all of them inputs of the graph."""
    count = {"LSTM": 8, "GRU": 6, "RNN": 6}[kind]
    inputs = [name if name in given else "" for name in NAMES[:count]]
    outputs = ["y", "last", "cell"][: 3 if kind == "LSTM" else 2]
    node = helper.make_node(kind, inputs, outputs, hidden_size=WIDTH, **attributes)
    declared = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(given[name].dtype), given[name].shape)
        for name in inputs
        if name
    ]
    answers = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    made = helper.make_graph([node], "g", declared, answers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


def both(kind, names, attributes, lengths=LENGTHS):
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    given = {**arrays(kind, directions), "lengths": lengths}
    given = {name: given[name] for name in ("x", "w", "r", *names)}
    made = graph(kind, given, attributes)
    return runtime.run(made, given), onnxruntime.run(made, given)


PLAIN = [
    (kind, names, {"direction": direction, **more})
    for kind, more in (("LSTM", {}), ("GRU", {"linear_before_reset": 1}), ("RNN", {}), ("GRU", {}))
    for direction in ("forward", "reverse", "bidirectional")
    for names in ((), ("b",), ("b", "lengths"), ("b", "h"), ("b", "lengths", "h"))
]
SPECIAL = [
    ("LSTM", ("b", "p"), {}),
    ("LSTM", ("b", "p", "lengths", "h", "c"), {"direction": "bidirectional"}),
    ("LSTM", ("b", "h", "c"), {"clip": 0.3}),
    ("LSTM", ("b",), {"input_forget": 1}),
    ("LSTM", ("b",), {"activations": ["HardSigmoid", "Softsign", "Tanh"], "activation_alpha": [0.3],
                      "activation_beta": [0.4]}),
    ("GRU", ("b", "h"), {"clip": 0.3, "linear_before_reset": 1}),
    ("GRU", ("b",), {"activations": ["Sigmoid", "ScaledTanh"], "activation_alpha": [1.5], "activation_beta": [0.7]}),
    ("RNN", ("b", "h"), {"activations": ["Relu"]}),
    ("RNN", ("b", "lengths"), {"activations": ["LeakyRelu", "Elu"], "activation_alpha": [0.2, 0.8],
                               "direction": "bidirectional"}),
    ("RNN", ("b",), {"clip": 0.2}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "names", "attributes"), PLAIN + SPECIAL)
def test_a_layer_answers_as_in_onnxruntime(kind, names, attributes):
    mine, theirs = both(kind, names, attributes)
    for name, values in theirs.items():
        np.testing.assert_allclose(mine[name], values, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("kind", GATES)
def test_a_row_without_a_step_answers_zeros_and_keeps_its_state(kind):
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    mine, _ = both(kind, ("b", "lengths", "h"), more, np.array([5, 0, 4], "i4"))
    assert not mine["y"][:, :, 1].any()
    np.testing.assert_array_equal(mine["last"][:, 1], arrays(kind, 1)["h"][:, 1])


@pytest.mark.parametrize("kind", GATES)
def test_rows_first_is_the_same_layer_turned(kind):
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    given = {name: value for name, value in arrays(kind, 1).items() if name in {"x", "w", "r", "b", "h"}}
    plain = runtime.run(graph(kind, given, more), given)
    turned = {**given, "x": given["x"].transpose(1, 0, 2), "h": given["h"].transpose(1, 0, 2)}
    found = runtime.run(graph(kind, turned, {**more, "layout": 1}), turned)
    np.testing.assert_allclose(found["y"], plain["y"].transpose(2, 0, 1, 3), atol=1e-6)
    np.testing.assert_allclose(found["last"], plain["last"].transpose(1, 0, 2), atol=1e-6)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
def test_torchs_kernel_and_the_cells_have_the_same_gradients(kind, direction, lengths):
    """The cells stand in for the kernel: a node that differs in what changes nothing takes the other way."""
    more = {"direction": direction, **({"linear_before_reset": 1} if kind == "GRU" else {})}
    directions = 2 if direction == "bidirectional" else 1
    given = {name: arrays(kind, directions)[name] for name in ("x", "w", "r", "b", "h")}
    if lengths is not None:
        given["lengths"] = lengths
    gradients = []
    for attributes in (more, {**more, "clip": 1e6}):
        network = runtime.module(graph(kind, given, attributes), {}).train()
        learned = {n: torch.from_numpy(a).requires_grad_() for n, a in given.items() if n != "lengths"}
        fed = [learned.get(name, torch.from_numpy(LENGTHS)) for name in NAMES if name in given]
        y, last, *_ = network(*fed)
        (y.square().sum() + last.sum()).backward()
        gradients.append({name: tensor.grad for name, tensor in learned.items()})
    for name, values in gradients[0].items():
        np.testing.assert_allclose(gradients[1][name], values, atol=1e-4, err_msg=name)


def test_no_steps_at_all_are_refused_or_answered_with_nothing():
    given = {name: arrays("RNN", 1)[name] for name in ("x", "w", "r")}
    given["x"] = given["x"][:0]
    made = graph("RNN", given, {"clip": 1.0})
    assert runtime.run(made, given)["y"].shape == (0, 1, ROWS, WIDTH)


def test_an_activation_that_there_is_not_is_named():
    given = {name: arrays("RNN", 1)[name] for name in ("x", "w", "r")}
    with pytest.raises(ConversionError, match="no activation 'Nonsense'"):
        runtime.run(graph("RNN", given, {"activations": ["Nonsense"]}), given)


def test_layers_of_torch_are_recognized_behind_their_reordered_parameters():
    from engram.graphs.walk import steps
    from engram.runtime._torch.fusion import fused
    from networks.torch_networks import exported

    for name, kind in (("lstm", "LSTM"), ("gru", "GRU"), ("bidirectional", "LSTM")):
        found = [step for step in fused(steps(exported(name).graph)).nodes if step.operator == kind]
        assert found
        assert all(step.domain == "engram.torch" for step in found)
        assert not {"Split", "Unsqueeze"} & {step.operator for step in fused(steps(exported(name).graph)).nodes}
