"""Losses and weights against scikit-learn and hand-made numbers."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, mean_absolute_error, mean_squared_error
from sklearn.utils.class_weight import compute_class_weight

from engram.errors import UnknownName, UsageError
from engram.records import Task
from engram.training.losses import loss_for, weights_for

DRAW = np.random.default_rng(0)
THREE = Task("multiclass", "y", ("a", "b", "c"))


def test_cross_entropy_is_scikit_learns_log_loss():
    logits, targets = DRAW.normal(size=(50, 3)), DRAW.integers(0, 3, 50)
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    ours = loss_for("cross_entropy")(torch.tensor(logits), torch.tensor(targets))
    assert float(ours) == pytest.approx(log_loss(targets, chances, labels=[0, 1, 2]))


def test_weighted_entropies_are_scikit_learns_weighted_log_loss():
    logits, targets = DRAW.normal(size=(50, 1)), DRAW.integers(0, 2, 50)
    chances = 1 / (1 + np.exp(-logits[:, 0]))
    weights = np.array([0.3, 2.0])
    ours = loss_for("binary_cross_entropy", weights=torch.tensor(weights))
    value = ours(torch.tensor(logits), torch.tensor(targets, dtype=torch.float64).unsqueeze(1))
    assert float(value) == pytest.approx(log_loss(targets, chances, sample_weight=weights[targets]))


@pytest.mark.parametrize(("name", "theirs"), [("mse", mean_squared_error), ("mae", mean_absolute_error)])
def test_regression_losses_are_scikit_learns(name, theirs):
    answers, targets = DRAW.normal(size=(50, 1)), DRAW.normal(size=(50, 1))
    assert float(loss_for(name)(torch.tensor(answers), torch.tensor(targets))) == pytest.approx(
        theirs(targets, answers)
    )


def test_balanced_weights_are_scikit_learns():
    targets = DRAW.choice([0, 1, 2], p=[0.7, 0.2, 0.1], size=500)
    theirs = compute_class_weight("balanced", classes=np.array([0, 1, 2]), y=targets)
    assert weights_for("balanced", THREE, torch.tensor(targets)).numpy() == pytest.approx(theirs)


def test_a_weight_for_a_label_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="there are a, b, c"):
        weights_for({"zzz": 1.0}, THREE, torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_number_above_0_is_refused(weight):
    with pytest.raises(UsageError, match="a number above 0"):
        weights_for({"a": weight}, THREE, torch.tensor([0, 1, 2]))


def test_an_unknown_loss_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'huber'"):
        loss_for("hubert")
