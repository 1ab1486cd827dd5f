"""JSON as people draw networks, checked against numpy by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engram.errors import ConversionError, EngramError, FormatError
from engram.formats import _answers, _document, _tensors
from engram.formats._convert import read, write
from engram.records import Limits, Model, Signature, TensorSpec

DRAWN: dict[str, Any] = {
    "layers": [
        {
            "type": "Dense",
            "units": 3,
            "activation": "relu",
            "weights": [[1, -0.5, 0.25], [2, 0.1, -3]],
            "biases": [0, 1, 2],
        },
        {"type": "Dense", "units": 1, "activation": "sigmoid", "weights": [[1], [-2], [0.5]], "biases": [0.125]},
    ]
}


def drawn(folder: Path, network: object) -> Model:
    path = folder / "drawn.json"
    path.write_text(network if isinstance(network, str) else json.dumps(network))
    return read(path)


def test_a_network_drawn_by_hand_answers_as_on_paper(tmp_path: Path):
    model = drawn(tmp_path, DRAWN)
    rows = np.array([[1, 2], [-1, 0.5], [0, 0]], np.float32)
    hidden = np.maximum(rows @ np.array([[1, -0.5, 0.25], [2, 0.1, -3]]) + [0, 1, 2], 0)
    wanted = 1 / (1 + np.exp(-(hidden @ [[1], [-2], [0.5]] + 0.125)))
    np.testing.assert_allclose(_answers.by_stages(model, {"input": rows})["output"], wanted, rtol=1e-6)
    assert model.signature.inputs == (TensorSpec("input", "float32", ("batch", 2)),)
    assert model.signature.outputs == (TensorSpec("output", "float32", ("batch", 1), kind="probability"),)
    assert list(model.weights) == ["dense_1.weight", "dense_1.bias", "dense_2.weight", "dense_2.bias"]
    assert model.weights["dense_1.weight"].shape == (3, 2)


def test_labels_drawn_beside_the_layers_are_answered(tmp_path: Path):
    model = drawn(tmp_path, {**DRAWN, "labels": ["no", "yes"]})
    assert list(_answers.by_session(model, {"input": np.array([[0, 0], [1, 2]], np.float32)})["label"]) == ["no", "yes"]


def test_a_drawn_network_is_written_as_layers_again(tmp_path: Path):
    write(drawn(tmp_path, DRAWN), tmp_path / "again.json")
    found = json.loads((tmp_path / "again.json").read_text())["layers"]
    assert [layer["type"] for layer in found] == ["Dense", "Dense"]
    assert found[0]["weights"] == DRAWN["layers"][0]["weights"]
    assert found[1]["activation"] == "sigmoid"


def test_pictures_drawn_with_channels_last_answer_as_in_numpy(tmp_path: Path):
    generator = np.random.default_rng(0)
    kernel, bias = generator.integers(-4, 5, (2, 2, 3, 2)) / 4, np.array([0.5, -0.25])
    dense = generator.integers(-4, 5, (4 * 4 * 2, 3)) / 4
    model = drawn(
        tmp_path,
        {
            "input": {"shape": ["batch", 9, 9, 3]},
            "layers": [
                {"type": "Conv2D", "activation": "relu", "weights": kernel.tolist(), "biases": bias.tolist()},
                {"type": "MaxPooling2D", "pool_size": 2},
                {"type": "Flatten"},
                {"type": "Dense", "weights": dense.tolist()},
            ],
        },
    )
    picture = generator.normal(size=(2, 9, 9, 3)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(picture, (2, 2), axis=(1, 2))
    made = np.maximum(np.einsum("nyxchw,hwco->nyxo", windows, kernel) + bias, 0)
    pooled = made.reshape(2, 4, 2, 4, 2, 2).max(axis=(2, 4))
    np.testing.assert_allclose(
        _answers.by_stages(model, {"input": picture})["output"], pooled.reshape(2, -1) @ dense, rtol=1e-4, atol=1e-5
    )


def test_every_kind_of_layer_agrees_with_torch(tmp_path: Path):
    torch = pytest.importorskip("torch")
    from engram.formats._torch_export import export

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2),
        torch.nn.BatchNorm2d(4),
        torch.nn.LeakyReLU(0.2),
        torch.nn.AvgPool2d(3, 2, 1),
        torch.nn.MaxPool2d(2, 1),
        torch.nn.Conv2d(4, 6, 1, bias=False),
        torch.nn.SiLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.LayerNorm(6),
        torch.nn.Linear(6, 5),
        torch.nn.GELU(approximate="tanh"),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(5, 3),
        torch.nn.Softmax(-1),
    )
    ends = (TensorSpec("x", "float32", ("batch", 2, 16, 16)), TensorSpec("y", "float32", ("batch", 3)))
    graph, weights = export(network, ends[:1], ends[1:])
    model = Model(graph, weights, Signature(ends[:1], ends[1:]))
    network.eval()

    def answers(rows):
        with torch.no_grad():
            return {"y": network(torch.from_numpy(rows["x"])).numpy()}

    certificate = write(model, tmp_path / "m.json", original=answers)
    assert certificate.holds
    found = json.loads((tmp_path / "m.json").read_text())
    kinds = [layer["type"] for layer in found["layers"]]
    assert kinds == [
        "Conv2D", "BatchNormalization", "Activation", "AveragePooling2D", "MaxPooling2D", "Conv2D",
        "GlobalAveragePooling2D", "Flatten", "LayerNormalization", "Dense", "Activation", "Dropout", "Dense",
    ]  # fmt: skip
    assert set(read(tmp_path / "m.json").weights) == set(network.state_dict())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"layers": []}, "at least one layer"),
        ({"layers": [{"type": "Dens", "weights": [[1]]}]}, "did you mean 'Dense'"),
        ({"layers": [{"type": "Dense", "wieghts": [[1]]}]}, r"layer 1 \(Dense\) has no key 'wieghts'; did you mean"),
        ({"layers": [{"type": "Dense", "weights": None}]}, "needs weights"),
        ({"layers": [{"type": "Dense", "weights": [[1, 2], [3]]}]}, "rows of different lengths"),
        ({"layers": [{"type": "Dense", "weights": [1, 2]}]}, "2 deep, but are 1 deep"),
        ({"layers": [{"type": "Dense", "weights": [["a"]]}]}, "'a', which is not a number"),
        ({"layers": [{"type": "Dense", "weights": [[None]]}]}, "not a number"),
        ({"layers": [{"type": "Dense", "weights": [[1e39]]}]}, "does not fit float32"),
        ({"layers": [{"type": "Dense", "weights": []}]}, "deep"),
        ({"layers": [{"type": "Dense", "units": 2, "weights": [[1]]}]}, "says it has 2 units"),
        ({"layers": [{"type": "Dense", "weights": [[1]], "biases": [1, 2]}]}, "differ"),
        ({"layers": [{"type": "Dense", "weights": [[1]], "activation": "rleu"}]}, "did you mean 'relu'"),
        ({"layers": [{"type": "Dense", "weights": [[1, 2]]}] * 2}, "wants 1 inputs, but gets 2"),
        ({"layers": [{"type": "Dense", "weights": [[1]], "name": "a"}] * 2}, "taken by an earlier layer"),
        ({"layers": [{"type": "Dropout", "rate": 1}]}, 'add "input"'),
        ({"layers": [{"type": "Flatten"}, {"type": "Dense", "weights": [[1]]}]}, 'add "input"'),
        ({"layers": [{"type": "Conv2D", "weights": [[[[1]]]]}, DRAWN["layers"][1]]}, "a Flatten before"),
        ({"layers": [{"type": "Conv2D", "weights": [[[[1]]]], "padding": "smae"}]}, "padding must be"),
        ({"layers": [{"type": "Dense", "weights": [[1]]}], "graph": {}}, "either layers, or a graph"),
        ({"layers": [{"type": "Dense", "weights": [[1]]}], "labels": ["a", 3]}, "labels must be"),
        ({"layers": [{"type": "Dense", "weights": [[1]]}], "lables": []}, "did you mean 'labels'"),
        ({"layer": []}, "neither layers nor a graph"),
        ({"graph": {"nodes": 3}}, "no ONNX in its JSON form"),
        ({"graph": {}}, "no graph with an output"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_drawing_is_named(tmp_path: Path, change: dict, reason: str):
    with pytest.raises(FormatError, match=reason):
        drawn(tmp_path, change)


@pytest.mark.parametrize(
    "text",
    [
        '{"layers": [], "layers": []}',
        '{"layers": NaN}',
        '{"layers": [1e999]}',
        '{"layers": [' + "9" * 5000 + "]}",
        '{"layers": ' + "[" * 600 + "]" * 600 + "}",
        '{"layers": ' + "[" * 100_000,
        '{"layers": []} x',
        "{'layers': []}",
        '{"layers": [01]}',
        '{"layers": ["\\ud800"]}',
    ],
)
def test_what_is_not_strict_json_is_refused(tmp_path: Path, text: str):
    with pytest.raises(FormatError):
        drawn(tmp_path, text)


def test_json_in_utf_16_is_refused(tmp_path: Path):
    (tmp_path / "m.json").write_bytes(json.dumps(DRAWN).encode("utf-16"))
    with pytest.raises(FormatError):
        read(tmp_path / "m.json")


def test_limits_hold_to_the_unit(tmp_path: Path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(DRAWN))
    size = path.stat().st_size
    for limits in (Limits(config_bytes=size), Limits(config_depth=5)):
        assert read(path, limits).parameters == 13
    for limits in (Limits(config_bytes=size - 1), Limits(config_depth=4)):
        with pytest.raises(FormatError):
            read(path, limits)


def test_a_megabyte_of_brackets_is_refused_before_it_is_parsed():
    with pytest.raises(FormatError, match="texts, lists and objects"):
        _document.parse(b"[" + b"[]," * 3_000_000 + b"1]", "it", depth=9)
    with pytest.raises(FormatError, match="values"):
        _document.parse(b"[" + b"1," * 8_000_001 + b"1]", "it", depth=9)


@given(
    arrays.arrays(
        st.sampled_from(["float16", "float32", "float64", "int8", "int64", "uint64", "bool"]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_arrays_come_back_with_the_same_bits(array: np.ndarray):
    text = _document.text(_tensors.as_json(array), "it")
    again = _tensors.from_json(_document.parse(text, "it", depth=9), "it", Limits())
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    # all that is not a number is the same word in JSON
    assert np.where(array == array, again, 0).tobytes() == np.where(array == array, array, 0).tobytes()  # noqa: PLR0124
    assert np.array_equal(again != again, array != array)  # noqa: PLR0124


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=500)
def test_every_float_is_written_with_its_shortest_digits(bits: int):
    number = np.array(bits, dtype=np.uint32).view(np.float32)
    text = _document.text(_tensors.values(number), "it").decode()
    if np.isfinite(number):
        assert np.float32(text) == number
        assert len(text) <= len(repr(float(number))) or text == f"{number:g}"


def test_bfloat16_comes_back():
    import ml_dtypes

    array = np.array([1.0, -0.1, np.inf, 3e38], dtype=ml_dtypes.bfloat16)
    found = _document.parse(_document.text(_tensors.as_json(array), "it"), "it", depth=9)
    assert _tensors.from_json(found, "it", Limits()).tobytes() == array.tobytes()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("name", ["binary", "pictures", "residual", "table"])
@given(data=st.data())
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_value_put_in_any_place_is_refused_or_read(models: dict[str, Model], tmp_path: Path, name: str, data):
    path = tmp_path / "m.json"
    if not (tmp_path / "whole.json").exists():
        write(models[name], tmp_path / "whole.json")
    found = json.loads((tmp_path / "whole.json").read_text())
    at = found
    while True:
        key = data.draw(st.sampled_from(list(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], (dict, list)) or not at[key] or data.draw(st.integers(0, 3)) == 0:
            break
        at = at[key]
    at[key] = data.draw(JSON)
    path.write_text(json.dumps(found))
    try:
        assert isinstance(read(path), Model)
    except EngramError as refused:
        assert str(refused)  # noqa: PT017 - either outcome is right, this is about the second


def test_a_network_too_large_for_json_is_refused_with_what_to_do(models: dict[str, Model], tmp_path: Path):
    model = models["binary"]
    idle = np.full(6_000_000, 0.12345678, np.float32)
    large = Model(model.graph, {**model.weights, "idle": idle}, model.signature, labels=model.labels)
    with pytest.raises(ConversionError, match="write onnx or safetensors"):
        write(large, tmp_path / "m.json")
    assert list(tmp_path.iterdir()) == []
