"""The signatures that lie in a store, looked at as a whole: which of them are not what they should be.

Whoever looks after a store need not have anybody's key. That a bundle can be read and is for the files of its version
can be told without one; that the key really signed it, only where the store itself holds the key as one it trusts.
"""

from __future__ import annotations

import re

from sqlalchemy import Connection

from engram.errors import EngramError, MissingLibrary, StoreError
from engram.store import manifests
from engram.store.manifests import Manifest
from engram.store.moves import history
from engram.store.places._contract import Place
from engram.store.signatures import signing
from engram.store.signatures.keys import Key
from engram.store.signatures.trust import Trust
from engram.store.verify import Damage

__all__ = ["damaged"]

_FOLDER = "signatures/"
_NAME = re.compile(r"signatures/([0-9a-f]{64})/([0-9a-f]+)\.json")


def damaged(connection: Connection, place: Place, trust: Trust) -> list[Damage]:
    """The signatures of versions, and the trusted keys, that are not what they should be.

    Args:
        connection: to the catalog.
        place: of the store.
        trust: of the store; where a key of it made a signature, that is checked to the end.

    Raises:
        StoreError: the place refuses.
    """
    there = [(name, match) for name in place.documents(_FOLDER) if (match := _NAME.fullmatch(name))]
    called = history.named(connection, {f"sha256:{match[1]}" for _, match in there})
    keys, found = _keys(trust)
    for name, match in there:
        digest = f"sha256:{match[1]}"
        fault = _fault(place, digest, name, keys.get(match[2])) if digest in called else ""
        if fault:
            found.append(Damage(name, fault, (called[digest],), "signature"))
    return found


def _keys(trust: Trust) -> tuple[dict[str, Key], list[Damage]]:
    """The trusted keys by id, and what is wrong with them."""
    try:
        return trust.keys(), []
    except MissingLibrary:
        return {}, []
    except EngramError as wrong:
        return {}, [Damage("trust/", str(wrong), (), "signature")]


def _fault(place: Place, digest: str, name: str, key: Key | None) -> str:
    try:
        manifest = manifests.read(place, digest)
    except StoreError:
        return ""  # what is wrong with it is said of the blob itself
    return _wrong(place, manifest, name, key)


def _wrong(place: Place, manifest: Manifest, name: str, key: Key | None) -> str:
    try:
        content = place.document(name)
        signing.glance(manifest, content, "it")
        if key is not None:
            signing.check(manifest, content, key, "it")
    except MissingLibrary:
        return ""
    except StoreError as wrong:
        return str(wrong)
    return ""
