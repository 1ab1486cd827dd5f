"""Older operator sets: what is converted answers as the source does in onnxruntime, and the rest is refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engram.errors import ConversionError
from engram.graphs.versions import pin
from engram.runtime.onnxruntime import run

VALUES = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)


def older(kind: str, version: int, *constants: np.ndarray, **attributes: object) -> onnx.ModelProto:
    names = [f"c{i}" for i in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", *names], ["y"], name="odd", **attributes)],
        "older",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(c, name) for c, name in zip(constants, names, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=4)


@pytest.mark.parametrize(
    "model",
    [
        older("Softmax", 11, axis=1),
        older("LogSoftmax", 9, axis=2),
        older("Clip", 6, min=-0.5, max=0.5),
        older("AveragePool", 7, kernel_shape=[2, 2]),
        older("ReduceSum", 11, axes=[1], keepdims=1),
        older("Pad", 10, pads=[0, 0, 1, 1, 0, 0, 1, 1]),
    ],
    ids=lambda model: model.graph.node[0].op_type,
)
def test_what_is_converted_answers_as_the_source_does(model):
    answers_alike(model)


X, FOUR, ANY = "float[2, 3, 4, 5] x", "float[A, B, C, D] y", {"x": VALUES}
POOL = "AveragePool <kernel_shape=[3, 3], pads=[1, 1, 1, 1]"
THREE = "float[3] s = {1, 2, 3}, float[3] b = {0, 1, 2}"
CHANGED = {
    "AveragePool with padding counted": (7, f"{POOL}, count_include_pad=1> (x)", ""),
    "AveragePool rounded up": (10, f"{POOL}, strides=[3, 3], ceil_mode=1> (x)", ""),
    "MaxPool": (7, "MaxPool <kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]> (x)", ""),
    "MaxPool rounded up": (10, "MaxPool <kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1> (x)", ""),
    "LpPool": (11, "LpPool <kernel_shape=[3, 3], p=2> (x)", ""),
    "BatchNormalization": (7, "BatchNormalization (x, s, b, b, s)", THREE),
    "Dropout": (7, "Dropout <ratio=0.3> (x)", ""),
    "Clip from below": (7, "Clip <min=0.1> (x)", ""),
    "Softmax over what follows": (7, "Softmax (x)", ""),
    "Hardmax over what follows": (11, "Hardmax <axis=2> (x)", ""),
    "Hardmax of the first release": (7, "Hardmax (x)", ""),
    "ReduceMean of all": (17, "ReduceMean <keepdims=1> (x)", ""),
    "ReduceLogSumExp": (11, "ReduceLogSumExp <axes=[1, 3], keepdims=1> (x)", ""),
    "Slice from the end": (9, "Slice <axes=[1, 2], starts=[1, -3], ends=[3, 100]> (x)", ""),
    "Pad by reflection": (10, 'Pad <mode="reflect", pads=[0, 0, 1, 2, 0, 0, 2, 1]> (x)', ""),
    "Pad with a number": (7, "Pad <pads=[0, 0, -1, 2, 0, 0, 2, -1], value=3.5> (x)", ""),
    "PRelu by channel": (7, "PRelu (x, t)", "float[3, 1, 1] t = {0.1, 0.2, 0.3}"),
    "Sum of three": (7, "Sum (x, x, x)", ""),
    "Resize of opset 13": (13, 'Resize <mode="linear"> (x, r, t)', "float[0] r = {}, float[4] t = {1, 1, 1.7, 0.6}"),
    "RoiAlign": (10, "RoiAlign <output_height=2, output_width=2, sampling_ratio=2> (x, r, t)",
                 "float[1, 4] r = {0.2, 0.4, 3, 3}, int64[1] t = {1}"),
}  # fmt: skip


def parsed(version: int, body: str, constants: str = "", inputs: str = X, outputs: str = FOUR) -> onnx.ModelProto:
    held = f"<{constants}>" if constants else ""
    text = f"agraph ({inputs}) => ({outputs}) {held} {{ {body} }}"
    made = onnx.parser.parse_model(f'<ir_version: 4, opset_import: ["": {version}]>\n{text}')
    if version < 9:
        made.graph.input.extend(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            for tensor in made.graph.initializer
        )
    return made


def answers_alike(model: onnx.ModelProto, feeds: dict[str, np.ndarray] = ANY) -> None:
    before = run(model.SerializeToString(), feeds)["y"]
    after = run(pin(model).SerializeToString(), feeds)["y"]
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize(("version", "said", "constants"), CHANGED.values(), ids=CHANGED)
def test_operators_that_changed_since_opset_7_answer_as_they_did(version, said, constants):
    answers_alike(parsed(version, f"y = {said}", constants))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(2, 2), (1.7, 2.3), (3, 1), (0.5, 0.6), (0.5, 2)], ids=str)
def test_pictures_grow_and_shrink_as_in_the_old_operator_sets(mode, scales):
    said, listed = f'<mode="{mode}"', f"1.0, 1.0, {float(scales[0])}, {float(scales[1])}"
    held = f"float[4] s = {{{listed}}}"
    answers_alike(parsed(10, f"y = Resize {said}> (x, s)", held))
    given = np.array([1, 1, *scales], np.float32)
    answers_alike(parsed(10, f"y = Resize {said}> (x, s)", inputs=f"{X}, float[4] s"), {**ANY, "s": given})
    if min(scales) >= 1:
        answers_alike(parsed(7, f"y = Upsample {said}, scales=[{listed}]> (x)"))
        answers_alike(parsed(9, f"y = Upsample {said}> (x, s)", held))


def test_a_picture_that_grows_in_a_branch_grows_as_it_did():
    branches = """If (c) <then_branch = t () => (float[A, B, C, D] o)
        { o = Upsample <mode="linear", scales=[1.0, 1.0, 2.0, 2.0]> (x) },
        else_branch = e () => (float[A, B, C, D] p) { p = Upsample <scales=[1.0, 1.0, 2.0, 2.0]> (x) }>"""
    answers_alike(parsed(8, f"c = Cast <to=9> (k) y = {branches}", "float k = {1}"))


REFUSED = {
    "Scan": parsed(8, "y = Scan <num_scan_inputs=1, body=b (float[3] s) => (float[3] t) { t = Neg (s) }> (x, x)"),
    "GroupNormalization": parsed(
        18, "y = GroupNormalization <num_groups=1> (x, s, b)", "float[1] s={1}, float[1] b={0}"
    ),
    "BatchNormalization": parsed(7, "y = BatchNormalization <spatial=0> (x, s, b, b, s)", THREE),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_converter_would_change_is_refused_by_name(kind):
    with pytest.raises(ConversionError, match=f"node 'y' is a {kind}.*export it again"):
        pin(REFUSED[kind])
