"""Rows that are asked: from what training saw, and from what it did not."""

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engram.errors import FormatError
from engram.formats._probes import affordable, drawn, probes, question
from engram.graphs.build import Builder
from engram.graphs.weights import detach
from engram.records import Model, Signature, TensorSpec
from engram.runtime import onnxruntime

RAW = (
    TensorSpec("age", "float64", ("batch",), kind="number"),
    TensorSpec("member", "float64", ("batch",), kind="boolean"),
    TensorSpec("since", "float64", ("batch",), kind="date"),
    TensorSpec("class", "string", ("batch",), kind="category"),
    TensorSpec("photo", "uint8", ("batch", "height", "width", 3), kind="image"),
)
SEEN = {
    "age": {"min": 17.0, "max": 90.0, "mean": 38.0, "std": 13.0, "examples": [25.0, 39.5]},
    "since": {"min": 1e9, "max": 1.5e9, "mean": 1.2e9, "std": 1e8, "examples": []},
    "class": {"values": [["private", 9], ["state", 3]], "examples": ["private"]},
    "photo": {"height": [20, 30], "width": [40, 40], "mean": 120.0, "std": 50.0},
}


def asked(inputs: tuple[TensorSpec, ...], statistics: dict | None = None, **options):
    return probes(Model(b"", {}, Signature(inputs, ()), statistics=statistics or {}), **options)


def test_the_same_seed_gives_the_same_rows_in_any_order():
    one, other = asked(RAW, SEEN, seed=3), asked(RAW[::-1], SEEN, seed=3)
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array)
    assert not np.array_equal(asked(RAW, SEEN, seed=4)["age"], one["age"], equal_nan=True)


def test_rows_hold_what_training_saw_and_what_it_did_not():
    rows = asked(RAW, SEEN, rows=64)
    assert np.isnan(rows["age"]).any()
    assert {17.0, 90.0, 0.0, 25.0, 39.5} <= set(rows["age"])
    assert np.nanmin(rows["age"]) < 17
    assert np.nanmax(rows["age"]) > 90
    assert set(rows["member"][~np.isnan(rows["member"])]) == {0.0, 1.0}
    assert np.isnan(rows["member"]).any()
    assert {"private", "state", "", "never seen before"} <= set(rows["class"])
    assert rows["photo"].shape == (64, 25, 40, 3)
    assert rows["photo"].dtype == np.uint8
    assert (rows["photo"].min(), rows["photo"].max()) == (0, 255)
    drawn = rows["since"][6:]
    assert ((drawn >= 1e9) & (drawn <= 1.5e9)).all()


def test_every_category_is_asked_when_there_are_rows_enough():
    known = [[f"value {n}", 1] for n in range(50)]
    rows = asked((RAW[3],), {"class": {"values": known}}, rows=64)
    assert {name for name, _ in known} <= set(rows["class"])


def test_tensors_are_never_gaps_and_share_their_free_axes():
    specs = (TensorSpec("a", "float32", ("batch", "time", 3)), TensorSpec("b", "int64", ("batch", "time")))
    rows = asked(specs, rows=9)
    assert rows["a"].shape[:2] == rows["b"].shape == (9, 8)
    assert np.isfinite(rows["a"]).all()
    assert set(rows["b"].ravel()) <= {0, 1}


@settings(deadline=None)
@example(rows=9, seed=0, rubbish={"examples": 0, "values": 3, "min": "low"})
@given(rows=st.integers(1, 40), seed=st.integers(0, 2**31), rubbish=st.dictionaries(st.text(), st.integers()))
def test_statistics_that_say_nothing_useful_still_give_rows(rows: int, seed: int, rubbish: dict):
    statistics = {spec.name: rubbish for spec in RAW[:3]} | {"class": 3, "photo": {"height": "tall"}}
    found = asked(RAW, statistics, rows=rows, seed=seed)
    assert all(len(array) == rows for array in found.values())


@pytest.mark.parametrize("value", [-(2**63) - 1, 10**400, -(10**400), float("inf"), float("nan"), 1e308])
def test_a_bound_of_absurd_size_is_passed_over(value):
    found = asked(RAW, {"age": {"min": value, "max": value, "examples": [value]}})
    assert all(not np.isinf(column).any() for column in found.values() if column.dtype.kind == "f")


def test_rows_that_training_saw_come_last_as_they_were():
    seen = {
        "age": {"min": 17.0, "max": 90.0, "examples": [25.0, None, 39.5]},
        "member": {"examples": [1.0, 0.0, None]},
        "since": {"examples": [1e9, 1.1e9, 1.2e9]},
        "class": {"values": [["private", 9]], "examples": ["private", "state", ""]},
    }
    asked_for = question(Model(b"", {}, Signature(RAW[:4], ()), statistics=seen), rows=64)
    rows = drawn(asked_for)
    assert asked_for.real == 3
    np.testing.assert_array_equal(rows["age"][-3:], [25.0, np.nan, 39.5])
    np.testing.assert_array_equal(rows["member"][-3:], [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(rows["since"][-3:], [1e9, 1.1e9, 1.2e9])
    assert list(rows["class"][-3:]) == ["private", "state", ""]


def test_rows_are_real_only_where_every_column_is_remembered():
    model = Model(b"", {}, Signature(RAW, ()), statistics=SEEN)
    assert question(model).real == 0
    assert question(Model(b"", {}, Signature((), ()))).real == 0
    many = {"age": {"examples": [float(n) for n in range(1000)]}}
    assert question(Model(b"", {}, Signature(RAW[:1], ()), statistics=many), rows=64).real == 16


def embedding(kind: str) -> Model:
    """A network that looks tokens up in a table of 50 words."""
    spec, end = TensorSpec("tokens", kind, ("batch", 7)), TensorSpec("y", "float32", ("batch", 7, 3))
    builder = Builder([spec])
    table = builder.constant(np.ones((50, 3), np.float32), "embed.weight")
    place = builder.node("Cast", "tokens", to=7) if kind != "int64" else "tokens"
    builder.node("Gather", table, place, name="y")
    graph, weights = detach(onnx.ModelProto.FromString(builder.finish([end])))
    return Model(graph, weights, Signature((spec,), (end,)))


@pytest.mark.parametrize("kind", ["int64", "int32", "float32"])
def test_tokens_stay_within_the_words_that_the_graph_knows_and_reach_the_last(kind: str):
    rows = probes(embedding(kind))["tokens"]
    assert rows.dtype == kind
    assert set(rows.ravel().tolist()) == set(range(50))
    assert (rows[0] == 0).all()
    assert (rows[1] == 49).all()
    onnxruntime.open(embedding(kind)).predict({"tokens": rows})


@pytest.mark.parametrize(("shape", "rows"), [((2**40, 3), 2**40), (("batch", 2**40), 64), (("batch", 2**16, 2**16), 1)])
def test_inputs_of_absurd_size_are_refused_before_anything_is_drawn(shape, rows: int):
    with pytest.raises(FormatError, match="numbers at once"):
        asked((TensorSpec("x", "float32", shape),), rows=rows)


def test_wide_inputs_are_asked_with_fewer_rows():
    assert affordable(Signature((TensorSpec("x", "float32", ("batch", 2**24)),), ()), 64) == 4
    assert affordable(Signature((TensorSpec("x", "float32", ("batch", 4)),), ()), 64) == 64
    assert affordable(Signature((TensorSpec("x", "float32", ("batch", 2**30)),), ()), 64) == 1
