"""``evaluate`` with several versions, ``compare`` in Python: which of them is best on the same rows.

Every version reads the rows as its own training did, because two versions may know different columns; what they are
judged by must then be the same rows with the same truth, and is refused where it is not.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engram.data._target import encode
from engram.errors import DataError, UsageError
from engram.evaluation.answers import Answers, answers
from engram.evaluation.comparison import Comparison, compared
from engram.evaluation.measure import measured, metrics
from engram.lifecycle.evaluate import Asked, asked
from engram.records import Progress, Score, Watch
from engram.store.store import Store

__all__ = ["Compared", "compare"]


@dataclass(frozen=True, slots=True)
class Compared:
    """Several versions on the same rows.

    Attributes:
        data: digest of the rows.
        rows: how many were judged.
        scores: reference → every metric that all have with its interval, the deciding one first.
        comparisons: of each version but the first with the first.
        findings: what was noticed in the rows, one sentence each.
    """

    data: str
    rows: int
    scores: dict[str, tuple[Score, ...]]
    comparisons: tuple[Comparison, ...]
    findings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        heads = "".join(f"<th>{html.escape(name)}</th>" for name in ("metric", *self.scores))
        lines = "".join(
            f"<tr><td>{html.escape(line[0].name)}</td>"
            + "".join(f"<td>{s.value:.4g} ({s.low:.4g} – {s.high:.4g})</td>" for s in line)
            + "</tr>"
            for line in zip(*self.scores.values(), strict=True)
        )
        said = "".join(f"<p>{html.escape(each.verdict)}</p>" for each in self.comparisons)
        return f"<table><caption>Engram comparison on {self.rows:,} rows</caption><tr>{heads}</tr>{lines}</table>{said}"


def compare(
    references: Sequence[str], data: str | Path, *, store: Store, names: tuple[str, ...], watch: Watch
) -> Compared:
    """The scores of several versions, and whether each is better than the first.

    Args:
        references: of the versions; each is compared with the first.
        data: rows with the target.
        store: where the versions are.
        names: of the columns, where the file has no header and the versions do not know them.
        watch: told about the progress.

    Raises:
        DataError: the rows cannot be read, lack the target, or are not the same for every version.
        UsageError: fewer than two versions, one of them twice, or versions that learned different things.
    """
    known = [store.version(reference).reference for reference in references]
    if len(set(known)) < max(len(known), 2):
        raise UsageError(f"{', '.join(known) or 'nothing'} cannot be compared; name two or more different versions")
    each = [asked(reference, data, store=store, names=names, watch=watch) for reference in references]
    task, truth = each[0].task, encode(each[0].task, each[0].truth)
    for other in each[1:]:
        _alike(each[0], other, f"{data}")
    watch(Progress("judging"))
    seen = [answers(task, truth, one.prediction) for one in each]
    section = each[0].described.evaluate
    every = [metrics(task, section.metrics, own) for own in seen]
    taken = {name: metric for name, metric in every[0].items() if all(name in other for other in every)}
    scores = {n: measured(taken, own, samples=section.intervals) for n, own in zip(known, seen, strict=True)}
    against = [compared((known[0], n), (seen[0], own), taken, looks=len(known) - 1) for n, own in _rest(known, seen)]
    findings = tuple(dict.fromkeys(note for one in each for note in one.rows.notes))
    return Compared(each[0].rows.digest, len(truth), scores, tuple(against), findings)


def _rest(names: Sequence[str], seen: Sequence[Answers]) -> list[tuple[str, Answers]]:
    return list(zip(names[1:], seen[1:], strict=True))


def _alike(first: Asked, other: Asked, place: str) -> None:
    """Two versions that were asked for the same thing about the same rows.

    Raises:
        UsageError: they learned different things.
        DataError: the rows are not the same.
    """
    a, b = first.version.reference, other.version.reference
    one, two = first.task, other.task
    if (one.kind, one.target, sorted(one.labels)) != (two.kind, two.target, sorted(two.labels)):
        raise UsageError(
            f"{b} predicts {two.target!r} ({two.kind}, {len(two.labels)} classes) and {a} predicts {one.target!r} "
            f"({one.kind}, {len(one.labels)} classes); compare versions that learned the same"
        )
    if len(first.truth) != len(other.truth) or not np.array_equal(encode(one, first.truth), encode(one, other.truth)):
        raise DataError(
            f"{place}: {a} reads {len(first.truth):,} rows and {b} {len(other.truth):,}, or other true values; "
            "give data that both read alike"
        )
