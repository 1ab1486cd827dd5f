"""From a pipeline file to everything that training needs, with nothing left open.

``check``, ``run`` and ``resume`` all go this way, so that what was checked is what is run, and a resumed run stands on
the same data, the same preprocessing and the same first weights as the one it continues.
"""

from __future__ import annotations

import copy
import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from engram.errors import DataError, MissingLibrary, UnknownName, UsageError

try:
    import torch
    from torch import nn
except ModuleNotFoundError as missing:
    raise MissingLibrary("training needs torch, which is not installed; pip install 'engram[torch]'") from missing

from engram.architectures._choose import choose
from engram.data._check import check
from engram.data._load import load
from engram.data._target import encode
from engram.evaluation.metrics import SHELF as METRICS
from engram.pipelines.lock import dump
from engram.plugins import nearest
from engram.preprocessing._augment import augment
from engram.preprocessing._fit import Preprocessing, fit
from engram.preprocessing._plan import plan
from engram.records import Dataset, Pipeline, Progress, Signature, Task, TensorSpec, Watch
from engram.records.pipeline import TrainSection
from engram.settings import Settings
from engram.store.training import retention
from engram.training.feed import Feed, MemoryFeed
from engram.training.loop import Calls, Training
from engram.training.settle import faster, settle
from engram.training.state import seed_all

__all__ = ["Prepared", "network_outputs", "prepare", "versions"]

