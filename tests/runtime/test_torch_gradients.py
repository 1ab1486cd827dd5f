"""Gradients of operators that torch does not have as such, against differences of their own answers."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from engram.runtime import torch as runtime

DRAW = np.random.default_rng(3)


def drawn(*shape):
    return DRAW.normal(size=shape)


def whole(*numbers):
    return np.array(numbers, np.int64)


def network(kind, inputs, constants=None, outputs=1, **attributes):
    """One node; ``inputs`` are learned from, ``constants`` are not; the order is that of both, "" leaves one out."""
    constants = constants or {}
    given = {**inputs, **constants}
    order = attributes.pop("order", list(given))
    node = helper.make_node(kind, order, [f"y{n}" for n in range(outputs)], **attributes)
    kept = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    declared = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in inputs]
    answers = [helper.make_tensor_value_info("y0", TensorProto.DOUBLE, None)]
    graph = helper.make_graph([node], "g", declared, answers, kept)
    imports = [helper.make_opsetid("", 24)]
    return runtime.module(helper.make_model(graph, opset_imports=imports).SerializeToString(), {})


PICTURE = {"x": drawn(1, 2, 5, 6)}
HEADS = {name: drawn(1, 2, 3, 4) for name in ("q", "k", "v")}
CASES = {
    "Resize cubic with antialias": ("Resize", PICTURE, {"s": whole(1, 2, 3, 4)}, {
        "mode": "cubic", "antialias": 1, "order": ["x", "", "", "s"]}),
    "Resize linear in another place": ("Resize", PICTURE, {"s": whole(1, 2, 8, 9)}, {
        "mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric", "order": ["x", "", "", "s"]}),
    "Resize of a part": ("Resize", PICTURE, {
        "r": np.array([0, 0, 0.1, 0.2, 1, 1, 0.9, 1.2], "f4"), "s": whole(1, 2, 4, 4)}, {
        "mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "order": ["x", "r", "", "s"]}),
    "Resize nearest, rounded up": ("Resize", PICTURE, {"s": whole(1, 2, 7, 3)}, {
        "nearest_mode": "ceil", "order": ["x", "", "", "s"]}),
    "MaxPool with gaps": ("MaxPool", PICTURE, {}, {"kernel_shape": [2, 2], "dilations": [2, 2], "ceil_mode": 1,
                                                    "strides": [2, 2]}),
    "MaxPool padded on one side": ("MaxPool", PICTURE, {}, {"kernel_shape": [3, 3], "pads": [2, 0, 1, 1]}),
    "AveragePool with gaps": ("AveragePool", PICTURE, {}, {"kernel_shape": [2, 2], "dilations": [2, 3]}),
    "AveragePool to the end": ("AveragePool", PICTURE, {}, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1,
                                                             "pads": [1, 1, 0, 0], "count_include_pad": 1}),
    "LpPool": ("LpPool", PICTURE, {}, {"kernel_shape": [2, 2], "p": 3}),
    "ConvTranspose cut on one side": ("ConvTranspose", {**PICTURE, "w": drawn(2, 2, 3, 3)}, {}, {
        "pads": [1, 0, 0, 2], "strides": [2, 1]}),
    "Col2Im": ("Col2Im", {"x": drawn(1, 8, 6)}, {"s": whole(3, 4), "b": whole(2, 2)}, {}),
    "DeformConv": ("DeformConv", {**PICTURE, "w": drawn(2, 2, 2, 2), "o": 0.3 * drawn(1, 8, 4, 5), "b": drawn(2),
                                  "m": drawn(1, 4, 4, 5)}, {}, {}),
    "RoiAlign": ("RoiAlign", PICTURE, {"r": np.array([[0.6, 0.7, 4.1, 3.6], [1.2, 0.3, 5.5, 2.4]]), "i": whole(0, 0)}, {
        "output_height": 2, "output_width": 3, "sampling_ratio": 2}),
    "GridSample": ("GridSample", {**PICTURE, "g": DRAW.uniform(-0.9, 0.9, (1, 3, 3, 2))}, {}, {"mode": "cubic"}),
    "ScatterElements by product": ("ScatterElements", {"x": drawn(3, 3), "u": drawn(2, 3)}, {
        "i": np.array([[0, 1, -1], [0, 2, 0]])}, {"reduction": "mul", "order": ["x", "i", "u"]}),
    "ScatterND by product": ("ScatterND", {"x": drawn(4, 3), "u": drawn(3, 3)}, {"i": np.array([[0], [-1], [0]])}, {
        "reduction": "mul", "order": ["x", "i", "u"]}),
    "GatherND of batches": ("GatherND", {"x": drawn(2, 3, 4)}, {"i": np.array([[[1], [-1]], [[0], [0]]])}, {
        "batch_dims": 1}),
    "TensorScatter": ("TensorScatter", {"x": drawn(2, 4, 3), "u": drawn(2, 2, 3)}, {"i": whole(1, 3)}, {
        "mode": "circular"}),
    "CumProd": ("CumProd", {"x": drawn(3, 4)}, {"a": np.int64(1)}, {"exclusive": 1, "reverse": 1}),
    "LpNormalization": ("LpNormalization", {"x": drawn(3, 4)}, {}, {"p": 1}),
    "Pad by reflection": ("Pad", {"x": drawn(3, 4)}, {"p": whole(2, 1, 1, 3)}, {"mode": "reflect"}),
    "Pad by wrapping": ("Pad", {"x": drawn(3, 4)}, {"p": whole(2, 1, 1, 3)}, {"mode": "wrap"}),
    "CenterCropPad": ("CenterCropPad", {"x": drawn(3, 4)}, {"s": whole(5, 2)}, {}),
    "Attention with an order": ("Attention", HEADS, {}, {"is_causal": 1, "softcap": 2.0}),
    "RotaryEmbedding": ("RotaryEmbedding", {"x": drawn(1, 2, 3, 4), "c": drawn(1, 3, 2), "s": drawn(1, 3, 2)}, {}, {
        "interleaved": 1}),
    "LSTM with peepholes": ("LSTM", {
        "x": drawn(3, 2, 2), "w": drawn(1, 12, 2), "r": drawn(1, 12, 3), "p": drawn(1, 9)}, {}, {
        "hidden_size": 3, "order": ["x", "w", "r", "", "", "", "", "p"]}),
    "STFT": ("STFT", {"x": drawn(1, 9, 1), "w": drawn(4)}, {"s": np.int64(2)}, {"order": ["x", "s", "w"]}),
    "DFT of a side": ("DFT", {"x": drawn(1, 6, 1)}, {}, {"onesided": 1}),
    "TopK": ("TopK", {"x": drawn(3, 5)}, {"k": whole(2)}, {"outputs": 2}),
    "Compress": ("Compress", {"x": drawn(3, 4)}, {"c": np.array([True, False, True])}, {"axis": 0}),
    "NegativeLogLikelihoodLoss": ("NegativeLogLikelihoodLoss", {"x": drawn(3, 4, 2)}, {
        "t": np.array([[0, 1], [3, 2], [2, 2]]), "w": np.abs(drawn(4))}, {"ignore_index": 1, "order": ["x", "t", "w"]}),
    "SoftmaxCrossEntropyLoss": ("SoftmaxCrossEntropyLoss", {"x": drawn(3, 4)}, {"t": whole(0, 3, 2)}, {}),
    "Det": ("Det", {"x": drawn(2, 3, 3)}, {}, {}),
    "LRN": ("LRN", {"x": drawn(1, 5, 2, 2)}, {}, {"size": 3, "alpha": 0.5}),
    "RMSNormalization": ("RMSNormalization", {"x": drawn(3, 4), "s": drawn(4)}, {}, {}),
    "GroupNormalization": ("GroupNormalization", {"x": drawn(2, 4, 3), "s": drawn(4), "b": drawn(4)}, {}, {
        "num_groups": 2}),
    "ReduceL2": ("ReduceL2", {"x": drawn(3, 4)}, {"a": whole(1)}, {}),
    "Selu": ("Selu", {"x": drawn(3, 4)}, {}, {}),
    "Shrink": ("Shrink", {"x": drawn(3, 4)}, {}, {"bias": 0.2, "lambd": 0.1}),
    "Swish": ("Swish", {"x": drawn(3, 4)}, {}, {"alpha": 0.7}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_the_answers(name):
    kind, inputs, constants, attributes = CASES[name]
    module = network(kind, inputs, constants, **attributes)
    learned = [torch.from_numpy(np.array(array)).requires_grad_() for array in inputs.values()]
    assert torch.autograd.gradcheck(module, learned, atol=1e-5)


def test_a_vector_of_zeros_has_a_gradient_that_is_a_number():
    x = torch.zeros(2, 3, requires_grad=True)
    network("LpNormalization", {"x": drawn(2, 3)})(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def rounded(kind=np.int8, zero=0, scale=0.1):
    """x quantized and read back, the scale learned."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "s")]
    answers = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", declared, answers, [numpy_helper.from_array(np.array(zero, kind), "z")])
    imports = [helper.make_opsetid("", 21)]
    return runtime.module(helper.make_model(graph, opset_imports=imports).SerializeToString(), {})


