import numpy as np
import onnx
import onnxruntime
import pytest

from engram.errors import ConversionError
from engram.graphs.build import Builder
from engram.graphs.compose import classes, compose
from engram.graphs.weights import detach
from engram.records import Model, Signature, TensorSpec

RNG = np.random.default_rng(0)


def network(name, outputs, kind, inputs="features", shape=None, internal=""):
    """A linear network (batch, 3) → (batch, outputs), its signature, weight and bias."""
    builder = Builder([TensorSpec(inputs, "float32", ("batch", 3))])
    weight, bias = RNG.normal(size=(outputs, 3)).astype("f4"), RNG.normal(size=outputs).astype("f4")
    product = builder.node(
        "Gemm", inputs, builder.constant(weight, "fc.weight"), builder.constant(bias, "fc.bias"), transB=1,
        name=internal or "product",
    )  # fmt: skip
    builder.node("Identity", product, name=name)
    spec = TensorSpec(name, "float32", shape or ("batch", outputs), kind=kind)
    graph, weights = detach(onnx.load_from_string(builder.finish([TensorSpec(name, "float32", ("batch", outputs))])))
    return graph, weights, spec, weight, bias


def plain(name, outputs, kind, labels=(), **more):
    graph, weights, spec, weight, bias = network(name, outputs, kind, **more)
    inputs = (TensorSpec(more.get("inputs", "features"), "float32", ("batch", 3)),)
    return Model(graph, weights, Signature(inputs, (spec,)), labels=labels), weight, bias


def answer(model, inputs, **more):
    graph = compose(model, **more)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def softmax(x):
    powers = np.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


X = RNG.normal(size=(7, 3)).astype("f4")


def test_logits_become_probabilities_and_labels():
    model, weight, bias = plain("logits", 4, "logits", ("a", "b", "c", "d"))
    found = answer(model, {"features": X})
    expected = softmax(X @ weight.T + bias)
    assert list(found) == ["label", "probabilities"]
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    assert found["label"].tolist() == [model.labels[i] for i in expected.argmax(1)]


def test_one_logit_becomes_the_chances_of_both_classes():
    model, weight, bias = plain("logit", 1, "logit", ("no", "yes"))
    found = answer(model, {"features": X})
    chance = 1 / (1 + np.exp(-(X @ weight.T + bias)))
    np.testing.assert_allclose(found["probabilities"], np.concatenate([1 - chance, chance], 1), atol=1e-6)
    assert found["label"].tolist() == ["yes" if p > 0.5 else "no" for p in chance[:, 0]]


def test_a_very_small_chance_keeps_its_digits():
    model, weight, bias = plain("logit", 1, "logit", ("no", "yes"))
    x = np.linalg.lstsq(weight, np.array([40.0]) - bias, rcond=None)[0].astype("f4")[None]
    assert answer(model, {"features": x})["probabilities"][0, 0] == pytest.approx(np.exp(-40), rel=1e-3)


def test_probabilities_are_passed_on_under_their_own_name():
    model, weight, bias = plain("probabilities", 3, "probabilities", ("a", "b", "c"))
    found = answer(model, {"features": X}, network_outputs=True)
    np.testing.assert_allclose(found["probabilities"], X @ weight.T + bias, atol=1e-5)
    assert list(found) == ["label", "probabilities", "network/probabilities"]


def test_one_probability_becomes_two_columns():
    model, weight, bias = plain("p", 1, "probability", ("no", "yes"))
    found = answer(model, {"features": X})["probabilities"]
    np.testing.assert_allclose(found, np.concatenate([1 - (X @ weight.T + bias), X @ weight.T + bias], 1), atol=1e-5)


def test_a_value_is_one_number_a_row():
    model, weight, bias = plain("value", 1, "value")
    found = answer(model, {"features": X})
    assert list(found) == ["value"]
    np.testing.assert_allclose(found["value"], (X @ weight.T + bias)[:, 0], atol=1e-5)


def test_several_values_stay_several():
    model, *_ = plain("value", 3, "value")
    assert answer(model, {"features": X})["value"].shape == (7, 3)


