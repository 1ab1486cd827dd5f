import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from engram.errors import FormatError, ShapeError
from engram.graphs.build import Builder
from engram.graphs.weights import detach
from engram.records import Model, Signature, TensorSpec
from engram.runtime import onnxruntime as runtime

RNG = np.random.default_rng(3)
FEATURES = TensorSpec("features", "float32", ("batch", 3))


def table(kind="logits", width=4, labels=("a", "b", "c", "d"), batch="batch"):
    """A linear model on three columns, and its weight."""
    spec = TensorSpec("features", "float32", (batch, 3))
    output = TensorSpec("out", "float32", (batch, width), kind=kind)
    builder = Builder([spec])
    weight = RNG.normal(size=(width, 3)).astype("f4")
    builder.node("Gemm", "features", builder.constant(weight, "fc.weight"), transB=1, name="out")
    graph, weights = detach(onnx.load_from_string(builder.finish([output])))
    return Model(graph, weights, Signature((spec,), (output,)), labels=labels), weight


def pictures():
    """A model that answers with the mean of each channel of a picture of any size."""
    raw = TensorSpec("image", "uint8", ("batch", "height", "width", 3), kind="image")
    builder = Builder([raw])
    small = builder.node("Cast", "image", to=1)
    builder.node("ReduceMean", small, builder.constant([1, 2], dtype="int64"), keepdims=0, name="features")
    preprocessing = builder.finish([FEATURES])
    output = TensorSpec("mean", "float32", ("batch", 3))
    network = Builder([FEATURES])
    network.node("Identity", "features", name="mean")
    graph, weights = detach(onnx.load_from_string(network.finish([output])))
    return Model(graph, weights, Signature((raw,), (output,)), preprocessing)


def test_many_rows_are_answered_in_order_whatever_the_batch():
    model, weight = table()
    session = runtime.open(model)
    x = RNG.normal(size=(2500, 3)).astype("f4")
    for batch in (0, 1000, 7, 5000):
        found = session.predict({"features": x}, batch=batch)
        np.testing.assert_allclose(found.outputs["out"], x @ weight.T, atol=1e-5)
        assert found.labels.tolist() == [model.labels[i] for i in (x @ weight.T).argmax(1)]
        assert found.probabilities.dtype == np.float32
        np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-6)
        assert found.classes == model.labels


def test_values_are_one_number_a_row():
    model, weight = table("value", 1, ())
    found = runtime.open(model).predict({"features": np.ones((5, 3), "f4")})
    assert found.values.shape == (5,)
    np.testing.assert_allclose(found.values, weight.sum(), rtol=1e-5)
    assert found.labels is None
    assert found.probabilities is None


KINDS = [("logits", 4, tuple("abcd")), ("logit", 1, ("no", "yes")), ("value", 1, ()), ("tensor", 2, ())]


@pytest.mark.parametrize(("kind", "width", "labels"), KINDS)
def test_no_rows_get_an_empty_answer_of_the_right_shape(kind, width, labels):
    session = runtime.open(table(kind, width, labels)[0])
    none, one = (session.predict({"features": np.ones((n, 3), "f4")}) for n in (0, 1))
    assert len(none) == 0
    for name in ("labels", "probabilities", "values"):
        a, b = getattr(none, name), getattr(one, name)
        assert (a is None) == (b is None)
        if b is not None:
            assert (a.shape[1:], a.dtype) == (b.shape[1:], b.dtype)
    assert none.outputs["out"].shape == (0, width)


def test_pictures_of_several_sizes_are_run_size_by_size_and_answered_in_order():
    given = [RNG.integers(0, 256, (4 + i % 3, 5 + i % 2, 3), dtype=np.uint8) for i in range(50)]
    ragged = np.empty(50, dtype=object)
    ragged[:] = given
    expected = [picture.mean((0, 1)) for picture in given]
    model = pictures()
    np.testing.assert_allclose(
        runtime.open(model).predict({"image": ragged}, batch=4).outputs["mean"], expected, rtol=1e-5
    )
    np.testing.assert_allclose(
        runtime.preprocess(model.preprocessing, {"image": ragged})["features"], expected, rtol=1e-5
    )


def test_a_network_of_fixed_batch_answers_any_number_of_rows():
    model, weight = table(batch=4)
    x = RNG.normal(size=(10, 3)).astype("f4")
    np.testing.assert_allclose(runtime.open(model).predict({"features": x}).outputs["out"], x @ weight.T, atol=1e-5)


def test_preprocessing_leaves_other_columns_alone():
    graph = pictures().preprocessing
    image = RNG.integers(0, 256, (9, 4, 4, 3), dtype=np.uint8)
    found = runtime.preprocess(graph, {"image": image, "label": np.zeros(9)}, batch=2)
    np.testing.assert_allclose(found["features"], image.mean((1, 2)), rtol=1e-5)
    assert runtime.preprocess(graph, {"image": image[:0]})["features"].shape == (0, 3)
    with pytest.raises(ShapeError, match=r"'image' .* is missing"):
        runtime.preprocess(graph, {"label": np.zeros(9)})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input 'features' .* is missing"),
        ({"features": np.ones((2, 3)), "more": np.ones(2)}, "no input 'more'"),
        ({"featurs": np.ones((2, 3))}, "did you mean 'features'"),
        ({"features": np.ones((2, 4))}, r"must have shape \[batch, 3\], but has \[2, 4\]"),
        ({"features": np.ones(3)}, r"must have shape \[batch, 3\], but has \[3\]"),
        ({"features": np.array([["a", "b", "c"]])}, "must be float32, but is <U1"),
        ({"features": np.ones((2, 3), complex)}, "must be float32, but is complex128"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_a_sentence(inputs, message):
    with pytest.raises(ShapeError, match=message):
        runtime.open(table()[0]).predict(inputs)


def test_columns_of_different_lengths_are_refused():
    specs = tuple(TensorSpec(name, "float32", ("batch",)) for name in "ab")
    builder = Builder(specs)
    builder.node("Add", "a", "b", name="sum")
    output = TensorSpec("sum", "float32", ("batch",))
    graph, weights = detach(onnx.load_from_string(builder.finish([output])))
    session = runtime.open(Model(graph, weights, Signature(specs, (output,))))
    with pytest.raises(ShapeError, match="'b' has 3 of batch, but 'a' has 2"):
        session.predict({"a": np.ones(2, "f4"), "b": np.ones(3, "f4")})


def test_many_threads_may_ask_at_once():
    model, weight = table()
    session = runtime.open(model)
    given = [RNG.normal(size=(n, 3)).astype("f4") for n in range(1, 65)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda x: session.predict({"features": x}).outputs["out"], given))
    for x, y in zip(given, found, strict=True):
        np.testing.assert_allclose(y, x @ weight.T, atol=1e-5)


def test_nothing_is_left_behind_on_disk():
    before = set(Path(tempfile.gettempdir()).glob("engram-*"))
    runtime.open(table()[0])
    assert set(Path(tempfile.gettempdir()).glob("engram-*")) <= before


def test_a_graph_that_cannot_be_opened_is_refused():
    with pytest.raises(FormatError, match="onnxruntime cannot open the graph"):
        runtime.run(b"no graph", {})


def test_text_goes_in_and_text_comes_out():
    spec = TensorSpec("word", "string", ("batch",), kind="text")
    builder = Builder([spec])
    builder.node("Identity", "word", name="same")
    graph = builder.finish([TensorSpec("same", "string", ("batch",))])
    assert runtime.run(graph, {"word": np.array(["ä", ""], object)})["same"].tolist() == ["ä", ""]