@pytest.mark.parametrize(("kind", "zero"), [(np.int8, 0), (np.uint8, 128), (np.int16, 5)])
def test_a_gradient_goes_straight_through_rounding_and_stops_where_it_cuts(kind, zero):
    """As torch's own fake quantization, whose gradient is the same."""
    limits = np.iinfo(kind)
    x = torch.tensor([-1e4, -0.34, 0.0, 0.06, 3.14, 1e4], requires_grad=True)
    y = rounded(kind, zero)(x, torch.tensor(0.1))
    twin = x.detach().clone().requires_grad_()
    expected = torch.fake_quantize_per_tensor_affine(twin, 0.1, zero, limits.min, limits.max)
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=1e-6)
    y.sum().backward()
    expected.sum().backward()
    assert torch.equal(x.grad, twin.grad)


def test_the_scale_of_a_rounding_learns_as_torchs_does():
    x, zero = torch.linspace(-20, 20, 9), torch.zeros(1)
    scale, twin = (torch.tensor([0.1], requires_grad=True) for _ in range(2))
    rounded()(x, scale).square().sum().backward()
    torch._fake_quantize_learnable_per_tensor_affine(x, twin, zero, -128, 127, 1.0).square().sum().backward()
    torch.testing.assert_close(scale.grad, twin.grad, rtol=1e-4, atol=1e-3)


def test_what_is_only_quantized_has_no_gradient_and_says_so_by_its_type():
    graph = network("QuantizeLinear", {"x": drawn(2, 3)}, {"s": np.float64(0.1), "z": np.int8(0)})
    answer = graph(torch.ones(2, 3, dtype=torch.float64, requires_grad=True))
    assert answer.dtype == torch.int8
    assert not answer.requires_grad
