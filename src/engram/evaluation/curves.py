"""The story that the curves of a training run tell, in words, with what to change.

A sentence is only said when the numbers carry it: a rise of the validation loss below 3 % of what was ever gained is
noise, and a fall below 1 % over the last fifth of the epochs is no progress.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

__all__ = ["Curves", "read", "told"]

_RISE = 0.03
_FALL = 0.01
_GAP = 0.05
_BOUNDED = ("accuracy", "balanced_accuracy", "f1", "f1_macro", "r2")


@dataclass(frozen=True, slots=True)
class Curves:
    """The losses of a run, one entry an epoch.

    Attributes:
        epoch: counted from 1.
        train, validation: losses; NaN where there is none.
        record: everything that was written down for each epoch.
    """

    epoch: ndarray
    train: ndarray
    validation: ndarray
    record: tuple[Mapping[str, float], ...]

    @property
    def best(self) -> int:
        """Place of the epoch with the smallest validation loss (training loss where there is no validation)."""
        watched = self.validation if np.isfinite(self.validation).any() else self.train
        return int(np.nanargmin(np.where(np.isfinite(watched), watched, np.nan)))


def read(history: Sequence[Mapping[str, float]]) -> Curves:
    """The curves of a history."""
    return Curves(
        epoch=np.array([record.get("epoch", i + 1) for i, record in enumerate(history)], dtype=np.int64),
        train=_column(history, "train.loss"),
        validation=_column(history, "validation.loss"),
        record=tuple(history),
    )


def told(history: Sequence[Mapping[str, float]], epochs: int = 0) -> tuple[str, ...]:
    """What the curves say: diverged, overfitting, still improving, stopped early, or nothing of note.

    Args:
        history: one record an epoch; a model that came without one has nothing to tell.
        epochs: how many were asked for; 0 if unknown.
    """
    curves = read(history)
    losses = np.concatenate([curves.train, curves.validation])
    if not len(curves.epoch) or np.isnan(losses).all():
        return ()
    if _diverged(curves):
        return (_divergence(curves),)
    sentences = [_overfitting(curves), _stopped(curves, epochs), _improving(curves), _gap(curves)]
    said = tuple(sentence for sentence in sentences if sentence)
    return said or _calm(curves)


def _column(history: Sequence[Mapping[str, float]], name: str) -> ndarray:
    values = [record.get(name) for record in history]
    return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)


def _diverged(curves: Curves) -> bool:
    known = [i for i, record in enumerate(curves.record) if "train.loss" in record]
    broken = not np.isfinite(curves.train[known]).all()
    finite = curves.train[np.isfinite(curves.train)]
    return broken or (len(finite) > 1 and bool(finite[-1] > 2 * max(finite[0], 0) and finite[-1] > 2 * finite.min()))


def _divergence(curves: Curves) -> str:
    wild = np.flatnonzero(~np.isfinite(curves.train) | (curves.train > 2 * max(float(curves.train[0]), 0)))
    where = f" in epoch {curves.epoch[wild[0]]}" if len(wild) else ""
    rate = curves.record[-1].get("lr")
    now = f", now {rate:.2g}," if rate else ""
    return (
        f"Diverged: the training loss ran away{where}. Make the learning rate{now} three to ten times smaller "
        "(train.optimizer.lr), or limit the gradient (train.clip = 1.0)."
    )


def _overfitting(curves: Curves) -> str:
    loss, best = curves.validation, curves.best
    finite = loss[np.isfinite(loss)]
    if len(finite) < 3 or best >= len(loss) - 1 or not np.isfinite(loss[-1]):
        return ""
    gained = max(float(finite.max() - finite.min()), abs(float(finite.min())))
    if loss[-1] - loss[best] < _RISE * gained or not curves.train[-1] < curves.train[best]:
        return ""
    return (
        f"Overfitting: after epoch {curves.epoch[best]} the validation loss rose from {loss[best]:.3g} to "
        f"{loss[-1]:.3g} while the training loss went on falling to {curves.train[-1]:.3g}. More dropout "
        "(model.dropout), more weight decay (train.optimizer.weight_decay), varied inputs ([augment]) or a smaller "
        "network would narrow it; more rows help most."
    )


def _stopped(curves: Curves, epochs: int) -> str:
    done, best = int(curves.epoch[-1]), int(curves.epoch[curves.best])
    if not epochs or done >= epochs or best >= done:
        return ""
    return (
        f"Stopped early, after {done} of {epochs} epochs: the best was epoch {best}, and nothing better came in the "
        f"{done - best} after it."
    )


def _improving(curves: Curves) -> str:
    loss = curves.validation if np.isfinite(curves.validation).any() else curves.train
    name = "validation" if loss is curves.validation else "training"
    tail = max(2, len(loss) // 5)
    if len(loss) < 3 or curves.best < len(loss) - 2:
        return ""
    before = float(loss[-tail - 1])
    fall = before - float(loss[curves.best])
    if not fall > _FALL * abs(before):
        return ""
    return (
        f"Still improving: the {name} loss fell by {100 * fall / abs(before):.0f} % over the last {tail} epochs, to "
        f"{loss[curves.best]:.3g}. Train longer (train.epochs = {2 * len(loss)})."
    )


def _gap(curves: Curves) -> str:
    record = curves.record[curves.best]
    for name in _BOUNDED:
        train, validation = record.get(f"train.{name}"), record.get(f"validation.{name}")
        if train is None or validation is None or not train - validation > _GAP:
            continue
        words = name.replace("_", " ")
        return (
            f"Knows the training rows better than new ones: {words} {train:.3f} in training and {validation:.3f} in "
            f"validation at epoch {curves.epoch[curves.best]}. Regularize more (model.dropout, "
            "train.optimizer.weight_decay, [augment]) or train on more rows."
        )
    return ""


def _calm(curves: Curves) -> tuple[str, ...]:
    if not np.isfinite(curves.validation).any() or len(curves.epoch) < 3:
        return ()
    at = curves.best
    sentence = (
        f"Trained to rest: the validation loss settled at {curves.validation[at]:.3g}, beside {curves.train[at]:.3g} "
        "in training, with no sign of overfitting. More epochs would change little; a larger network or better columns "
        "might."
    )
    return (sentence,)
