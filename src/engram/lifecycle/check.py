"""``check``: everything that can be wrong with a pipeline file and its data, found before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engram.lifecycle.conditions import can_be_kept
from engram.lifecycle.prepare import prepare
from engram.pipelines.parse import located, read
from engram.records import Column, Pipeline, Task, Watch
from engram.settings import Settings

__all__ = ["Checked", "check"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a pipeline file would do.

    Attributes:
        task: what would be learned.
        columns: as found.
        rows: part → rows.
        steps: column → its preprocessing in words.
        network: layer by layer, as torch prints it.
        parameters: numbers to be learned.
        findings: what was noticed in the data, one sentence each.
        lock: the text of the lock file that a run would write.
    """

    task: Task
    columns: tuple[Column, ...]
    rows: Mapping[str, int]
    steps: Mapping[str, str]
    network: str
    parameters: int
    findings: tuple[str, ...]
    lock: str


def check(pipeline: str | Path | Pipeline, *, settings: Settings, watch: Watch) -> Checked:
    """Try everything short of training.

    Raises:
        UsageError: the file is wrong or does not fit the data.
        DataError: the data cannot be used.
    """
    described = pipeline if isinstance(pipeline, Pipeline) else read(pipeline)
    with located(described.text, described.file):
        can_be_kept(described)
        prepared = prepare(described, settings, watch)
    dataset = prepared.dataset
    return Checked(
        task=prepared.task,
        columns=dataset.columns,
        rows={name: len(part) for name, part in dataset.parts.items()},
        steps={planned.name: planned.why for planned in prepared.preprocessing.plans},
        network=str(prepared.network),
        parameters=sum(p.numel() for p in prepared.network.parameters()),
        findings=(*dataset.notes, *prepared.findings),
        lock=prepared.lock,
    )
