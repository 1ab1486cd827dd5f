"""What a version was made from and what was made from it: data, runs, checkpoints, versions, both ways.

Only what leads to the version or follows from it belongs to its lineage; what else was made of the same data does not.
The catalog answers a whole generation at a time, so that a long line of ancestors costs as many questions as it is
long, and a wide one no more.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, literal, select

from engram.records import Run, Version
from engram.store import tables, versions
from engram.store.moves import history

__all__ = ["Edge", "Lineage", "Node", "lineage"]

K = TypeVar("K")

_PART = 500


@dataclass(frozen=True, slots=True)
class Node:
    """Something in a lineage.

    Attributes:
        id: of a version its digest; else ``run:…``, ``checkpoint:RUN@STEP`` or ``data:…``.
        kind: ``version``, ``run``, ``checkpoint`` or ``data``.
        title: what a user types for a version, the id of a run, the step of a checkpoint, the digest of data.
        when: kept, begun or saved; None for data and what is unknown.
        metric, value: that decide of a version; empty and None where nothing was measured.
        aliases: that point at a version now.
        status: of a run.
        known: whether it is in this store; checkpoints were let go, and parents may be in another one.
    """

    id: str
    kind: str
    title: str
    when: datetime | None = None
    metric: str = ""
    value: float | None = None
    aliases: tuple[str, ...] = ()
    status: str = ""
    known: bool = True


@dataclass(frozen=True, slots=True)
class Edge:
    """One thing that went into another, by their ids."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a version was made from, and what was made from it.

    Attributes:
        focus: id of the version that was asked for.
        nodes: everything in it.
        edges: from what was first to what came of it.
    """

    focus: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def above(self) -> dict[str, list[str]]:
        """Id → the ids of what went into it."""
        return _gathered((edge.target, edge.source) for edge in self.edges)

    @property
    def below(self) -> dict[str, list[str]]:
        """Id → the ids of what came of it."""
        return _gathered((edge.source, edge.target) for edge in self.edges)

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values, moments among them."""
        return asdict(self)

    def svg(self) -> str:
        """As a picture that stands by itself."""
        from engram.store.relations.drawing import drawn

        return drawn(self)

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self.svg().encode()).decode()
        return f'<img alt="lineage" src="data:image/svg+xml;base64,{picture}">'


def lineage(connection: Connection, digest: str) -> Lineage:
    """The lineage of a version of the catalog."""
    family = _Family(connection)
    family.ancestors(digest)
    family.descendants(digest)
    nodes, edges = _Sketch(family, _pointing(connection)).finished(_saved(connection, family))
    return Lineage(digest, nodes, edges)


class _Family:
    """The versions and runs of a lineage.

    Attributes:
        versions: by digest; None for a parent that is in another store.
        runs: by id.
    """

    def __init__(self, connection: Connection) -> None:
        self.versions: dict[str, Version | None] = {}
        self.runs: dict[str, Run] = {}
        self._connection = connection

    def ancestors(self, digest: str) -> None:
        """Add a version and all that led to it."""
        wanted = {digest}
        while wanted:
            self._add(wanted)
            wanted = {parent for child in wanted for parent in self._parents(child)} - self.versions.keys()
        begun = {_origin(run)[0] for run in self.runs.values()} - {"", *self.runs}
        while begun:
            found = self._asked(tables.runs.c.id, begun, _run, _RUN)
            self.runs |= {run.id: run for run in found}
            begun = {_origin(run)[0] for run in found} - {"", *self.runs}

    def descendants(self, digest: str) -> None:
        """Add all that followed from a version, and from the run that made it."""
        children, begun = self._children(), self._begun()
        wanted, seen = {digest}, set[str]()
        while wanted:
            self._add(wanted - self.versions.keys())
            seen |= wanted
            made = [run for run in self.runs.values() if run.version in wanted]
            later = _closure(made, begun)
            self.runs |= {run.id: run for run in later}
            wanted = {child for parent in wanted for child in children.get(parent, ())}
            wanted = (wanted | {run.version for run in later if run.version}) - seen

    def _add(self, digests: Collection[str]) -> None:
        rows = self._asked(tables.versions.c.digest, digests, versions.version, list(tables.versions.c))
        self.versions |= dict.fromkeys(digests) | {version.digest: version for version in rows}
        made = self._asked(tables.runs.c.version, digests, _run, _RUN)
        self.runs |= {run.id: run for run in made}

    def _parents(self, digest: str) -> tuple[str, ...]:
        version = self.versions[digest]
        return version.parents if version else ()

    def _children(self) -> dict[str, list[str]]:
        rows = tables.versions.c
        asked = select(rows.digest, rows.parents).where(rows.parents != literal([], tables.Document()))
        return _gathered((parent, row.digest) for row in self._connection.execute(asked) for parent in row.parents)

    def _begun(self) -> dict[str, list[Run]]:
        """Run → the runs that began from a checkpoint of it."""
        found = [_run(row) for row in self._connection.execute(select(*_RUN).where(tables.runs.c.origin != ""))]
        return _gathered((_origin(run)[0], run) for run in found)

    def _asked(
        self, column: ColumnElement[str], values: Collection[str], made: Callable[[Any], K], columns: list[Any]
    ) -> list[K]:
        """The rows in which a column has one of some values, in as many questions as a statement needs."""
        wanted = sorted(values)
        parts = [wanted[start : start + _PART] for start in range(0, len(wanted), _PART)]
        return [made(r) for part in parts for r in self._connection.execute(select(*columns).where(column.in_(part)))]


