"""The training loop.

Everything that decides the next step is either a pure function of the seed, the epoch and the step (the order of the
rows, the learning rate, the augmentation) or part of the checkpoint (weights, optimizer slots, averages, torch's
generator), so that a run that was killed and resumed ends in the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from engram.architectures._parts import Unit
from engram.errors import DataError, Interrupted, UsageError
from engram.plugins import options
from engram.records import Checkpoint, Task, TrainingState
from engram.records.pipeline import TrainSection
from engram.training import optimizer_state
from engram.training import state as states
from engram.training.average import Average
from engram.training.feed import Feed, order
from engram.training.losses import Loss, loss_for, weights_for
from engram.training.optimizers import optimizer_for, rate_for
from engram.training.repeatable import repeatable
from engram.training.stopping import Watch, rule_for
from engram.training.tally import Tally, falls, watched

__all__ = ["Calls", "Training", "standardized"]

Augment = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Calls:
    """What the loop asks of its caller; the loop knows neither a store nor a terminal.

    Attributes:
        ready: return when the arrays of the last checkpoint may be changed, and raise what went wrong with it.
        save: keep this checkpoint; the flag says whether its epoch is the best so far. Its arrays change with the next
            step, so what is to outlast that is copied; read-only ones do not change before ``ready`` returns.
        tell: (steps done, steps in all, the latest numbers), at most a few times a second.
        halt: whether to stop at the next step, with a last checkpoint.
        augment: vary a batch of inputs and targets; None where nothing is varied.
    """

    ready: Callable[[], None] = lambda: None
    save: Callable[[Checkpoint, bool], None] = lambda _checkpoint, _best: None
    tell: Callable[[int, int, Mapping[str, float]], None] = lambda _done, _total, _numbers: None
    halt: Callable[[], bool] = lambda: False
    augment: Augment | None = None


@dataclass(frozen=True, slots=True)
class Often:
    """``[train] checkpoint``: how often one is saved, whichever comes first, and which are held.

    Attributes:
        steps: after so many; 0 is never.
        minutes: after so many; 0 is never.
        hold: which are held: ``last 3``, ``best``, ``every 10th``, with commas between, or ``all``; the store alone
            understands these words.
    """

    steps: int = 0
    minutes: float = 1.0
    hold: str = ""


@dataclass(slots=True)
class _Place:
    """Where a run stands: what changes with every step; ``tally`` is that of the unfinished epoch."""

    tally: Tally
    epoch: int = 0
    step: int = 0
    position: int = 0
    watch: Watch = field(default_factory=Watch)
    history: list[Mapping[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)


def standardized(targets: Tensor) -> tuple[float, float]:
    """(scale, offset) that bring a regression's targets to mean 0 and deviation 1; a constant target keeps scale 1."""
    spread = float(targets.double().std(unbiased=False))
    return (spread if spread > 0 else 1.0), float(targets.double().mean())


def _refuse_single_rows(network: nn.Module, batch: int) -> None:
    """One row has no variance, which batch normalization divides by."""
    if batch == 1 and any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):  # noqa: SLF001 - torch's own tests for it
        raise UsageError(
            "[train] batch = 1 is refused: the network has batch normalization, which needs at least 2 rows at a time; "
            "say batch = 2, or norm = false in [model]",
            place="train.batch",
        )


