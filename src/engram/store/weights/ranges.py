"""Tensors from far away: only the bytes of those that are asked for, several requests at a time.

The beginning of a blob tells where its tensors are. One request fetches enough of it for nearly every header, and
neighboring tensors come with one request, because each costs a round trip, whatever it brings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from numpy import ndarray

from engram.errors import StoreError
from engram.store.objects import Blob, matches
from engram.store.places._contract import Place
from engram.store.weights import encodings, tensors
from engram.store.weights.encodings import Entry

__all__ = ["Wanted", "arrays", "headers"]

_AT_ONCE = 16
_HEAD = 16_384
_WHOLE = 262_144
_GAP = 65_536


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of one blob.

    Attributes:
        blob: a safetensors file.
        where: what to call it in an error.
        names: of the tensors; None for all.
    """

    blob: Blob
    where: str
    names: Collection[str] | None = None


def headers(place: Place, wanted: Collection[Wanted]) -> dict[str, Entry]:
    """The tensors of blobs as their headers tell of them, without their numbers.

    Raises:
        StoreError: the place refused, or a blob is damaged.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda one: _header(place, one)[1], wanted))
    return {name: entry for entries in found for name, entry in entries.items()}


def arrays(place: Place, wanted: Collection[Wanted], *, verify: bool) -> dict[str, ndarray]:
    """The tensors that are wanted.

    Args:
        place: where the blobs are.
        wanted: what of each blob.
        verify: fetch whole blobs and hash them.

    Raises:
        StoreError: the place refused, or a blob is damaged.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        whole = [one for one in wanted if verify or one.names is None or one.blob.size <= _WHOLE]
        parts = [one for one in wanted if one not in whole]
        coming = [pool.submit(_whole, place, one, verify=verify) for one in whole]
        heads = list(pool.map(lambda one: _header(place, one), parts))
        spans = [span for one, head in zip(parts, heads, strict=True) for span in _spans(one, *head)]
        pieces = pool.map(lambda span: span.fetch(place), spans)
        found = {name: array for piece in pieces for name, array in piece.items()}
        for future in coming:
            found |= future.result()
    return found


@dataclass(frozen=True, slots=True)
class _Span:
    """Neighboring tensors of one blob, and those of its bytes that are there already."""

    wanted: Wanted
    entries: Mapping[str, Entry]
    head: bytes

    def fetch(self, place: Place) -> dict[str, ndarray]:
        first = min(entry.begin for entry in self.entries.values())
        last = max(entry.end for entry in self.entries.values())
        if last <= len(self.head):
            return {name: encodings.array(entry, self.head) for name, entry in self.entries.items()}
        content = _range(place, self.wanted, first, last)
        return {name: encodings.array(entry, content, first) for name, entry in self.entries.items()}


def _spans(wanted: Wanted, head: bytes, entries: Mapping[str, Entry]) -> Iterator[_Span]:
    together: dict[str, Entry] = {}
    end = 0
    for name, entry in entries.items():
        if wanted.names is not None and name not in wanted.names:
            continue
        if together and entry.begin - end > _GAP:
            yield _Span(wanted, together, head)
            together = {}
        together[name] = entry
        end = entry.end
    if together:
        yield _Span(wanted, together, head)


def _whole(place: Place, wanted: Wanted, *, verify: bool) -> dict[str, ndarray]:
    content = place.get(wanted.blob.digest)
    if len(content) != wanted.blob.size or (verify and not matches(content, wanted.blob)):
        raise _damaged(place, wanted)
    return tensors.read(content, wanted.where, wanted.names)


def _header(place: Place, wanted: Wanted) -> tuple[bytes, dict[str, Entry]]:
    """The beginning of a blob and what it tells."""
    size = wanted.blob.size
    head = _range(place, wanted, 0, min(_HEAD, size))
    start = tensors.length(head, size, wanted.where)
    if start > len(head):
        head += _range(place, wanted, len(head), start)
    return head, tensors.entries(head, size, wanted.where)


def _range(place: Place, wanted: Wanted, start: int, stop: int) -> bytes:
    content = place.range(wanted.blob.digest, start, stop)
    if len(content) != stop - start:
        raise _damaged(place, wanted)
    return content


def _damaged(place: Place, wanted: Wanted) -> StoreError:
    return StoreError(f"{wanted.where} ({wanted.blob.digest}) is damaged in {place.url}; run engram verify")
