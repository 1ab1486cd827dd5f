"""Plans fitted on training rows: one graph, from raw columns to tensors."""

import json

import numpy as np
import onnx
import pytest

from engram.errors import DataError
from engram.preprocessing._fit import fit, transform
from engram.preprocessing._plan import plan
from engram.records import TensorSpec

RANDOM = np.random.default_rng(1)
ROWS = 300


def _words(values):
    return np.array([str(value) for value in values], dtype=object)


def _mixed(rows=ROWS):
    gaps = RANDOM.normal(5, 2, rows)
    gaps[::10] = np.nan
    when = RANDOM.uniform(0, 2e9, rows)
    when[3::50] = np.nan
    return {
        "a": RANDOM.normal(size=rows),
        "color": _words(RANDOM.choice(["red", "green", "blue", ""], rows)),
        "b": RANDOM.normal(1e6, 1, rows),
        "gaps": gaps,
        "sure": RANDOM.choice([0.0, 1.0, np.nan], rows),
        "when": when,
        "town": _words(RANDOM.integers(0, 100, rows)),
        "y": _words(RANDOM.choice(["no", "yes"], rows)),
    }


KINDS = {
    "a": "number", "color": "category", "b": "number", "gaps": "number", "sure": "boolean", "when": "date",
    "town": "category", "y": "category",
}  # fmt: skip
SAID = {"gaps": {"clip": [2, 8], "scale": "robust"}, "town": {"encode": "hashed"}, "color": {"encode": "ordinal"}}


def _fitted(given, overrides=None):
    return fit(given.dataset, plan(given.dataset, given.task, overrides or {}))


def _both(fitted, columns, run):
    made, expected = run(fitted.graph, columns), transform(fitted, columns)
    assert made.keys() == expected.keys() == {spec.name for spec in fitted.outputs}
    for name in made:
        np.testing.assert_allclose(made[name], expected[name], atol=1e-5)
    return made


@pytest.mark.parametrize("overrides", [{}, SAID])
def test_columns_of_every_kind_come_out_side_by_side(table, run, overrides):
    given = table(_mixed(), KINDS, _mixed())
    fitted = _fitted(given, overrides)
    for columns in (given.train, given.test):
        made = _both(fitted, columns, run)["features"]
        assert made.shape == (ROWS, len(fitted.features))
        assert np.isfinite(made).all()


def test_any_number_of_rows_goes_through(table, run):
    given = table(_mixed(), KINDS)
    fitted = _fitted(given, SAID)
    whole = run(fitted.graph, given.train)["features"]
    for rows in (0, 1, 7):
        made = run(fitted.graph, {name: values[:rows] for name, values in given.train.items()})["features"]
        np.testing.assert_allclose(made, whole[:rows], atol=1e-6)


def test_the_inputs_are_the_raw_columns_that_are_looked_at(table):
    fitted = _fitted(table(_mixed(), KINDS), {"a": "ignore"})
    assert [spec.name for spec in fitted.inputs] == ["color", "b", "gaps", "sure", "when", "town"]
    assert fitted.inputs[0] == TensorSpec("color", "string", ("batch",), kind="category")
    assert fitted.inputs[4] == TensorSpec("when", "float64", ("batch",), "seconds since 1970-01-01T00:00Z", "date")
    assert fitted.outputs == (TensorSpec("features", "float32", ("batch", len(fitted.features))),)


def test_only_the_training_rows_are_read(table):
    train = _mixed()
    other = table(train, KINDS, {name: values[:1] for name, values in train.items()})
    assert _fitted(other).graph == _fitted(table(train, KINDS)).graph


def test_the_same_rows_give_the_same_bytes_and_statistics(table):
    train = _mixed()
    once, again = _fitted(table(train, KINDS)), _fitted(table(dict(train), KINDS))
    assert once.graph == again.graph
    assert once.statistics == again.statistics


def test_the_graph_uses_only_what_every_runtime_has_unless_words_are_hashed(table):
    given = table(_mixed(), KINDS)
    plain = onnx.load_from_string(_fitted(given).graph)
    assert {(entry.domain, entry.version) for entry in plain.opset_import} == {("", 21), ("ai.onnx.ml", 5)}
    hashed = onnx.load_from_string(_fitted(given, {"town": {"encode": "hashed"}}).graph)
    assert [node.op_type for node in hashed.graph.node if node.domain == "com.microsoft"] == ["MurmurHash3"]


def test_numbers_that_go_the_same_way_go_together(table):
    columns = {f"x{i}": RANDOM.normal(size=50) for i in range(200)} | {"y": _words(range(50))}
    given = table(columns, {name: "category" if name == "y" else "number" for name in columns})
    nodes = onnx.load_from_string(_fitted(given).graph).graph.node
    assert len(nodes) < 200 + 12  # one to stand each column upright, and one chain for all


