"""The log of every alias as documents of the place, so that losing the catalog does not lose history.

A move is ``history/income/prod/000012.json`` and a change of its gate ``history/income/prod/gate-000003.json``, counted
as the rows of the catalog are. They are written inside the transaction that adds the row, before it ends: a move that
is acknowledged is always there. A writer who died, or to whom another was faster, may have left a document of a move
that never was; so each move writes the document before its own anew, too, and removes those that come after it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from engram.errors import StoreError, UsageError
from engram.evaluation import conditions
from engram.records import Gate, Move
from engram.store import documents, objects, references
from engram.store.moves.steps import UNMET
from engram.store.places._contract import Place, check_digest

__all__ = ["GATE", "KINDS", "MOVE", "before", "demand_newest", "found", "gaps", "name", "read", "write"]

KINDS = ("move", "rollback", "undo", "forced", f"rollback{UNMET}", f"undo{UNMET}")
MOVE, GATE = "", "gate-"  # what stands before the number in the names of documents

_LOG = logging.getLogger(__name__)
_STEM = "history/"
_NAME = re.compile(r"history/([^/]+)/([^/]+)/(gate-)?([0-9]{6,18})\.json")
_READERS = 16
_FIELDS = {"move": ("who", "why", "origin", "target", "kind"), "gate": ("who", "why", "conditions")}


def write(place: Place, path: tuple[str, str], entries: Sequence[Move | Gate], *, mark: str = "", again: int) -> int:
    """Let the documents of an alias say what its rows say.

    Args:
        place: of the store.
        path: name of the network, and alias.
        entries: all its moves, or all changes of its gate, the newest last.
        mark: ``GATE`` for the latter.
        again: the first number that is written even if it is there.

    Returns:
        The first number that this writer may have written: if its transaction fails and it tries again, others may
        have been faster more than once, and it writes from there on anew.

    Raises:
        StoreError: the place refused.
        UsageError: who or why is not Unicode.
    """
    stem = name(path, 0, mark).removesuffix("000000.json")
    first = min(again, max(len(entries) - 1, 1))
    there = _there(place, stem)
    for number, entry in enumerate(entries, start=1):
        if number not in there or number >= first:
            place.write(name(path, number, mark), _encode(entry))
    for number in there.keys() - set(range(len(entries) + 1)):
        place.remove(there[number])
    return first


def demand_newest(place: Place, path: tuple[str, str], mark: str, most: int) -> None:
    """See that no document of an alias, or of its gate, has a higher number than one that somebody left can have.

    Raises:
        StoreError: one has; the catalog is older than it.
    """
    there = _there(place, name(path, 0, mark).removesuffix("000000.json"))
    for number in sorted(there, reverse=True):
        if number > most and not isinstance(_looked(place, there[number]), str):
            raise _older(place, there[number])


def _older(place: Place, document: str) -> StoreError:
    """The refusal to write over what the catalog has forgotten."""
    return StoreError(
        f"{document} in {place.url} is of a later change than the catalog knows, which is older; make it anew with "
        "engram verify --rebuild"
    )


def read(place: Place) -> list[Move | Gate]:
    """All moves and changes of gates that a place has documents of, those of each alias in their order.

    Raises:
        StoreError: one is damaged, or the place refused.
    """
    entries = []
    for name, entry in found(place).items():
        if isinstance(entry, str):
            raise StoreError(
                f"{name} in {place.url} is damaged: {entry}; bring it back from a copy of the store, or remove it to "
                "forget that entry"
            )
        entries.append(entry)
    for gap in gaps(place):
        _LOG.warning("moves of an alias are gone", extra={"place": place.url, "document": gap})
    return entries


def found(place: Place) -> dict[str, Move | Gate | str]:
    """The documents of a place by name, those of each alias in their order: what they say, or what is wrong with them.

    Raises:
        StoreError: the place refused to list them.
    """
    names = _names(place)
    with ThreadPoolExecutor(_READERS) as pool:
        return dict(zip(names, pool.map(lambda name: _looked(place, name), names), strict=True))


def name(path: tuple[str, str], number: int, mark: str = "") -> str:
    """The name of a document: of the move, or with ``GATE`` of the change of the gate, with this number."""
    return f"{_STEM}{path[0]}/{path[1]}/{mark}{number:06}.json"


def before(document: str) -> str:
    """The name of the document before this one; empty for the first."""
    stem, number = _parted(document)
    return f"{stem}{number - 1:06}.json" if number > 1 else ""


def _names(place: Place) -> list[str]:
    """The documents of the log, those of each alias by number."""
    found = [(_NAME.fullmatch(name), name) for name in place.documents(_STEM)]
    known = [((m[1], m[2], m[3] or "", int(m[4])), name) for m, name in found if m]
    return [name for _, name in sorted(known)]


def gaps(place: Place) -> Iterator[str]:
    """The first document that is missing of each alias, or of its gate."""
    counted: dict[str, list[int]] = {}
    for name in _names(place):
        stem, number = _parted(name)
        counted.setdefault(stem, []).append(number)
    for stem, numbers in counted.items():
        missing = next((n for n, number in enumerate(numbers, start=1) if n != number), 0)
        if missing:
            yield f"{stem}{missing:06}.json"


def _there(place: Place, stem: str) -> dict[int, str]:
    """The documents of an alias, or of its gate, by number."""
    return {number: name for name in place.documents(stem) if (number := _number(name, stem))}


def _parted(document: str) -> tuple[str, int]:
    """What the names of an alias's documents begin with, and the number of this one."""
    stem, number = re.fullmatch(r"(.*/(?:gate-)?)([0-9]+)\.json", document).groups()  # type: ignore[union-attr]
    return stem, int(number)


