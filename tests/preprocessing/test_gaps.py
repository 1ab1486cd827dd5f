"""A word that the training file has for a gap means a gap in a served row, too: the graph itself knows it."""

from dataclasses import replace

import numpy as np
import pytest

from engram.preprocessing._fit import fit, transform
from engram.preprocessing._plan import plan
from engram.runtime.onnxruntime import preprocess


@pytest.fixture
def fitted(table):
    draw = np.random.default_rng(0)
    town = np.array(["a", "b", "c", ""], dtype=object)[draw.integers(0, 4, 600)]
    size = draw.normal(50, 9, 600)
    size[::9] = np.nan
    answer = np.array(["yes", "no"], dtype=object)[draw.integers(0, 2, 600)]
    given = table({"town": town, "size": size, "y": answer}, {"town": "category", "size": "number", "y": "category"})
    dataset = replace(given.dataset, gaps=("?", "NA", "-999", "nan"))
    return fit(dataset, plan(dataset, given.task, {}))


def features(fitted, town: str, size: float) -> np.ndarray:
    rows = {"town": np.array([town], dtype=object), "size": np.array([size])}
    made = preprocess(fitted.graph, rows)["features"]
    np.testing.assert_allclose(made, transform(fitted, rows)["features"], atol=1e-6)
    return made


@pytest.mark.parametrize("word", ["?", "NA", "-999"])
def test_a_word_for_a_gap_is_a_gap(fitted, word):
    assert np.array_equal(features(fitted, word, 40.0), features(fitted, "", 40.0))
    assert not np.array_equal(features(fitted, word, 40.0), features(fitted, "unheard of", 40.0))


def test_a_number_for_a_gap_is_a_gap(fitted):
    assert np.array_equal(features(fitted, "a", -999.0), features(fitted, "a", np.nan))
    assert not np.array_equal(features(fitted, "a", -998.0), features(fitted, "a", np.nan))


def test_other_words_and_numbers_are_what_they_are(fitted):
    assert not np.array_equal(features(fitted, "a", 40.0), features(fitted, "b", 40.0))
    assert not np.array_equal(features(fitted, "a", 40.0), features(fitted, "a", 60.0))
