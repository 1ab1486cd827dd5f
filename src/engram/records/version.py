"""A kept model, the run that made it, and the names that point at it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["Gate", "Move", "Run", "Version"]


@dataclass(frozen=True, slots=True)
class Version:
    """A kept, immutable, content-addressed model.

    Attributes:
        digest: of its manifest, ``sha256:…``; this is its id.
        name: of the network (``income``).
        number: counts from 1 within the name.
        kept: when.
        holds: what is in it: any of ``graph weights preprocessing training report pipeline lock certificate``.
        metrics: metric → value on the data of its report.
        data: digest of the training data; empty if unknown.
        parents: digests of the versions it was made from.
        size: bytes of all its blobs.
        facts: everything else said of it (plain JSON values): parameters, environment, git commit, run, task.
    """

    digest: str
    name: str
    number: int
    kept: datetime
    holds: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    data: str = ""
    parents: tuple[str, ...] = ()
    size: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """What a user types for exactly this version."""
        return f"{self.name}:{self.number}"

    @property
    def deciding(self) -> tuple[str, float | str]:
        """The metric that decides, and its value; both ``""`` where nothing was measured."""
        metric = str(self.facts.get("metric") or next(iter(self.metrics), ""))
        return metric, self.metrics.get(metric, "")

    def _repr_html_(self) -> str:
        rows = [
            ("kept", self.kept.isoformat(timespec="seconds")),
            ("digest", self.digest),
            ("holds", ", ".join(self.holds)),
        ]
        rows += [(name, f"{value:.4g}") for name, value in self.metrics.items()]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in rows
        )
        return f"<table><caption>{html.escape(self.reference)}</caption>{cells}</table>"


@dataclass(frozen=True, slots=True)
class Move:
    """One movement of an alias: when, who, why, from where to where (digests; empty where it did not exist).

    Attributes:
        kind: ``move``, ``forced`` past the gate of a protected alias, ``rollback``, ``undo`` of a rollback, or
            ``rollback-unmet`` and ``undo-unmet`` where the version does not meet what protects the alias.
    """

    name: str
    alias: str
    when: datetime
    who: str
    why: str
    origin: str
    target: str
    kind: str = "move"


@dataclass(frozen=True, slots=True)
class Gate:
    """What a version must reach before an alias may be moved to it, and since when: who, why.

    Attributes:
        conditions: metric → condition (``">= 0.86"``); empty where the alias is free again.
    """

    name: str
    alias: str
    when: datetime
    who: str
    why: str
    conditions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One training run.

    Attributes:
        id: what a user types to resume it.
        name: of the network it makes.
        started: when.
        status: ``running``, ``stopped``, ``failed``, ``refused`` (by ``[keep] if``) or ``kept``.
        pipeline: the pipeline file as it was written.
        lock: the lock file: everything found, made explicit.
        folder: where relative paths of the pipeline file start.
        step: of its last checkpoint; 0 if there is none.
        version: digest of the version it became; empty until kept.
        origin: the run and step it began from (``income-20260503-1200@400``); empty if from the start.
        hold: which checkpoints are held (``last 3, best, every 10th``); empty for what is usual.
    """

    id: str
    name: str
    started: datetime
    status: str
    pipeline: str
    lock: str
    folder: str
    step: int = 0
    version: str = ""
    origin: str = ""
    hold: str = ""