class Training:
    """One run of training, from its first step or from a checkpoint to its end."""

    def __init__(
        self, network: nn.Module, feeds: Mapping[str, Feed], *, task: Task, section: TrainSection, calls: Calls
    ) -> None:
        """Prepare to train.

        Args:
            network: as built; a regression's ends with a ``unit`` that holds the target's scale and offset.
            feeds: ``train``, and ``validation`` where there is one.
            task: what is learned.
            section: settled, nothing left open.
            calls: what the caller does for the loop.
        """
        self._device = torch.device(section.device)
        self.network = network.to(self._device)
        if any(isinstance(module, nn.Conv2d) for module in network.modules()):
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._feeds, self._task, self._section, self._calls = feeds, task, section, calls
        rows, batch = len(feeds["train"]), section.batch or 1
        _refuse_single_rows(self.network, batch)
        # a last batch of one row has no variance, which batch normalization needs
        self._batches = max(math.ceil(rows / batch) - (1 if rows % batch == 1 and rows > 1 else 0), 1)
        self._steps = self._batches * (section.epochs or 1)
        self._optimizer = optimizer_for(section.optimizer, self.network)
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        self._rate = rate_for(section.schedule, steps=self._steps, epoch=self._batches)
        parts = tuple(part for part in ("validation", "train") if part in feeds)
        self._rule = rule_for(self._stop_written(), watched(task, parts))
        self._often: Often = options(Often, section.checkpoint, "train.checkpoint")
        if self._often.steps < 0 or self._often.minutes < 0:
            raise UsageError(
                "[train] checkpoint is refused: steps and minutes must not be negative, and 0 is never",
                place="train.checkpoint",
            )
        self._loss = self._loss_function()
        self._average = Average(self.network, section.ema) if section.ema else None
        unit = getattr(self.network, "unit", None)
        self._core: nn.Module = self.network
        self._unit = (1.0, 0.0)
        if isinstance(unit, Unit) and isinstance(self.network, nn.Sequential):
            self._core = self.network[:-1]
            self._unit = (float(unit.scale), float(unit.offset))
        self._place = _Place(self._tally())
        self._staging = states.Staging()

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from this checkpoint instead of from the start."""
        kept = checkpoint.state
        states.load_weights(self.network, checkpoint.weights)
        optimizer_state.restore_slots(self._optimizer, self.network, kept.slots)
        states.restore_random(kept.random)
        if self._average is not None:
            self._average.restore({name: states.tensor(values) for name, values in kept.average.items()})
        self._place = _Place(
            self._tally(kept.progress),
            epoch=kept.epoch,
            step=kept.step,
            position=kept.position,
            watch=Watch(float(kept.stopping["best"]), int(kept.stopping["epoch"]), int(kept.stopping["waited"])),
            history=list(kept.history),
            best=dict(kept.best),
        )

    def run(self) -> TrainingState:
        """Train to the end; the network then holds the weights of the best epoch.

        Raises:
            Interrupted: ``halt`` said so; the last checkpoint is saved.
            DataError: the loss is no longer a number.
        """
        before = torch.get_num_threads()
        torch.set_num_threads(self._section.threads or before)
        try:
            with repeatable(self._device):
                self._epochs()
        finally:
            torch.set_num_threads(before)
        final = self.checkpoint().state
        if self._place.best:
            states.load_weights(self.network, self._place.best)
        return final

    def checkpoint(self) -> Checkpoint:
        """Everything at this moment; its arrays are those that go on learning."""
        place, near = self._place, self._staging.arrays
        return Checkpoint(
            near(self.network.state_dict(keep_vars=True), "weights"),
            TrainingState(
                epoch=place.epoch,
                step=place.step,
                position=place.position,
                optimizer=optimizer_state.facts(self._optimizer),
                slots=near(optimizer_state.slots(self._optimizer, self.network), "slots"),
                scheduler={"name": self._rate.name, "step": place.step, "steps": self._steps},
                average=near(self._average.shadow, "average") if self._average else {},
                random=states.random_state(),
                stopping={"best": place.watch.best, "epoch": place.watch.epoch, "waited": place.watch.waited},
                progress=place.tally.sums,
                history=tuple(place.history),
                best=dict(place.best),
            ),
        )

    def _epochs(self) -> None:
        start = time.monotonic()
        while not self._finished():
            self._epoch(start)
            if self._section.minutes and time.monotonic() - start > 60 * self._section.minutes:
                return

    def _finished(self) -> bool:
        waited_enough = self._rule.after and self._place.watch.waited >= self._rule.after
        return bool(waited_enough or self._place.epoch >= (self._section.epochs or 1))

    def _epoch(self, start: float) -> None:
        place, section = self._place, self._section
        feed, size = self._feeds["train"], section.batch or 1
        rows = order(len(feed), seed=section.seed, epoch=place.epoch).to(self._device)
        began = saved = time.monotonic()
        told = 0.0
        self.network.train()
        while place.position < self._batches:
            self._step(rows[place.position * size : (place.position + 1) * size])
            place.position += 1
            place.step += 1
            now = time.monotonic()
            if now - told > 0.2:
                told = now
                self._calls.tell(place.step, self._steps, self._latest())
            if place.position < self._batches:
                if self._calls.halt():
                    self._save(best=False)
                    raise Interrupted(f"stopped at step {place.step:,} of {self._steps:,}; the checkpoint is kept")
                if self._due(place.step, now - saved):
                    self._save(best=False)
                    saved = time.monotonic()
        self._finish_epoch(time.monotonic() - began, time.monotonic() - start)

    def _save(self, *, best: bool) -> None:
        self._calls.ready()
        self._calls.save(self.checkpoint(), best)

    def _step(self, rows: Tensor) -> None:
        place = self._place
        factor = self._rate.at(place.step)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        inputs, targets = self._feeds["train"].batch(rows)
        wanted = self._wanted(targets)
        if self._calls.augment is not None:
            generator = torch.Generator().manual_seed(self._section.seed * 7_368_787 + place.step)
            inputs, wanted = self._calls.augment(inputs, wanted, generator)
        self._optimizer.zero_grad(set_to_none=True)
        outputs = self.answers(inputs)
        loss = self._loss(outputs, wanted)
        total = loss + self._penalty() if self._section.l1 or self._section.l2 else loss
        total.backward()  # type: ignore[no-untyped-call]
        if self._section.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self._section.clip)
        self._optimizer.step()
        if self._average is not None:
            self._average.follow(place.step + 1)
        with torch.no_grad():
            place.tally.count(loss, outputs, targets)

    def answers(self, inputs: Tensor) -> Tensor:
        """The network's raw outputs, in float32, a regression's in standardized units."""
        half = self._section.precision == "bfloat16"
        context = torch.autocast(self._device.type, torch.bfloat16) if half else nullcontext()
        with context:
            outputs: Tensor = self._core(inputs)
        return outputs.float()

    def _finish_epoch(self, seconds: float, total: float) -> None:
        place = self._place
        numbers = place.tally.summary("train")
        if not math.isfinite(numbers["train.loss"]):
            raise DataError(
                f"the training loss is {numbers['train.loss']} in epoch {place.epoch + 1}; lower the learning rate "
                "([train] optimizer), set clip = 1.0, or check the data for extreme values"
            )
        with self._average.worn() if self._average else nullcontext():
            if "validation" in self._feeds:
                numbers |= self._validate()
            number = numbers[self._rule.watch]
            falling = falls(self._rule.watch)
            place.watch = place.watch.seen(number, epoch=place.epoch + 1, falling=falling, least=self._rule.least)
            better = place.watch.epoch == place.epoch + 1
            if better:
                place.best = states.copies(self.network.state_dict())
        rate = self._optimizer.param_groups[0]["lr"]
        place.epoch, place.position = place.epoch + 1, 0
        place.history.append({"epoch": place.epoch, **numbers, "lr": rate, "seconds": round(seconds, 3)})
        place.tally = self._tally()
        self._calls.tell(place.step, self._steps, {"epoch": place.epoch, **numbers, "seconds": total})
        self._save(best=better)
        if self._calls.halt() and not self._finished():
            raise Interrupted(f"stopped after epoch {place.epoch} of {self._section.epochs}; the checkpoint is kept")

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        feed, tally = self._feeds["validation"], self._tally()
        self.network.eval()
        for rows in torch.split(torch.arange(len(feed), device=self._device), max(self._section.batch or 1, 512)):
            inputs, targets = feed.batch(rows)
            outputs = self.answers(inputs)
            tally.count(self._loss(outputs, self._wanted(targets)), outputs, targets)
        self.network.train()
        return tally.summary("validation")

    def _tally(self, sums: Mapping[str, float] | None = None) -> Tally:
        return Tally(self._task, self._unit, self._device, sums)

    def _wanted(self, targets: Tensor) -> Tensor:
        """The targets as the loss takes them."""
        if self._task.kind == "regression":
            scale, offset = self._unit
            return ((targets - offset) / scale).float().unsqueeze(1)
        if self._task.kind == "binary":
            return targets.float().unsqueeze(1)
        if self._mixes:
            return nn.functional.one_hot(targets, len(self._task.labels)).float()
        return targets

    @property
    def _mixes(self) -> bool:
        """Whether targets are varied, which needs shares instead of class numbers."""
        return self._calls.augment is not None and self.network.training

    def _penalty(self) -> Tensor:
        weights = [p for p in self.network.parameters() if p.requires_grad and p.ndim > 1]
        zero = torch.zeros((), device=self._device)
        l1 = sum((w.abs().sum() for w in weights), zero) if self._section.l1 else zero
        l2 = sum((w.square().sum() for w in weights), zero) if self._section.l2 else zero
        return self._section.l1 * l1 + self._section.l2 * l2

    def _latest(self) -> dict[str, float]:
        return {"epoch": self._place.epoch + 1, **self._place.tally.summary("train")}

    def _due(self, step: int, seconds: float) -> bool:
        steps, minutes = self._often.steps, self._often.minutes
        return bool((steps and step % steps == 0) or (minutes and seconds > 60 * minutes))

    def _stop_written(self) -> Mapping[str, Any]:
        """The rule; without validation rows the training loss is watched instead of a loss that is not there."""
        written = dict(self._section.stop)
        if "validation" not in self._feeds and written.get("watch", "validation.loss") == "validation.loss":
            written["watch"] = "train.loss"
        return written

    def _loss_function(self) -> Loss:
        if not len(self._feeds["train"]):
            raise UsageError("there are no training rows; lower test and validation in [data]", place="data")
        weights = weights_for(self._section.class_weights, self._task, self._feeds["train"].targets)
        on_device = weights.to(self._device) if weights is not None else None
        return loss_for(self._section.loss, weights=on_device, smoothing=self._section.label_smoothing)
