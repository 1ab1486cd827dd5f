"""The pipeline file, parsed: frozen, validated and inert.

Only what every stage shares is a field here. The options of a plug-in (``layers`` of ``mlp``, ``separator`` of ``csv``)
are checked by the plug-in that owns them, and travel in ``options``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "AugmentSection",
    "DataSection",
    "EvaluateSection",
    "KeepSection",
    "ModelSection",
    "Pipeline",
    "TrainSection",
]


@dataclass(frozen=True, slots=True)
class DataSection:
    """Where the rows come from and how they are divided.

    Attributes:
        source: ``from`` in the file: one place or several of the same shape, read one after the other.
        target: the column to predict; images in class folders have ``label``.
        kind: the plug-in of ``data/``; empty means found from the source.
        names: column names, where the file has no header.
        test: the share held out, or the place of an official test set.
        validation: the share of the remaining rows that watches over training.
        split: ``random``, ``stratified``, ``column:NAME`` (its values name the part) or ``time:NAME`` (the latest rows
            are the test rows); empty means found.
        options: for the plug-in.
    """

    source: tuple[str, ...]
    target: str = ""
    kind: str = ""
    names: tuple[str, ...] = ()
    test: float | str = 0.2
    validation: float = 0.1
    split: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelSection:
    """Which network. ``kind`` is a plug-in of ``architectures/`` or ``FILE.py:FUNCTION``; empty means found."""

    kind: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AugmentSection:
    """How training rows are varied; nothing here touches validation, test or serving.

    Attributes:
        flip: mirror images left to right, half of them.
        shift: move images by at most so many pixels each way, borders filled by zeros (a padded random crop).
        rotate: turn images by at most so many degrees.
        noise: standard deviation of normal noise, in units of the scaled input.
        cutout: side of a square that is blanked, in pixels.
        mixup: parameter of the Beta distribution that mixes pairs of rows and their targets; 0 is off.
    """

    flip: bool = False
    shift: int = 0
    rotate: float = 0.0
    noise: float = 0.0
    cutout: int = 0
    mixup: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainSection:
    """How the network learns; None and ``""`` mean found.

    Attributes:
        epochs: passes over the training rows.
        batch: rows a step.
        loss: ``cross_entropy``, ``binary_cross_entropy``, ``mse``, ``mae`` or ``huber``.
        class_weights: ``balanced``, ``none``, or label → weight.
        optimizer: ``{name = "adamw", lr = 1e-3, weight_decay = 1e-4}``.
        schedule: ``{name = "onecycle", warmup = 0.1}``.
        l1, l2: penalties on the weights (not on biases and norms), added to the loss.
        clip: largest norm of the gradient; 0 is off.
        label_smoothing: share of the target spread over all classes.
        stop: ``{watch = "validation.loss", after = 5}``; ``after = 0`` is off.
        ema: decay of the moving average of the weights that is kept in their place; 0 is off.
        device: ``cpu``, ``cuda``, ``cuda:1``.
        precision: ``float32`` or ``bfloat16``.
        threads: CPU threads of torch; part of what makes a run repeatable.
        checkpoint: ``{steps = 500, minutes = 5, hold = "last 3, best, every 10th"}``: how often, whichever comes first,
            and also at each epoch's end; and which are held (``last N``, ``best``, ``every Nth`` of them, ``all``).
        minutes: end after the epoch in which so many minutes are over; 0 is no limit. A run that ends by the clock
            does not repeat to the bit.
        seed: of every random choice.
    """

    epochs: int | None = None
    batch: int | None = None
    loss: str = ""
    class_weights: str | Mapping[str, float] = ""
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    schedule: Mapping[str, Any] = field(default_factory=dict)
    l1: float = 0.0
    l2: float = 0.0
    clip: float = 0.0
    label_smoothing: float = 0.0
    stop: Mapping[str, Any] = field(default_factory=dict)
    ema: float | None = None
    device: str = ""
    precision: str = ""
    threads: int | None = None
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    minutes: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class EvaluateSection:
    """How the network is judged.

    Attributes:
        metrics: of ``evaluation/metrics/``, the deciding one first; empty means found.
        slices: columns whose values are judged one by one; empty means found.
        intervals: bootstrap samples behind each interval; 0 is off.
        fairness: columns whose groups are compared: who is judged rightly, who is selected, and who of those that
            should be.
    """

    metrics: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    intervals: int = 200
    fairness: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeepSection:
    """Under which name the version is kept, and when.

    Attributes:
        name: of the network; empty means the pipeline file's own name.
        alias: moved to the new version once it is kept.
        conditions: ``if`` in the file: metric → ``">= 0.85"``; a version that fails one is not kept.
    """

    name: str = ""
    alias: str = ""
    conditions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The parsed pipeline file.

    Attributes:
        columns: name or pattern → what differs from what is found: ``"ignore"``, a kind, or a table of steps.
        lock: ``[lock]`` of a lock file: data digest, versions, reasons; empty in a file written by hand.
        folder: where relative paths start.
        name: the file's own name without its suffix.
        file: the file's own name, for errors.
        text: as written, for errors and for keeping.
    """

    data: DataSection
    columns: Mapping[str, Any] = field(default_factory=dict)
    model: ModelSection = field(default_factory=ModelSection)
    augment: AugmentSection = field(default_factory=AugmentSection)
    train: TrainSection = field(default_factory=TrainSection)
    evaluate: EvaluateSection = field(default_factory=EvaluateSection)
    keep: KeepSection = field(default_factory=KeepSection)
    lock: Mapping[str, Any] = field(default_factory=dict)
    folder: str = "."
    name: str = "network"
    file: str = "network.toml"
    text: str = field(default="", repr=False, compare=False)