def _number(name: str, stem: str) -> int:
    digits = name.removeprefix(stem).removesuffix(".json")
    return int(digits) if digits.isdigit() else 0


def _encode(entry: Move | Gate) -> bytes:
    """An entry as a document that notices when it is changed."""
    kind = "gate" if isinstance(entry, Gate) else "move"
    said = {"name": entry.name, "alias": entry.alias, "when": entry.when.isoformat()}
    said |= {field: getattr(entry, field) for field in _FIELDS[kind]}
    digest = objects.digest([documents.encode(said, f"the {kind} of an alias")])
    return documents.encode({**said, "digest": digest}, f"the {kind} of an alias")


def _looked(place: Place, name: str) -> Move | Gate | str:
    try:
        return _checked(documents.decode(place.document(name), name), name)
    except (KeyError, TypeError, ValueError, AttributeError, StoreError) as wrong:
        return str(wrong)


def _checked(found: dict[str, Any], name: str) -> Move | Gate:
    digest = found.pop("digest")
    if objects.digest([documents.encode(found, name)]) != digest:
        raise UsageError("it is not what was written")
    made = _gate(found) if name.rpartition("/")[2].startswith(GATE) else _move(found)
    if name.split("/")[1:3] != [made.name, made.alias]:
        raise UsageError(f"it is of {made.name}@{made.alias}")
    return made


def _move(found: dict[str, Any]) -> Move:
    if found["kind"] not in KINDS:
        raise ValueError(f"a move of kind {found['kind']!r} is of a newer Engram")
    check_digest(found["target"])
    if found["origin"] != "":
        check_digest(found["origin"])
    return Move(**_common(found, {"origin", "target", "kind"}))


def _gate(found: dict[str, Any]) -> Gate:
    for metric, condition in found["conditions"].items():
        conditions.parse(metric, condition)
    return Gate(**_common(found, {"conditions"}))


def _common(found: dict[str, Any], own: set[str]) -> dict[str, Any]:
    """What moves and gates have in common, checked; `own` are the fields that one of them has beyond that."""
    if set(found) != {"name", "alias", "when", "who", "why"} | own:
        raise UsageError(f"it has the fields {', '.join(sorted(found))}")
    references.check_name(found["name"])
    references.check_name(found["alias"], "alias")
    if not all(isinstance(found[key], str) for key in ("who", "why")):
        raise UsageError("who and why are texts")
    when = datetime.fromisoformat(found["when"])
    if when.tzinfo is None:
        raise UsageError("its moment has no time zone")
    return {**found, "when": when}
