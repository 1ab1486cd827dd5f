"""What two versions differ in, against numpy and against networks whose differences are known."""

import json
import math
from itertools import pairwise

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from engram.errors import StoreError, VersionNotFound
from engram.graphs.weights import detach
from engram.records import Model, Report, Score, Signature, TensorSpec
from engram.store import manifests
from engram.store.relations.diff import Pair

ROOMY = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def mlp(*widths, seed=0, activation="Relu"):
    """A perceptron with layers of these widths, in ONNX's own words."""
    numbers = np.random.default_rng(seed)
    nodes, weights, value = [], [], "x"
    for index, (inner, outer) in enumerate(pairwise(widths), start=1):
        name = f"dense{index}"
        weights += [
            numpy_helper.from_array(numbers.standard_normal((outer, inner), dtype=np.float32), f"{name}.weight"),
            numpy_helper.from_array(numbers.standard_normal(outer, dtype=np.float32), f"{name}.bias"),
        ]
        inputs = [value, f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node("Gemm", inputs, [f"{name}.out"], name=name, transB=1))
        value = f"{name}.out"
        if index < len(widths) - 1:
            nodes.append(helper.make_node(activation, [value], [f"active{index}"], name=f"active{index}"))
            value = f"active{index}"
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", width])
        for name, width in (("x", widths[0]), (value, widths[-1]))
    ]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], weights)
    bare, taken = detach(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))
    signature = Signature(
        (TensorSpec("x", "float32", ("batch", widths[0])),),
        (TensorSpec("y", "float32", ("batch", widths[-1]), kind="logits"),),
    )
    return Model(bare, taken, signature)


def bare(**weights):
    """Weights without a graph."""
    return Model(b"", weights, Signature((), ()))


def kept(store, *models):
    for model in models:
        store.keep("net", model)
    return store.diff("net:1", "net:2")


def test_a_version_does_not_differ_from_itself(store, network):
    store.keep("income", network(), pipeline="[data]\n", lock="a = 1\n", data="sha256:1", facts={"run": "x"})
    found = store.diff("income", "income:1")
    assert (found.weights, found.unchanged) == ((), 3)
    assert not any([found.layers, found.operators, found.signature, found.labels, found.metrics, found.facts])
    assert not any([found.environment, found.files, found.pipeline, found.lock])


def test_how_far_a_weight_has_moved_is_its_norm_and_its_largest_difference(store):
    before, after = np.array([3.0, 0, 0, 4]), np.array([3.0, 0.5, 0, 3.5])
    found = kept(store, bare(w=before, same=before), bare(w=after, same=before))
    (shift,) = found.weights
    assert (shift.name, shift.before, shift.after) == ("w", "float64 4", "float64 4")
    assert shift.relative == pytest.approx(math.sqrt(0.5) / 5)
    assert shift.largest == 0.5
    assert found.unchanged == 1


@pytest.mark.parametrize(
    "dtype",
    ["float16", "float32", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "int8", "uint8", "int32",
     "int64", "bool"],
)  # fmt: skip
def test_weights_of_every_type_are_compared(store, dtype):
    numbers = np.random.default_rng(1)
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    one, other = (numbers.integers(-7, 8, (40, 30)).astype(np.float32).astype(kind) for _ in range(2))
    (shift,) = kept(store, bare(w=one), bare(w=other)).weights
    apart = other.astype(np.float64) - one.astype(np.float64)
    assert shift.relative == pytest.approx(np.linalg.norm(apart) / np.linalg.norm(one.astype(np.float64)))
    assert shift.largest == np.abs(apart).max()


def test_complex_weights_are_compared(store):
    (shift,) = kept(store, bare(w=np.array([3 + 4j])), bare(w=np.array([3 + 9j]))).weights
    assert (shift.relative, shift.largest) == (1.0, 5.0)


@ROOMY
@given(
    st.lists(st.tuples(*2 * [st.floats(width=32, min_value=-(2.0**60), max_value=2.0**60)]), min_size=1, max_size=20)
)
def test_what_moved_is_what_numpy_finds(store, pairs):
    one, other = (np.array(side, np.float32) for side in zip(*pairs, strict=True))
    numbers = [store.keep("net", bare(w=side)).number for side in (one, other)]
    found = store.diff(*(f"net:{number}" for number in numbers))
    if one.tobytes() == other.tobytes():
        assert found.weights == ()
        return
    apart, before = other.astype(float) - one.astype(float), np.linalg.norm(one.astype(float))
    (shift,) = found.weights
    assert shift.largest == np.abs(apart).max()
    if before:
        assert shift.relative == pytest.approx(np.linalg.norm(apart) / before)
    else:
        assert shift.relative == (math.inf if apart.any() else 0)


