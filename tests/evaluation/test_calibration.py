import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from engram.evaluation.calibration import confidence, reliability


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=60))
def test_the_curve_is_that_of_scikit_learn(drawn):
    truth = np.array([int(happened) for happened, _ in drawn])
    chance = np.array([chance for _, chance in drawn])
    curve = reliability(truth, np.stack([1 - chance, chance], axis=1))
    happened, given_chance = calibration_curve(truth, chance, n_bins=10)
    np.testing.assert_allclose(curve.happened, happened, atol=1e-12)
    np.testing.assert_allclose(curve.chance, given_chance, atol=1e-12)
    assert curve.rows.sum() == len(truth)


def test_with_more_classes_the_chance_of_the_answer_is_judged():
    chances = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    chance, happened = confidence(np.array([1, 2]), chances)
    assert chance.tolist() == [0.5, 0.6]
    assert happened.tolist() == [1.0, 0.0]
