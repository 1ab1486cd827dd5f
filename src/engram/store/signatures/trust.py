"""Whose signatures a store demands before it hands out a version.

The keys stand in the store (``trust/…``), so that whoever opens it is protected without knowing of it. But who can
write the store can take them away, or add one of his own: a reader who names keys himself is therefore asked for by
those alone, and what stands in the store is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engram.errors import ConditionNotMet, StoreError, UsageError
from engram.store.files import Files
from engram.store.manifests import Manifest
from engram.store.places._contract import Place
from engram.store.signatures import keys, signing
from engram.store.signatures.keys import Key

__all__ = ["Trust", "document", "signatures"]

_FOLDER = "trust/"
_RECORD = "version.json"


def document(manifest: str, key: str = "") -> str:
    """The name of the document with a key's signature of a version, or what the names of all begin with."""
    folder = f"signatures/{manifest.removeprefix('sha256:')}/"
    return f"{folder}{key}.json" if key else folder


def signatures(place: Place, manifest: str) -> dict[str, str]:
    """The signatures of a version that are there, unchecked: id of the key → name of the document."""
    return {Path(name).stem: name for name in place.documents(document(manifest))}


class Trust:
    """The keys of one open store; those of the store itself are looked up once.

    Attributes:
        own: whether the reader named them.
    """

    def __init__(self, place: Place, files: Sequence[str | Path] = ()) -> None:
        self.own = bool(files)
        self._place = place
        self._files = tuple(files)
        self._keys: dict[str, Key] | None = None

    def keys(self) -> dict[str, Key]:
        """The keys by their ids; none where no signature is demanded.

        Raises:
            UsageError: a file that the reader named is no public key.
            StoreError: what stands in the store is none.
        """
        if self._keys is None:
            self._keys = self._named() if self.own else self._kept()
        return self._keys

    def add(self, key: Key) -> None:
        """Demand, from now on, signatures by this key or by one added before."""
        self._place.write(f"{_FOLDER}{key.id}.pem", key.pem)
        self._keys = None

    def remove(self, identity: str) -> str:
        """Take a key back.

        Args:
            identity: the beginning of its id, at least eight digits.

        Returns:
            Its id.

        Raises:
            UsageError: it is the beginning of no key's id, or of several.
        """
        names = self._place.documents(_FOLDER)
        ids = [name.removeprefix(_FOLDER).removesuffix(".pem") for name in names]
        found = [known for known in ids if len(identity) >= 8 and known.startswith(identity)]
        if len(found) != 1:
            raise UsageError(
                f"{identity!r} is the beginning of {len(found)} of the {len(ids)} trusted keys; give at least 8 digits "
                "of one that engram trust lists"
            )
        self._place.remove(f"{_FOLDER}{found[0]}.pem")
        self._keys = None
        return found[0]

    def demand(self, files: Files, manifest: Manifest, name: str) -> Key:
        """See that one of the keys signed a version, and that it was signed under this name.

        Raises:
            ConditionNotMet: none of them signed it.
            StoreError: there is a signature, but it is not for these files or for another version.
        """
        key = vouching(self._place, manifest, self.keys(), name)
        named(files, name)
        return key

    def _named(self) -> dict[str, Key]:
        found = [keys.public(keys.read(path), str(path)) for path in self._files]
        return {key.id: key for key in found}

    def _kept(self) -> dict[str, Key]:
        found = {}
        for name in self._place.documents(_FOLDER):
            where = f"{name} in {self._place.url}"
            try:
                key = keys.public(self._place.document(name), where)
            except UsageError as wrong:
                raise StoreError(f"the trusted key {where} is damaged: {wrong}") from wrong
            if name != f"{_FOLDER}{key.id}.pem":
                raise StoreError(f"the trusted key {where} is another, {key.id}; remove it and add the right one")
            found[key.id] = key
        return found


def vouching(place: Place, manifest: Manifest, allowed: Mapping[str, Key], name: str) -> Key:
    """The first of some keys that has signed a version.

    Raises:
        ConditionNotMet: none of them has.
        StoreError: there is a signature under the name of one, but none is good.
    """
    refused: StoreError | None = None
    there = signatures(place, manifest.digest)
    for identity in sorted(there.keys() & allowed.keys()):
        try:
            where = f"the signature of {name} by the key {identity[:12]}"
            signing.check(manifest, place.document(there[identity]), allowed[identity], where)
        except StoreError as wrong:
            refused = refused or wrong
        else:
            return allowed[identity]
    if refused is not None:
        raise refused
    has = f"only by {', '.join(known[:12] for known in sorted(there)[:4])}" if there else "by nobody"
    wanted = " or ".join(known[:12] for known in sorted(allowed)[:4])
    raise ConditionNotMet(f"{name} is signed {has} and not by {wanted}; engram sign {name} --key PRIVATE.pem signs it")


def named(files: Files, name: str) -> None:
    """See that a version's own record, which is signed, calls it what the catalog, which is not, does.

    Raises:
        StoreError: they differ.
    """
    record = files.document(_RECORD)
    said = f"{record.get('name')}:{record.get('number')}" if isinstance(record, dict) else "nothing"
    if said != name:
        raise StoreError(f"the catalog calls {name} what was signed as {said}; engram verify --rebuild puts it right")
