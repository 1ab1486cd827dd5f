"""From a trained network to a kept version: exported with proof, judged as it will be served, kept.

What is judged is the model in onnxruntime and not the network in torch, because the first is what will answer.
"""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import nn

from engram.errors import ConditionNotMet
from engram.evaluation.conditions import unmet
from engram.evaluation.evidence import Evidence
from engram.evaluation.judge import judge
from engram.formats._proof import certify, digest, refusal
from engram.formats._torch_export import export
from engram.graphs.weights import attach
from engram.lifecycle.feeds import truth
from engram.lifecycle.needed import importance, robust, sampled
from engram.lifecycle.prepare import Prepared, versions
from engram.lifecycle.shown import readable
from engram.records import (
    Certificate,
    Model,
    Part,
    Prediction,
    Progress,
    Report,
    Run,
    Signature,
    TrainingState,
    Version,
    Watch,
)
from engram.runtime import onnxruntime
from engram.store.store import Store

__all__ = ["exported", "finish", "in_parts"]

_PROBES = 256
_TOLERANCE = 1e-4  # of float32 sums that two libraries order differently, relative to the answer
_CHUNK = 4096
_PARTED = frozenset({"number", "category", "boolean"})


def finish(
    prepared: Prepared, network: nn.Module, state: TrainingState, *, record: Run, store: Store, watch: Watch
) -> Version:
    """Export, prove, judge and keep a trained network.

    Raises:
        ConversionError: the exported graph answers differently from the network.
        ConditionNotMet: the report does not meet ``[keep] if`` and nothing is kept, or it is kept and does not meet
            what protects ``[keep] alias``.
    """
    watch(Progress("exporting"))
    model = exported(prepared, network)
    certificate = _proved(prepared, network, model)
    watch(Progress("judging"))
    report = _judged(prepared, model, state, watch)
    failed = unmet(prepared.pipeline.keep.conditions, {score.name: score.value for score in report.scores})
    if failed:
        raise ConditionNotMet(
            f"{record.name} is not kept: {'; '.join(failed)}; change [keep] if, or what the report suggests: "
            f"{' '.join(report.diagnosis)}"
        )
    watch(Progress("keeping"))
    version = store.keep(
        record.name,
        model,
        state=state,
        report=report,
        pipeline=record.pipeline,
        lock=prepared.lock,
        certificate=certificate,
        data=prepared.dataset.digest,
        facts=_facts(prepared, model, state, record) | {"metric": report.scores[0].name},
    )
    store.finish(record.id, "kept", version.digest)
    if prepared.pipeline.keep.alias:
        _pointed(prepared.pipeline.keep.alias, version, record, store)
    return version


def _pointed(alias: str, version: Version, record: Run, store: Store) -> None:
    try:
        store.alias(f"{record.name}@{alias}", version.reference, why=f"kept by run {record.id}")
    except ConditionNotMet as refused:
        raise ConditionNotMet(f"{version.reference} is kept, but {refused}") from None


def in_parts(session: onnxruntime.Session, part: Part, watch: Watch) -> Prediction:
    """What a model answers for every row of a part, a chunk at a time."""
    answers = []
    for start in range(0, max(len(part), 1), _CHUNK):
        watch(Progress("judging", start, len(part)))
        columns = part.take(np.arange(start, min(start + _CHUNK, len(part))))
        answers.append(session.predict({spec.name: columns[spec.name] for spec in session.signature.inputs}))
    return _joined(answers)


def _joined(answers: list[Prediction]) -> Prediction:
    def whole(name: str) -> ndarray | None:
        arrays = [array for answer in answers if (array := getattr(answer, name)) is not None]
        return np.concatenate(arrays) if arrays else None

    outputs = {name: np.concatenate([answer.outputs[name] for answer in answers]) for name in answers[0].outputs}
    return Prediction(whole("labels"), whole("probabilities"), whole("values"), answers[0].classes, outputs)


def exported(prepared: Prepared, network: nn.Module) -> Model:
    """A network with the preprocessing that was fitted for it, in canonical form; it may be untrained."""
    graph, weights = export(network.to("cpu").eval(), prepared.signature.inputs, prepared.signature.outputs)
    preprocessing = prepared.preprocessing
    return Model(
        graph=graph,
        weights=weights,
        signature=Signature(preprocessing.inputs, prepared.signature.outputs),
        preprocessing=preprocessing.graph,
        labels=prepared.task.labels,
        source={"framework": "torch", "version": versions()["torch"], "network": str(network).splitlines()},
        statistics=preprocessing.statistics,
    )