def test_a_network_of_no_known_kind_answers_with_its_own_outputs():
    model, weight, bias = plain("embedding", 2, "tensor")
    found = answer(model, {"features": X})
    np.testing.assert_allclose(found["embedding"], X @ weight.T + bias, atol=1e-5)
    assert classes(model) == ()


def test_classes_without_labels_are_numbered():
    model, *_ = plain("logits", 3, "logits")
    assert classes(model) == ("0", "1", "2")
    assert set(answer(model, {"features": X})["label"].tolist()) <= {"0", "1", "2"}


def test_too_few_labels_are_refused():
    model, *_ = plain("logits", 3, "logits", ("a", "b"))
    with pytest.raises(ConversionError, match="has 3 classes, but there are 2 labels"):
        compose(model)


def preprocessing(columns, hidden="features/product"):
    """Raw numbers, stacked; ``hidden`` names a value in between."""
    inputs = tuple(TensorSpec(name, "float64", ("batch",), kind="number") for name in columns)
    builder = Builder(inputs)
    stacked = [builder.node("Unsqueeze", spec.name, builder.constant([1], dtype="int64")) for spec in inputs]
    wide = builder.node("Concat", *stacked, axis=1, name=hidden)
    builder.node("Cast", wide, to=1, name="features")
    return builder.finish([TensorSpec("features", "float32", ("batch", 3))]), inputs


@pytest.mark.parametrize(
    ("columns", "hidden"),
    [
        (("a", "b", "c"), "wide"),
        (("value", "label", "probabilities"), "product"),
        (("fc.weight", "fc.bias", "product"), "logits"),
        (("logits", "network/logits", "answer/label"), "label"),
    ],
)
def test_names_that_collide_change_nothing(columns, hidden):
    graph, weights, spec, weight, bias = network("logits", 3, "logits", internal="probabilities")
    raw, inputs = preprocessing(columns, hidden)
    model = Model(graph, weights, Signature(inputs, (spec,)), raw, ("x", "y", "z"))
    found = answer(model, {name: X[:, i].astype("f8") for i, name in enumerate(columns)}, network_outputs=True)
    label, chances, logits = found.values()
    np.testing.assert_allclose(logits, X @ weight.T + bias, atol=1e-5)
    np.testing.assert_allclose(chances, softmax(X @ weight.T + bias), atol=1e-6)
    assert label.tolist() == ["xyz"[i] for i in (X @ weight.T + bias).argmax(1)]


def test_operator_sets_of_preprocessing_are_kept():
    inputs = (TensorSpec("city", "string", ("batch",), kind="category"),)
    builder = Builder(inputs)
    code = builder.node(
        "LabelEncoder", "city", domain="ai.onnx.ml", keys_strings=["Oslo", "Bern"], values_floats=[1.0, 2.0],
        default_float=0.0,
    )  # fmt: skip
    column = builder.node("Unsqueeze", code, builder.constant([1], dtype="int64"))
    builder.node("Concat", column, column, column, axis=1, name="features")
    raw = builder.finish([TensorSpec("features", "float32", ("batch", 3))])
    graph, weights, spec, weight, bias = network("value", 1, "value")
    model = Model(graph, weights, Signature(inputs, (spec,)), raw)
    found = answer(model, {"city": np.array(["Bern", "Rome"], object)})["value"]
    np.testing.assert_allclose(found, [2 * weight.sum() + bias[0], bias[0]], atol=1e-5)


def test_preprocessing_that_makes_something_else_is_refused():
    graph, weights, spec, *_ = network("logits", 3, "logits", inputs="image")
    raw, inputs = preprocessing(("a", "b", "c"))
    with pytest.raises(ConversionError, match="wants 'image', but preprocessing makes features"):
        compose(Model(graph, weights, Signature(inputs, (spec,)), raw))


def test_the_same_model_composes_to_the_same_bytes():
    model, *_ = plain("logits", 4, "logits", ("a", "b", "c", "d"))
    assert compose(model) == compose(model)
