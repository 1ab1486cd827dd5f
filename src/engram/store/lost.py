"""Versions that were kept here and that nobody can read any more, written down in the place itself.

A catalog made anew from the manifests cannot know a version whose manifest is damaged or gone. Passed over in silence,
its number would be given to another version and a sweep would free what it needs, just when a copy of its manifest in
another store could still bring it back. So each leaves a document, ``lost/DIGEST.json``, until it is repaired or its
owner says that it may be forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from engram.errors import StoreError, UsageError
from engram.store import documents, manifests, references
from engram.store.places._contract import Place, check_digest

__all__ = ["Lost", "every", "forget", "found", "note", "testified"]

_STEM = "lost/"
_INDEX = "index.json"
_TITLE, _VERSION = "org.opencontainers.image.title", "org.opencontainers.image.version"
_REFERENCE = "org.opencontainers.image.ref.name"
_LARGEST = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Lost:
    """A version that was kept and cannot be read.

    Attributes:
        digest: of its manifest.
        name: of the network; empty where nothing tells it any more.
        number: within the name; 0 where nothing tells it.
    """

    digest: str
    name: str = ""
    number: int = 0

    @property
    def called(self) -> str:
        """What people call it, as far as that is known."""
        return f"{self.name}:{self.number}" if self.name and self.number else self.digest


def every(place: Place) -> list[Lost]:
    """Those that are written down.

    Raises:
        StoreError: the place refuses, or such a document is damaged.
    """
    found = []
    for document in place.documents(_STEM):
        said = documents.decode(place.document(document), f"{document} in {place.url}")
        try:
            found.append(Lost(str(said["digest"]), str(said["name"]), int(said["number"])))
        except (KeyError, TypeError, ValueError) as wrong:
            raise StoreError(
                f"{document} in {place.url} is not about a lost version: {wrong!r}; remove it to forget that version"
            ) from wrong
    return found


def note(place: Place, lost: Lost) -> None:
    """Write one down.

    Raises:
        StoreError: the place refuses.
    """
    said = {"digest": lost.digest, "name": lost.name, "number": lost.number}
    place.write(_document(lost.digest), documents.encode(said, "a lost version"))


def forget(place: Place, digest: str) -> None:
    """Say no more of one, because it is there again or nobody wants it.

    Raises:
        StoreError: the place refuses.
    """
    place.remove(_document(digest))


def testified(place: Place) -> dict[str, Lost]:
    """The versions of which ``index.json`` says that they were kept, by digest; empty where there is no such file."""
    try:
        listed = json.loads(place.document(_INDEX, most=_LARGEST))["manifests"]
    except (StoreError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    found = dict[str, Lost]()
    for entry in listed if isinstance(listed, list) else ():
        with suppress(KeyError, TypeError, AttributeError, ValueError, StoreError):
            name, _, number = manifests.uncalled(entry["annotations"]["org.opencontainers.image.ref.name"]).partition(
                ":"
            )
            if number.isdigit():
                digest = f"sha256:{check_digest(entry['digest'])}"
                found[digest] = Lost(digest, name, int(number))
    return found


def found(place: Place, digest: str) -> Lost:
    """What the damaged manifest of a version still says of itself, to be believed no further than a message goes."""
    with suppress(StoreError, UsageError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        said: Mapping[str, str] = json.loads(place.get(digest))["annotations"]
        return Lost(digest, references.check_name(said[_TITLE]), int(said[_VERSION]))
    return Lost(digest)


def _document(digest: str) -> str:
    return f"{_STEM}{check_digest(digest)}.json"