def test_large_weights_are_compared_piece_by_piece(store):
    numbers = np.random.default_rng(2)
    one = numbers.standard_normal(2_300_000, dtype=np.float32)
    other = one.copy()
    other[[0, 999_999, 1_000_000, 2_299_999]] += np.float32(2)
    (shift,) = kept(store, bare(w=one), bare(w=other)).weights
    assert shift.largest == pytest.approx(2, rel=1e-6)
    assert shift.relative == pytest.approx(np.linalg.norm(other - one) / np.linalg.norm(one.astype(float)), rel=1e-5)


def test_numbers_that_are_none_are_noticed_where_they_are_new(store):
    one = np.array([1.0, np.nan, np.inf, -np.inf])
    found = kept(store, bare(gone=one, moved=one), bare(gone=one * np.nan, moved=one + np.eye(4)[0]))
    gone, moved = found.weights
    assert math.isnan(gone.relative)
    assert math.isnan(gone.largest)
    assert moved.largest == 1


def test_weights_that_came_went_or_changed_shape_are_named(store):
    one = bare(gone=np.ones((2, 3), np.float32), wider=np.ones((2, 3)), typed=np.ones(3, np.float32), same=np.ones(2))
    other = bare(come=np.ones((), np.int64), wider=np.ones((4, 3)), typed=np.ones(3, np.float16), same=np.ones(2))
    found = kept(store, one, other)
    assert [(s.name, s.before, s.after) for s in found.weights] == [
        ("come", "", "int64 1"),
        ("gone", "float32 2×3", ""),
        ("typed", "float32 3", "float16 3"),
        ("wider", "float64 2×3", "float64 4×3"),
    ]
    assert [s.relative == 0 for s in found.weights] == [False, False, True, False]
    assert found.unchanged == 1


def test_weights_in_the_same_blob_are_not_read(store, network):
    first = store.keep("income", network())
    store.keep("income", network(**{"dense.bias": np.ones(500, np.float32)}))
    files = manifests.read(store._plain, first.digest).files
    large = [blob for path, blob in files.items() if path.startswith("model-") and blob.size > 1_000_000]
    assert [store._plain.delete(blob.digest) for blob in large] == [large[0].size]
    found = store.diff("income:1", "income:2")
    assert [shift.name for shift in found.weights] == ["dense.bias"]
    assert found.unchanged == 2


def test_a_weight_that_is_gone_is_named(store):
    store.keep("net", bare(w=np.ones(300_000)))
    store.keep("net", bare(w=np.zeros(300_000)))
    (blob,) = [blob for path, blob in manifests.read(store._plain, store.version("net:2").digest).files.items()
               if path.startswith("model-")]  # fmt: skip
    store._plain.delete(blob.digest)
    with pytest.raises(StoreError, match=blob.digest.removeprefix("sha256:")):
        store.diff("net:1", "net:2")


def test_layers_that_came_or_changed_are_told_in_the_order_they_run(store):
    found = kept(store, mlp(4, 16, 3), mlp(4, 16, 8, 3))
    assert found.layers == (
        Pair("dense2", "Gemm → batch×3, bias 3, weight 3×16", "Gemm → batch×8, bias 8, weight 8×16"),
        Pair("active2", None, "Relu → batch×8"),
        Pair("dense3", None, "Gemm → batch×3, bias 3, weight 3×8"),
    )
    assert found.operators == (Pair("Gemm", 2, 3), Pair("Relu", 1, 2))


def test_another_activation_is_a_layer_that_changed(store):
    found = kept(store, mlp(4, 5, 3), mlp(4, 5, 3, activation="Tanh"))
    assert found.layers == (Pair("active1", "Relu → batch×5", "Tanh → batch×5"),)
    assert found.operators == (Pair("Relu", 1, None), Pair("Tanh", None, 1))
    assert found.weights == ()


def test_networks_of_the_same_graph_differ_in_weights_alone(store):
    found = kept(store, mlp(4, 5, 3), mlp(4, 5, 3, seed=1))
    assert (found.layers, found.operators, found.files) == ((), (), ())
    assert [shift.name for shift in found.weights] == ["dense1.bias", "dense1.weight", "dense2.bias", "dense2.weight"]


def test_a_version_without_a_graph_can_be_compared_with_one_that_has_one(store):
    found = kept(store, bare(**mlp(4, 5, 3).weights), mlp(4, 5, 3))
    assert [(pair.name, pair.before) for pair in found.layers] == [
        ("dense1", None),
        ("active1", None),
        ("dense2", None),
    ]
    assert (found.weights, found.unchanged) == ((), 4)