_LIBRARIES = ("engram", "numpy", "onnx", "onnxruntime", "torch", "polars", "pillow", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that training needs.

    Attributes:
        pipeline: with everything found made explicit.
        lock: the text of the lock file.
        reasons: place in the pipeline → why it was found to be so.
        dataset: divided into parts.
        task: what is learned.
        findings: what the check of the data noticed.
        preprocessing: fitted on the training part.
        signature: the tensors between preprocessing and network, and those that leave the network.
        network: as built, with its first weights.
    """

    pipeline: Pipeline
    lock: str
    reasons: Mapping[str, str]
    dataset: Dataset
    task: Task
    findings: tuple[str, ...]
    preprocessing: Preprocessing
    signature: Signature
    network: nn.Module


def prepare(pipeline: Pipeline, settings: Settings, watch: Watch) -> Prepared:
    """Read the data, find what is not said, fit the preprocessing and build the network.

    Raises:
        UsageError: something in the pipeline is wrong or does not fit the data.
        DataError: the data cannot be used, or are not those of the lock file.
    """
    watch(Progress("reading", note=", ".join(pipeline.data.source)))
    dataset, task = load(pipeline, search=[settings.data] if settings.data else [])
    _same_data(pipeline, dataset)
    _same_code(pipeline)
    _can_judge(pipeline, dataset, task)
    findings = check(dataset, task)
    watch(Progress("preprocessing"))
    preprocessing = fit(dataset, plan(dataset, task, pipeline.columns))
    signature = Signature(preprocessing.outputs, network_outputs(task))
    rows = len(dataset.parts["train"])
    pictures = len(signature.inputs[0].shape) > 2
    train, why = settle(pipeline.train, task, rows=rows, pictures=pictures)
    seed_all(train.seed)
    network, model, because = choose(pipeline.model, signature, rows=rows, folder=pipeline.folder)
    sizes = tuple(axis for axis in signature.inputs[0].shape[1:] if isinstance(axis, int))
    train, tried = faster(train, network, (train.batch or 1, *sizes))
    _can_train(network, dataset, task, train)
    _can_hold(train)
    augment(torch.zeros(2, *sizes), torch.zeros(2, task.width), pipeline.augment, torch.Generator())
    explicit = replace(
        pipeline,
        data=replace(pipeline.data, target=dataset.target),
        columns={planned.name: planned.as_table() for planned in preprocessing.plans},
        model=model,
        train=train,
        keep=replace(pipeline.keep, name=pipeline.keep.name or pipeline.name),
    )
    reasons = {**why, **tried, **because, **{f"columns.{p.name}": p.why for p in preprocessing.plans}}
    lock = dump(explicit, reasons, {**_facts(dataset, task), **_code(pipeline)})
    return Prepared(explicit, lock, reasons, dataset, task, findings, preprocessing, signature, network)


def network_outputs(task: Task) -> tuple[TensorSpec, ...]:
    """What leaves a network that learns this task."""
    kind = {"binary": "logit", "multiclass": "logits", "regression": "value"}[task.kind]
    return (TensorSpec(f"{task.target}.{kind}", "float32", ("batch", task.width), kind=kind),)


def versions() -> dict[str, str]:
    """Library → version, of those that decide what a run computes."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _same_data(pipeline: Pipeline, dataset: Dataset) -> None:
    kept = pipeline.lock.get("data")
    if kept and kept != dataset.digest:
        name = pipeline.name.removesuffix(".lock")
        raise DataError(
            f"the data ({dataset.origin}) have changed since {name} was locked: their digest is {dataset.digest[:19]}… "
            f"and the lock file says {str(kept)[:19]}…; bring the old data back, or begin anew from the pipeline file"
        )


def _code(pipeline: Pipeline) -> dict[str, str]:
    """The digest of the user's own file that makes the network, which decides what is learned as the data do."""
    path = Path(pipeline.folder, pipeline.model.kind.rpartition(":")[0])
    if ".py:" not in pipeline.model.kind or not path.is_file():
        return {}
    return {"code": f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"}


def _same_code(pipeline: Pipeline) -> None:
    kept, now = pipeline.lock.get("code"), _code(pipeline).get("code", "")
    if kept and kept != now:
        raise UsageError(
            f"{pipeline.model.kind.rpartition(':')[0]} has changed since {pipeline.name.removesuffix('.lock')} was "
            f"locked: its digest is {now[:19]}… and the lock file says {str(kept)[:19]}…; bring the old file back, or "
            "begin anew from the pipeline file",
            place="model.kind",
        )


def _can_judge(pipeline: Pipeline, dataset: Dataset, task: Task) -> None:
    """Metrics and slices are taken after training; a wrong name should be noticed before.

    Raises:
        UnknownName: there is no such metric for this task, or no such column.
    """
    for place, names in (("evaluate.metrics", pipeline.evaluate.metrics), ("keep.if", pipeline.keep.conditions)):
        for name in names:
            fitting = [other for other in METRICS.names() if task.kind in METRICS.take(other).TASKS]
            if name not in fitting:
                raise UnknownName(
                    f"metric {name!r} does not measure a {task.kind} task; {nearest(name, fitting)}", place=place
                )
    columns = [column.name for column in dataset.columns if column.kind != "image"]
    for key, chosen in (("slices", pipeline.evaluate.slices), ("fairness", pipeline.evaluate.fairness)):
        for name in chosen:
            if name not in columns:
                raise UnknownName(
                    f"[evaluate] {key} names {name!r}, which is no column; {nearest(name, columns)}",
                    place=f"evaluate.{key}",
                )


def _can_train(network: nn.Module, dataset: Dataset, task: Task, train: TrainSection) -> None:
    """Set training up as a run would, on a copy and without inputs, to find a wrong option before a run begins.

    Raises:
        UsageError: an option of ``[train]`` is wrong or does not fit the data; with its place.
    """
    feeds: dict[str, Feed] = {
        name: MemoryFeed(np.empty((len(part), 0), np.float32), encode(task, part.column(task.target)), train.device)
        for name, part in dataset.parts.items()
        if name in {"train", "validation"} and len(part)
    }
    Training(copy.deepcopy(network), feeds, task=task, section=train, calls=Calls())


def _can_hold(train: TrainSection) -> None:
    """Look at the words for which checkpoints are held before there is one.

    Raises:
        UsageError: they are not words of retention.
    """
    try:
        retention.parse(train.checkpoint.get("hold", ""))
    except UsageError as wrong:
        raise type(wrong)(f"[train] checkpoint: {wrong}", place="train.checkpoint.hold") from None


def _facts(dataset: Dataset, task: Task) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "data": dataset.digest,
        "task": task.kind,
        "rows": {k: len(v) for k, v in dataset.parts.items()},
    }
    return {**facts, "versions": versions()}
