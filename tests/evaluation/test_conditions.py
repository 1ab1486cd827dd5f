"""Conditions on metrics: what they say, and when they are met."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.errors import UsageError
from engram.evaluation.conditions import Condition, parse, stated, unmet

NUMBERS = st.floats(0, 1e6, allow_nan=False).map(lambda number: float(f"{number:.6g}"))


@pytest.mark.parametrize(
    ("text", "met"), [(">= 0.5", True), ("<= 0.5", True), ("> 0.5", False), ("<0.5", False), (">= 5e-1", True)]
)
def test_a_condition_is_an_operator_and_a_number(text, met):
    assert (unmet({"accuracy": text}, {"accuracy": 0.5}) == ()) is met


@pytest.mark.parametrize(
    "text",
    ["0.5", "== 0.5", ">= x", ">= nan", "", ">= 0.5 0.6", ">= presents", ">= present 0.1", ">= 0.5 - present", "> inf"],
)
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(UsageError, match="is no condition"):
        parse("accuracy", text)


@given(st.sampled_from([">=", "<=", ">", "<"]), NUMBERS, st.sampled_from(["", "+", "-"]))
def test_what_is_written_is_what_is_read(sign, number, plus):
    text = f"{number:g}"
    bound = -float(text) if plus == "-" else float(text)
    assert parse("rmse", f"{sign} {plus}{text}") == Condition(sign, bound)
    if plus:
        assert parse("rmse", f"{sign}present{plus} {text} ") == Condition(sign, bound, relative=True)


def test_a_score_that_is_no_number_meets_nothing():
    for condition in (">= 0", "<= 1", "> -1", "< 2", ">= present"):
        assert unmet({"roc_auc": condition}, {"roc_auc": math.nan}, {"roc_auc": 0.5})
        assert unmet({"roc_auc": condition}, {"accuracy": 1.0}, {"roc_auc": 0.5})


def test_what_is_not_met_is_said_with_the_value_and_the_limit():
    failed = unmet({"accuracy": ">= 0.86", "rmse": "< 2", "f1": "> 0.5"}, {"accuracy": 0.84123, "rmse": 1.5})
    assert failed == ("accuracy is 0.84123 and must be >= 0.86", "f1 was not measured and must be > 0.5")


@pytest.mark.parametrize(("value", "met"), [(0.85, True), (0.8401, True), (0.839, False)])
def test_a_condition_may_compare_with_what_is_there_now(value, met):
    failed = unmet({"accuracy": ">= present - 0.01"}, {"accuracy": value}, {"accuracy": 0.85})
    assert failed == (() if met else ("accuracy is 0.839 and must be >= 0.84 (0.85 now, -0.01)",))


def test_where_nothing_is_yet_every_comparison_with_it_is_met():
    assert unmet({"accuracy": ">= present", "rmse": "< 3"}, {"accuracy": 0.1, "rmse": 2.0}) == ()


def test_what_is_there_without_the_metric_cannot_be_compared_with():
    (said,) = unmet({"accuracy": ">= present"}, {"accuracy": 0.9}, {"rmse": 1.0})
    assert said.endswith("(of the version that is there now no accuracy is known)")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("accuracy >= 0.86", ("accuracy", ">= 0.86")),
        ("rmse<2.5", ("rmse", "<2.5")),
        (" f1_macro  > present - 0.01", ("f1_macro", "> present - 0.01")),
    ],
)
def test_a_metric_and_its_condition_are_told_apart(text, parts):
    assert stated(text) == parts


@pytest.mark.parametrize("text", ["accuracy", ">= 0.5", "accuracy = 0.5", "accuracy >= high", "a b >= 1"])
def test_what_is_no_metric_with_a_condition_is_refused(text):
    with pytest.raises(UsageError, match="is no condition"):
        stated(text)