def test_statistics_say_what_was_seen_and_are_plain_json(table):
    given = table(_mixed(), KINDS)
    seen = json.loads(json.dumps(dict(_fitted(given).statistics), allow_nan=False))
    gaps, present = seen["gaps"], given.train["gaps"][~np.isnan(given.train["gaps"])]
    assert gaps["gaps"] == pytest.approx(0.1)
    assert (gaps["min"], gaps["max"]) == (present.min(), present.max())
    assert (gaps["mean"], gaps["std"]) == pytest.approx((present.mean(), present.std()))
    assert gaps["quantiles"]["0.95"] == pytest.approx(np.quantile(present, 0.95))
    assert len(gaps["examples"]) == 32
    assert gaps["examples"][0] is None
    color = seen["color"]
    assert sum(count for _, count in color["values"]) == np.count_nonzero(given.train["color"] != "")
    assert set(color["examples"]) <= {"red", "green", "blue", ""}
    assert len(seen["town"]["values"]) == 64


def test_examples_of_all_columns_come_from_the_same_rows(table):
    given = table(_mixed(), KINDS)
    seen = _fitted(given).statistics
    rows = [given.train["a"].tolist().index(value) for value in seen["a"]["examples"]]
    assert given.train["town"][rows].tolist() == seen["town"]["examples"]


def test_an_output_is_never_named_like_a_raw_column(table, run):
    columns = {"features": RANDOM.normal(size=20), "network_features": RANDOM.normal(size=20), "y": _words(range(20))}
    fitted = _fitted(table(columns, {"features": "number", "network_features": "number", "y": "category"}))
    assert [spec.name for spec in fitted.outputs] == ["network_network_features"]
    _both(fitted, columns, run)


def test_a_column_may_have_any_name(table, run):
    names = ["a/b", "größe (cm)", "x=1", "constant", "a/b/concat", " "]
    columns = {name: RANDOM.normal(size=20) for name in names} | {"y": _words(range(20))}
    given = table(columns, {name: "category" if name == "y" else "number" for name in columns})
    _both(_fitted(given, {"a/b": {"scale": "log"}}), columns, run)


def test_pictures_and_numbers_come_out_as_two_tensors(table, run):
    pictures = RANDOM.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
    columns = {"image": pictures, "age": RANDOM.normal(size=40), "y": _words(range(40))}
    fitted = _fitted(table(columns, {"image": "image", "age": "number", "y": "category"}))
    assert [(spec.name, spec.shape) for spec in fitted.outputs] == [
        ("features", ("batch", 1)),
        ("network_image", ("batch", 3, 12, 12)),
    ]
    assert fitted.inputs[0] == TensorSpec("image", "uint8", ("batch", "height", "width", 3), kind="image")
    made = _both(fitted, columns, run)["network_image"]
    np.testing.assert_allclose(made.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    seen = json.loads(json.dumps(fitted.statistics["image"]))
    assert (seen["height"], seen["width"], seen["channels"]) == ([12, 12], [12, 12], 3)
    assert seen["channel_mean"] == pytest.approx(pictures.mean(axis=(0, 1, 2)) / 255)
    assert seen["std"] == pytest.approx(pictures.std() / 255)


def test_pictures_of_many_sizes_are_fitted_and_served_in_any_size(table, run):
    shapes = [(20, 30), (16, 16), (33, 17)] * 10
    pictures = np.empty(len(shapes), dtype=object)
    pictures[:] = [RANDOM.integers(0, 256, (*shape, 1), dtype=np.uint8) for shape in shapes]
    fitted = _fitted(table({"photo": pictures, "y": _words(range(30))}, {"photo": "image", "y": "category"}))
    assert fitted.outputs == (TensorSpec("image", "float32", ("batch", 1, 17, 17), kind="image"),)
    assert fitted.statistics["photo"]["height"] == [16, 33]
    whole = transform(fitted, {"photo": pictures})["image"]
    for row in range(3):
        made = run(fitted.graph, {"photo": pictures[row][None]})["image"]
        np.testing.assert_allclose(made[0], whole[row], atol=1e-4)


def test_long_tables_and_many_pictures_are_read_in_pieces(table, run):
    rows = 70_000
    columns = {"x": RANDOM.normal(size=rows), "w": _words(np.arange(rows) % 5), "y": _words(np.arange(rows) % 2)}
    fitted = _fitted(table(columns, {"x": "number", "w": "category", "y": "category"}))
    made = _both(fitted, columns, run)["features"]
    np.testing.assert_allclose((made[:, 0].mean(), made[:, 0].std()), (0, 1), atol=1e-5)
    pictures = RANDOM.integers(0, 256, (2500, 4, 4, 1), dtype=np.uint8)
    given = table({"image": pictures, "y": _words(range(2500))}, {"image": "image", "y": "category"})
    assert _fitted(given).statistics["image"]["mean"] == pytest.approx(pictures.mean() / 255)


def test_nothing_to_learn_from_is_an_error(table):
    given = table({"x": np.zeros(9), "y": _words(range(9))}, {"x": "number", "y": "category"})
    with pytest.raises(DataError, match="every column is ignored"):
        _fitted(given)
