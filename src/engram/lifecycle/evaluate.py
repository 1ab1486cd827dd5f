"""``evaluate``: how well a kept version does on data that it was not judged on before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from numpy import ndarray

from engram.data._rows import Opened, open_rows
from engram.data._target import encode, gaps
from engram.errors import DataError, UsageError
from engram.evaluation.evidence import Evidence
from engram.evaluation.judge import judge
from engram.lifecycle.answer import described_by, reading
from engram.lifecycle.needed import importance, robust, sampled
from engram.lifecycle.shown import readable
from engram.lifecycle.whole import write
from engram.records import Model, Pipeline, Prediction, Progress, Report, Task, Version, Watch
from engram.runtime import onnxruntime
from engram.store.store import Store

__all__ = ["Asked", "asked", "evaluate", "judged"]

_PARTED = frozenset({"number", "category", "boolean"})
_UNKNOWN = "fairness by {!r} is not measured here: the version does not take this column in"


def evaluate(
    reference: str,
    data: str | Path,
    *,
    store: Store,
    out: Path | None,
    names: tuple[str, ...],
    watch: Watch,
) -> tuple[Report, Path]:
    """Judge a version and write the report.

    Args:
        reference: of the version.
        data: rows with the target.
        store: where the version is.
        out: where the report goes; None writes NAME-NUMBER.report.html here.
        names: of the columns, where the file has no header and the version does not know them.
        watch: told about the progress.

    Returns:
        The report, and the page that was written.
    """
    report = judged(reference, data, store=store, names=names, watch=watch)
    version = store.version(reference)
    page = out or Path(f"{version.name}-{version.number}.report.html")
    write(page, report.page, "give another place with -o")
    return report, page


@dataclass(frozen=True, slots=True)
class Asked:
    """What a version answered for rows whose truth is known.

    Attributes:
        version, model: that was asked.
        described: the pipeline that it was trained by.
        task: what it learned.
        rows: those that have a true value.
        truth: of these rows as written, (rows,).
        prediction: for these rows.
    """

    version: Version
    model: Model
    described: Pipeline
    task: Task
    rows: Opened
    truth: ndarray
    prediction: Prediction


def asked(reference: str, data: str | Path, *, store: Store, names: tuple[str, ...], watch: Watch) -> Asked:
    """What a version answers for the rows of a file that have a true value.

    Raises:
        DataError: the rows cannot be read or lack the target.
        UsageError: the version does not know what it predicts.
    """
    version, model = store.version(reference), store.load(reference)
    described = described_by(store, reference, names)
    if described is None:
        raise UsageError(
            f"{reference} was imported and does not say what its target is; evaluate needs a version of a run"
        )
    watch(Progress("reading", note=str(data)))
    rows = open_rows(data, model.signature.inputs, labels=model.labels, **reading(described))
    task = _task(model, described)
    rows, truth = _with_truth(rows, f"{data}", task.target)
    watch(Progress("judging"))
    prediction = onnxruntime.open(model, threads=2).predict(rows.columns)
    return Asked(version, model, described, task, rows, truth, prediction)


def judged(reference: str, data: str | Path, *, store: Store, names: tuple[str, ...], watch: Watch) -> Report:
    """The report of a version on these rows.

    Raises:
        DataError: the rows cannot be read or lack the target.
        UsageError: the version does not know what it predicts.
    """
    found = asked(reference, data, store=store, names=names, watch=watch)
    model, described, rows = found.model, found.described, found.rows
    chosen = tuple(name for name in described.evaluate.slices if name in rows.columns)
    parted = [spec.name for spec in model.signature.inputs if spec.kind in {"category", "boolean"}]
    fair = tuple(name for name in described.evaluate.fairness if name in rows.columns)
    few_truth, few = _few(found)
    predict = onnxruntime.open(model, threads=2).predict
    evidence = Evidence(
        title=f"{found.version.reference} on {Path(data).name}",
        slices={name: rows.columns[name] for name in chosen or parted},
        parts={spec.name: rows.columns[spec.name] for spec in model.signature.inputs if spec.kind in _PARTED},
        importance=importance(found.task, few_truth, few, predict),
        robustness=robust(found.task, few_truth, few, predict),
        groups={name: rows.columns[name] for name in fair},
        findings=(*rows.notes, *(_UNKNOWN.format(name) for name in described.evaluate.fairness if name not in fair)),
        take=readable(
            lambda numbers: {name: values[numbers] for name, values in rows.columns.items()},
            {spec.name for spec in model.signature.inputs if spec.kind == "date"},
        ),
        facts={"data": f"{data} ({len(rows):,} rows)", "digest": rows.digest, "version": found.version.digest},
    )
    section = replace(described.evaluate, slices=chosen, fairness=fair)
    truth = encode(found.task, found.truth)
    return judge(found.task, truth, found.prediction, section=section, data=rows.digest, evidence=evidence)


def _few(found: Asked) -> tuple[ndarray, dict[str, ndarray]]:
    """Truth and columns of a sample of the rows."""
    few = sampled(len(found.rows))
    return encode(found.task, found.truth)[few], {name: values[few] for name, values in found.rows.columns.items()}


def _with_truth(rows: Opened, place: str, target: str) -> tuple[Opened, ndarray]:
    """The rows that have a true value, and these values.

    Raises:
        DataError: there is no such column, or no value in it.
    """
    if rows.truth is None:
        raise DataError(f"{place} has no column {target!r}, which is what is predicted; add the true values")
    there = ~gaps(rows.truth)
    if there.all():
        return rows, rows.truth
    if not there.any():
        raise DataError(f"{place}: column {target!r} has no value in any row; add the true values")
    left = int((~there).sum())
    words = ("row has", "was") if left == 1 else ("rows have", "were")
    note = f"{left:,} {words[0]} no {target!r} and {words[1]} left out"
    columns = {name: values[there] for name, values in rows.columns.items()}
    return replace(rows, columns=columns, notes=(*rows.notes, note)), rows.truth[there]


def _task(model: Model, described: Pipeline) -> Task:
    kinds = {0: "regression", 2: "binary"}
    return Task(kinds.get(len(model.labels), "multiclass"), described.data.target or "label", model.labels)