class _Sketch:
    """The nodes and edges that a family comes to."""

    def __init__(self, family: _Family, pointing: Mapping[str, list[str]]) -> None:
        self._family = family
        self._pointing = pointing
        self._nodes: dict[str, Node] = {}
        self._edges: dict[Edge, None] = {}

    def finished(self, saved: Mapping[str, datetime]) -> tuple[tuple[Node, ...], tuple[Edge, ...]]:
        """All of it.

        Args:
            saved: ``RUN@STEP`` → when, of checkpoints that are still held.
        """
        runs = sorted(self._family.runs.values(), key=lambda run: (run.started, run.id))
        for run in runs:
            self._run(run, saved)
        made = {run.version: run.id for run in runs if run.version}
        for digest, version in sorted(self._family.versions.items(), key=_age):
            self._version(digest, version, made.get(digest, ""))
        return tuple(self._nodes.values()), tuple(self._edges)

    def _version(self, digest: str, version: Version | None, run: str) -> None:
        if version is None:
            self._nodes[digest] = Node(digest, "version", digest, known=False)
            return
        metric, value = version.deciding
        self._nodes[digest] = Node(
            digest,
            "version",
            version.reference,
            version.kept,
            metric,
            float(value) if value != "" else None,
            tuple(self._pointing.get(digest, ())),
        )
        for parent in version.parents:
            if parent in self._family.versions:
                self._edge(parent, digest)
        maker = digest
        if run := run or str(version.facts.get("run", "")):
            maker = f"run:{run}"
            self._nodes.setdefault(maker, Node(maker, "run", run, known=False))
            self._edge(maker, digest)
        if version.data:
            source = f"data:{version.data}"
            self._nodes.setdefault(source, Node(source, "data", version.data))
            self._edge(source, maker)

    def _run(self, run: Run, saved: Mapping[str, datetime]) -> None:
        node = f"run:{run.id}"
        self._nodes[node] = Node(node, "run", run.id, run.started, status=run.status)
        origin, step = _origin(run)
        if not origin:
            return
        source, point = f"run:{origin}", f"checkpoint:{run.origin}"
        self._nodes.setdefault(source, Node(source, "run", origin, known=False))
        when = saved.get(run.origin)
        self._nodes[point] = Node(
            point, "checkpoint", f"step {int(step):,}" if step.isdigit() else step, when, known=when is not None
        )
        self._edge(source, point)
        self._edge(point, node)

    def _edge(self, source: str, target: str) -> None:
        self._edges[Edge(source, target)] = None


def _age(entry: tuple[str, Version | None]) -> tuple[str, str]:
    """Sorts by when a version was kept, those of other stores first."""
    digest, version = entry
    return version.kept.isoformat() if version else "", digest


_RUN = [tables.runs.c[name] for name in ("id", "name", "started", "status", "step", "version", "origin")]


def _run(row: Any) -> Run:  # noqa: ANN401 - a row of these columns
    return Run(**row._asdict(), pipeline="", lock="", folder="")


def _origin(run: Run) -> tuple[str, str]:
    """The run and the step that a run began from; both empty if it began anew."""
    name, _, step = run.origin.rpartition("@")
    return name, step


def _closure(runs: Iterable[Run], begun: Mapping[str, list[Run]]) -> list[Run]:
    """All runs that began from these, or from those that did."""
    found: dict[str, Run] = {}
    wanted = list(runs)
    while wanted:
        new = [later for run in wanted for later in begun.get(run.id, ()) if later.id not in found]
        found |= {run.id: run for run in new}
        wanted = new
    return list(found.values())


def _pointing(connection: Connection) -> dict[str, list[str]]:
    """Digest → the aliases at it now, of whichever network."""
    return _gathered((digest, path.partition("@")[2]) for path, digest in history.current(connection).items())


def _saved(connection: Connection, family: _Family) -> dict[str, datetime]:
    rows = tables.checkpoints.c
    begun = sorted({_origin(run)[0] for run in family.runs.values()} - {""})
    asked = select(rows.run, rows.step, rows.saved)
    parts = [begun[start : start + _PART] for start in range(0, len(begun), _PART)]
    found = [row for part in parts for row in connection.execute(asked.where(rows.run.in_(part)))]
    return {f"{row.run}@{row.step}": row.saved for row in found}


def _gathered(pairs: Iterable[tuple[str, K]]) -> dict[str, list[K]]:
    found: dict[str, list[K]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
