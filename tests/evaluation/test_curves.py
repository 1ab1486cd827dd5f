"""Curves of known shape, and what should be said of them."""

import numpy as np
import pytest

from engram.evaluation.curves import told


def _history(train, validation=None, **more):
    validation = [None] * len(train) if validation is None else validation
    columns = {"train.loss": train, "validation.loss": validation, **more}
    return tuple(
        {"epoch": i + 1, "lr": 0.01} | {k: float(v[i]) for k, v in columns.items() if v[i] is not None}
        for i in range(len(train))
    )


EPOCHS = np.arange(30)
FALLING = np.exp(-EPOCHS / 8)


def test_a_validation_loss_that_turns_up_while_training_falls_is_overfitting():
    (said,) = told(_history(FALLING, 0.3 + (EPOCHS - 10) ** 2 / 500))
    assert said.startswith("Overfitting: after epoch 11")
    assert "dropout" in said
    assert "weight_decay" in said


def test_a_validation_loss_that_still_falls_asks_for_more_epochs():
    (said,) = told(_history(FALLING, FALLING + 0.1))
    assert said.startswith("Still improving: the validation loss")
    assert "train.epochs = 60" in said


def test_without_validation_the_training_loss_is_watched():
    (said,) = told(_history(FALLING))
    assert said.startswith("Still improving: the training loss")


@pytest.mark.parametrize("end", [np.nan, np.inf, 50.0])
def test_a_loss_that_runs_away_asks_for_a_smaller_learning_rate(end):
    (said,) = told(_history([1.0, 0.8, 3.0, end], [1.0, 0.9, 3.0, end]))
    assert said.startswith("Diverged")
    assert "train.optimizer.lr" in said
    assert "0.01" in said


def test_fewer_epochs_than_asked_for_are_an_early_stop():
    flat = np.concatenate([FALLING[:20], np.full(5, FALLING[19] + 1e-5)])
    said = told(_history(flat, flat), epochs=100)
    assert said == (
        "Stopped early, after 25 of 100 epochs: the best was epoch 20, and nothing better came in the 5 after it.",
    )


def test_a_gap_between_training_and_validation_asks_for_regularization():
    loss = np.concatenate([FALLING[:20], np.full(10, FALLING[19])])
    more = {"train.accuracy": np.full(30, 0.99), "validation.accuracy": np.full(30, 0.85)}
    (said,) = told(_history(loss, loss, **more))
    assert said.startswith("Knows the training rows better than new ones: accuracy 0.990 in training and 0.850")


def test_curves_that_came_to_rest_say_so():
    loss = np.concatenate([FALLING[:20], np.full(10, FALLING[19])])
    (said,) = told(_history(loss, loss))
    assert said.startswith("Trained to rest")


@pytest.mark.parametrize("history", [(), ({"epoch": 1},), ({"epoch": 1, "train.loss": 0.5},)])
def test_a_model_without_a_story_has_none(history):
    assert told(history) == ()