def _proved(prepared: Prepared, network: nn.Module, model: Model) -> Certificate:
    """The network in torch against its export in onnxruntime, on rows that it was not trained on."""
    part = _held_out(prepared)
    columns = part.take(np.arange(min(len(part), _PROBES)))
    inputs = onnxruntime.preprocess(model.preprocessing, columns)
    with torch.no_grad():
        answers = network(torch.from_numpy(inputs[prepared.signature.inputs[0].name])).numpy()
    name, described = prepared.signature.outputs[0].name, digest(model)
    converted = onnxruntime.run(attach(model.graph, model.weights).SerializeToString(), inputs)
    about = Certificate(
        original=described,
        converted=described,
        target="onnx",
        differences=(),
        agreement=1.0,
        tolerance=_TOLERANCE,
        seed=prepared.pipeline.train.seed,
        rows=len(answers),
        runtimes=(f"torch {versions()['torch']}", onnxruntime.VERSION),
        versions=versions(),
    )
    certificate = certify({name: answers}, converted, about)
    if not certificate.holds:
        raise refusal(certificate, prepared.pipeline.keep.name, "")
    return certificate


def _held_out(prepared: Prepared) -> Part:
    parts = prepared.dataset.parts
    return next(parts[name] for name in ("test", "validation", "train") if name in parts and len(parts[name]))


def _judged(prepared: Prepared, model: Model, state: TrainingState, watch: Watch) -> Report:
    part = _held_out(prepared)
    pipeline, dataset = prepared.pipeline, prepared.dataset
    session = onnxruntime.open(model, threads=pipeline.train.threads or 1)
    prediction = in_parts(session, part, watch)
    found = [column.name for column in dataset.inputs if column.kind in {"category", "boolean"}]
    slices = {name: part.column(name) for name in pipeline.evaluate.slices or found}
    few_truth, few = _few(prepared, part, model.signature)
    evidence = Evidence(
        title=pipeline.keep.name,
        slices=slices,
        parts={column.name: part.column(column.name) for column in dataset.inputs if column.kind in _PARTED},
        importance=importance(prepared.task, few_truth, few, session.predict),
        robustness=robust(prepared.task, few_truth, few, session.predict),
        groups={name: part.column(name) for name in pipeline.evaluate.fairness},
        history=state.history,
        epochs=state.epoch if pipeline.train.minutes else pipeline.train.epochs or 0,
        findings=(*dataset.notes, *prepared.findings),
        take=readable(part.take, {c.name for c in dataset.columns if c.kind == "date"}),
        facts=_shown(prepared, model, state),
    )
    seed = pipeline.train.seed
    return judge(
        prepared.task, truth(prepared, part), prediction,
        section=pipeline.evaluate, data=dataset.digest, evidence=evidence, seed=seed,
    )  # fmt: skip


def _few(prepared: Prepared, part: Part, signature: Signature) -> tuple[ndarray, dict[str, ndarray]]:
    """Truth of a sample of the rows, and what the model takes of them; it may take fewer columns than there are."""
    few = sampled(len(part))
    taken = part.take(few)
    return truth(prepared, part)[few], {spec.name: taken[spec.name] for spec in signature.inputs}


def _shown(prepared: Prepared, model: Model, state: TrainingState) -> dict[str, str]:
    """What the report says about how the model was made."""
    train = prepared.pipeline.train
    rows = ", ".join(f"{len(part):,} {name}" for name, part in prepared.dataset.parts.items())
    inputs = ", ".join(f"{spec.name} {list(spec.shape[1:])}" for spec in prepared.signature.inputs)
    return {
        "data": f"{prepared.dataset.origin} ({rows})",
        "digest": prepared.dataset.digest,
        "inputs": f"{len(prepared.dataset.inputs)} columns → {inputs}",
        "network": f"{prepared.pipeline.model.kind} {dict(prepared.pipeline.model.options)}",
        "parameters": f"{model.parameters:,}",
        "training": f"{state.epoch} epochs of {train.batch}-row batches, {train.loss}, {dict(train.optimizer)}, "
        f"{dict(train.schedule)}, {train.precision} on {train.device}, "
        f"{sum(float(epoch['seconds']) for epoch in state.history):.0f} s",
        "seed": str(train.seed),
    }


def _facts(prepared: Prepared, model: Model, state: TrainingState, record: Run) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "run": record.id,
        "task": prepared.task.kind,
        "parameters": model.parameters,
        "network": prepared.pipeline.model.kind,
        "epochs": state.epoch,
        "seconds": round(sum(float(epoch["seconds"]) for epoch in state.history), 1),
        "environment": versions(),
    }
    commit = _commit(prepared.pipeline.folder)
    return {**facts, "commit": commit} if commit else facts


def _commit(folder: str) -> str:
    """The git commit that the pipeline file's folder stands at; empty where there is none."""
    asked = ["git", "-C", folder, "rev-parse", "HEAD"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - no shell, fixed words
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