def test_inputs_outputs_and_labels_that_differ_are_told(store):
    weights = {"w": np.ones(3)}
    inputs = [TensorSpec("age", "float64", ("batch",), unit="years", kind="number"), TensorSpec("sex", "string", (1,))]
    outputs = (TensorSpec("y", "float32", ("batch", 2), kind="logits"),)
    one = Model(b"", weights, Signature(tuple(inputs), outputs), labels=("no", "yes"))
    inputs = [TensorSpec("age", "float32", ("batch",), unit="months", kind="number")]
    other = Model(b"", weights, Signature(tuple(inputs), outputs), labels=("yes", "no", "maybe"))
    found = kept(store, one, other)
    assert found.signature == (
        Pair("input age", "number float64 batch in years", "number float32 batch in months"),
        Pair("input sex", "tensor string 1", None),
    )
    assert found.labels == (Pair("0", "no", "yes"), Pair("1", "yes", "no"), Pair("2", None, "maybe"))


def report(**metrics):
    return Report("d", 9, "binary", tuple(Score(name, value, value, value) for name, value in metrics.items()))


def test_scores_facts_data_and_environment_are_compared(store, network):
    facts = {"run": "r1", "parameters": 7, "environment": {"torch": "2.12", "numpy": "2.3"}}
    first = store.keep("income", network(), report=report(accuracy=0.8, rmse=2.0), data="sha256:a", facts=facts)
    facts = {"run": "r2", "parameters": 7, "environment": {"torch": "2.13", "onnx": "1.19"}}
    more = {"data": "sha256:b", "parents": [first.digest], "facts": facts}
    store.keep("income", network(), report=report(accuracy=0.9, f1=0.5), **more)
    found = store.diff("income:1", "income:2")
    assert found.metrics == (Pair("accuracy", 0.8, 0.9), Pair("rmse", 2.0, None), Pair("f1", None, 0.5))
    assert found.facts == (
        Pair("data", "sha256:a", "sha256:b"),
        Pair("run", "r1", "r2"),
        Pair("parents", None, [first.digest]),
    )
    assert found.environment == (
        Pair("numpy", "2.3", None),
        Pair("torch", "2.12", "2.13"),
        Pair("onnx", None, "1.19"),
    )


def test_pipelines_are_compared_by_line_and_lock_files_by_key(store, network):
    texts = ('[data]\nfrom = "a.csv"\n', "[train]\nepochs = 3\nlr = 0.1\n[train.stop]\nafter = 5\n")
    store.keep("income", network(), pipeline=texts[0], lock=texts[1])
    store.keep("income", network(), pipeline='[data]\nfrom = "b.csv"\n', lock="[train]\nlr = 0.1\nepochs = 4\n")
    found = store.diff("income:1", "income:2")
    assert found.pipeline.splitlines() == [
        "--- income:1 pipeline.toml",
        "+++ income:2 pipeline.toml",
        "@@ -1,2 +1,2 @@",
        " [data]",
        '-from = "a.csv"',
        '+from = "b.csv"',
    ]
    assert found.lock == (Pair("train.epochs", 3, 4), Pair("train.stop.after", 5, None))


def test_a_version_without_a_pipeline_can_be_compared_with_one_that_has_one(store, network):
    store.keep("income", network())
    store.keep("income", network(), pipeline="[data]\n", lock="this is\nno TOML\n")
    found = store.diff("income:1", "income:2")
    assert found.pipeline.endswith("+[data]")
    assert found.lock == (Pair("line 1", None, "this is"), Pair("line 2", None, "no TOML"))


def test_other_files_that_differ_are_named(store, network):
    one, other = network(), network()
    store.keep("income", one)
    store.keep("income", Model(one.graph, one.weights, one.signature, b"another", one.labels, other.source))
    assert [pair.name for pair in store.diff("income:1", "income:2").files] == ["preprocessing.onnx", "statistics.json"]


def test_versions_of_two_networks_can_be_compared(store):
    store.keep("small", mlp(4, 3))
    store.keep("large", mlp(4, 30, 3))
    assert [pair.name for pair in store.diff("small", "large").layers] == ["dense1", "active1", "dense2"]
    with pytest.raises(VersionNotFound, match=r"no network is kept as 'smal'; did you mean 'small'\?"):
        store.diff("smal", "large")


def test_a_difference_is_json_and_a_table(store):
    hostile = '<script>alert("&")</script>'
    one, other = bare(w=np.ones(3)), bare(w=np.ones(3), **{hostile: np.ones(2)})
    found = kept(store, one, other)
    assert json.loads(json.dumps(found.as_json(), default=str))["weights"][0]["name"] == hostile
    page = found._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "net:1" in page
