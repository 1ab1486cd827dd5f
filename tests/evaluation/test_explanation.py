"""Explanations against theory and scikit-learn, on functions whose answers are known."""

import numpy as np
import pytest
from sklearn.inspection import partial_dependence
from sklearn.linear_model import LinearRegression

from engram.evaluation.answers import Answers
from engram.evaluation.explanation import dependence, importances, shapley

WEIGHTS = {"a": 2.0, "b": -1.0, "c": 0.0}


def _columns(rows, seed=0):
    random = np.random.default_rng(seed)
    return {name: random.normal(size=rows) for name in WEIGHTS}


def _linear(columns):
    return sum(weight * columns[name] for name, weight in WEIGHTS.items())


def _row(columns, place):
    return {name: values[place : place + 1] for name, values in columns.items()}


def test_a_linear_function_has_the_shapley_values_of_theory():
    columns = _columns(50)
    row = _row(columns, 3)
    found = {each.column: each for each in shapley(_linear, row, columns, draws=100)}
    for name, weight in WEIGHTS.items():
        assert found[name].effect == pytest.approx(weight * (row[name][0] - columns[name].mean()))


def test_a_product_is_shared_equally_and_effects_add_up():
    background = {"a": np.zeros(4), "b": np.zeros(4), "word": np.array(["x"] * 4, object)}
    row = {"a": np.array([3.0]), "b": np.array([5.0]), "word": np.array(["y"], object)}
    ask = lambda columns: columns["a"] * columns["b"] * np.where(columns["word"] == "y", 1.0, 0.0)  # noqa: E731 - one use
    found = shapley(ask, row, background, draws=4000)
    assert sum(each.effect for each in found) == pytest.approx(15)
    # Of a product of three that is 0 without any of them, each has a third.
    assert all(each.low <= 5 <= each.high or each.effect == pytest.approx(5, rel=0.05) for each in found)


def test_a_column_that_decides_alone_has_all_the_importance():
    columns = {"decides": np.repeat([0.0, 1.0], 200), "idle": np.arange(400.0)}
    truth = columns["decides"].astype(np.int64)
    found = importances(lambda given: Answers(truth, (given["decides"] > 0.5).astype(np.int64)), columns)
    # Half of the rows get the other class when two equal classes change places.
    assert found[0].column == "decides"
    assert found[0].low < 0.5 < found[0].high
    assert (found[1].gain, found[1].low, found[1].high) == (0, 0, 0)


def test_dependence_is_that_of_scikit_learn():
    columns = _columns(200)
    table = np.column_stack(list(columns.values()))
    model = LinearRegression().fit(table, _linear(columns) + 1)
    ask = lambda given: model.predict(np.column_stack([given[name] for name in WEIGHTS]))  # noqa: E731 - one use
    (found,) = dependence(ask, columns, ["a"])
    grid = [float(value) for value in found.values]
    expected = partial_dependence(model, table, [0], custom_values={0: np.array(grid)}, method="brute")
    assert found.answers == pytest.approx(expected["average"][0], rel=1e-4)


def test_gaps_and_words_can_be_followed_and_one_row_is_enough():
    columns = {"word": np.array(["x", "", "x"], object), "number": np.array([np.nan, 1.0, np.nan])}
    found = dependence(lambda given: np.zeros(len(given["word"])), columns, ["word", "number"])
    assert [each.values for each in found] == [("–", "x"), ("1",)]
    assert shapley(lambda given: np.ones(len(given["word"])), _row(columns, 0), _row(columns, 1))[0].effect == 0


def test_a_column_of_mostly_one_number_is_also_asked_at_its_others():
    gain = np.concatenate([np.zeros(400), np.arange(1.0, 31.0)])
    (found,) = dependence(lambda given: given["gain"], {"gain": gain}, ["gain"])
    assert found.values[0] == "0"
    assert len(found.values) > 5
    assert [float(value) for value in found.values] == list(found.answers)
