"""How errors grow while inputs get worse, against theory, and the model card that tells of it."""

import numpy as np
import pytest

from engram.evaluation.answers import Answers
from engram.evaluation.card import card
from engram.evaluation.report import as_json, from_json
from engram.evaluation.robustness import blurred, missing, noisy, robustness
from engram.records import Gap, Report, Score, Task, Weak

TASK = Task("binary", "income", ("low", "high"))


def _report(**more):
    return Report("d", 900, "binary", (Score("accuracy", 0.8, 0.7, 0.9),), labels=TASK.labels, **more)


def test_noise_turns_signs_as_often_as_theory_says():
    values = np.random.default_rng(7).normal(size=20_000)
    truth = (values > 0).astype(np.int64)
    curves = robustness(lambda given: Answers(truth, (given["x"] > 0).astype(np.int64)), {"x": values})
    noise = next(curve for curve in curves if curve.disturbance.startswith("noise"))
    # The angle between a normal number and itself plus noise of so many deviations, over half a turn.
    assert noise.errors == pytest.approx(np.arctan(noise.amounts) / np.pi, abs=0.01)
    assert all(low <= error <= high for low, error, high in zip(noise.low, noise.errors, noise.high, strict=True))


def test_so_many_fields_go_missing_and_more_of_the_same_with_a_larger_share():
    columns = {"n": np.arange(5000.0), "t": np.array(["x"] * 5000, object)}
    some, more = (missing(columns, ["n", "t"], share) for share in (0.1, 0.25))
    assert np.isnan(some["n"]).mean() == pytest.approx(0.1, abs=0.02)
    assert (some["t"] == "").mean() == pytest.approx(0.1, abs=0.02)
    assert np.isnan(more["n"][np.isnan(some["n"])]).all()
    assert not np.isnan(columns["n"]).any()


def test_noise_leaves_gaps_and_flags_alone():
    given = {"flag": np.array([0.0, 1.0, np.nan]), "n": np.array([1.0, np.nan, 3.0])}
    made = noisy(given, ["flag", "n"], 1.0)
    np.testing.assert_array_equal(made["flag"], given["flag"])
    assert np.isnan(made["n"]).tolist() == [False, True, False]


def test_a_blur_keeps_a_flat_picture_and_evens_out_a_wild_one():
    wild = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), dtype=np.uint8)
    made = blurred({"image": np.stack([np.full((9, 9, 3), 77, np.uint8), wild[0]])}, ["image"], 2.0)["image"]
    assert (made[0] == 77).all()
    assert made[1].std() < wild[0].std() / 2


def test_the_card_says_limits_that_were_found_and_does_not_claim_fairness_that_was_not_asked():
    weak = Weak("age=17 to 21", 60, 0.5, 0.4, 0.6, 0.2, 1e-9, 100)
    gap = Gap("sex", "selection_rate", "m", "f", 0.2, 0.1, 0.3)
    said = card(_report(weak=(weak,), gaps=(gap,)), TASK, {"data": "people.csv"})
    assert said["data"] == "people.csv"
    assert "age=17 to 21 (50.0\u00a0% wrong)" in said["limits"]
    assert "20.0\u00a0% (selection rate by sex)" in said["limits"]
    assert "was not asked" in card(_report(), TASK, {})["limits"]


def test_curves_and_card_come_back_from_json():
    values = np.random.default_rng(7).normal(size=50)
    curves = robustness(lambda given: Answers(values, values=given["x"]), {"x": values})
    report = _report(robustness=curves, card={"limits": "few"})
    again = from_json(as_json(report))
    assert again.card == report.card
    assert [curve.amounts for curve in again.robustness] == [curve.amounts for curve in curves]
    assert np.isnan(again.robustness[1].errors[-1])
