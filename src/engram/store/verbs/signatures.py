"""Signing versions, and demanding that what is loaded was signed by somebody who is trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engram.errors import UsageError
from engram.store import given, manifests, references
from engram.store.files import Files
from engram.store.manifests import Manifest
from engram.store.signatures import bundles, keys, signing, trust
from engram.store.signatures.keys import Key
from engram.store.verbs._opened import Opened

__all__ = ["Signatures", "Signed"]


@dataclass(frozen=True, slots=True)
class Signed:
    """That a key vouches for a version.

    Attributes:
        reference: to the version, ``income:7``.
        digest: of the version.
        key: that vouches for it.
    """

    reference: str
    digest: str
    key: Key


class Signatures(Opened):
    """The verbs about signatures and the keys that are trusted."""

    def sign(self, reference: str, key: str | Path, *, password: str = "") -> Signed:
        """Sign a version with a private key, offline; the signature is kept beside the version, which stays as it is.

        Args:
            reference: to the version.
            key: PEM file of a private key on P-256, P-384 or P-521.
            password: of that file, where it has one.

        Raises:
            UsageError: the key cannot be used.
            VersionNotFound: there is no such version.
            StoreError: the version is damaged, or the store cannot be written.
            MissingLibrary: the extra ``sign`` is not installed.
        """
        manifest, name = self._signable(reference)
        signer, bundle = signing.sign(
            manifest, name, given.file(key, "the key"), given.text(password, "password", "that of the key")
        )
        self._plain.write(trust.document(manifest.digest, signer.id), bundle)
        return Signed(name, manifest.digest, signer)

    def attach(self, reference: str, bundle: str | Path, key: str | Path) -> Signed:
        """Keep a signature that another program made over the files of a version.

        Args:
            reference: to the version.
            bundle: file of OpenSSF Model Signing v1.0.
            key: PEM file of the public key that it must be good for.

        Raises:
            UsageError: a file cannot be read, or there is no public key in it.
            VersionNotFound: there is no such version.
            StoreError: the signature is not one of these files by this key.
            MissingLibrary: the extra ``sign`` is not installed.
        """
        manifest, name = self._signable(reference)
        signer, content = keys.public(keys.read(key), str(key)), bundles.read(bundle)
        signing.check(manifest, content, signer, str(bundle))
        self._plain.write(trust.document(manifest.digest, signer.id), content)
        return Signed(name, manifest.digest, signer)

    def signatures(self, reference: str) -> list[str]:
        """The ids of the keys under which signatures of a version are kept, sorted; none of them is checked here."""
        return sorted(trust.signatures(self._plain, self._digest(reference)))

    def verify_signature(
        self,
        reference: str,
        key: str | Path = "",
        tell: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Signed:
        """See that a version is signed, and hash every file of it.

        Args:
            reference: to the version.
            key: PEM file of a public key; empty takes those that are trusted.
            tell: called with the files hashed so far and in all.

        Raises:
            ConditionNotMet: no such key has signed it.
            StoreError: a file was changed, added, removed or renamed; it is named. Or the signature is forged.
            UsageError: the key cannot be used, or none is given and none is trusted.
            VersionNotFound: there is no such version.
            MissingLibrary: the extra ``sign`` is not installed.
        """
        allowed = self._allowed(key)
        manifest, name = self._signable(reference)
        signer = trust.vouching(self._plain, manifest, allowed, name)
        trust.named(Files(self._place, manifest, name), name)
        signing.examine(self._place, manifest, name, tell)
        return Signed(name, manifest.digest, signer)

    def trust(self, key: str | Path) -> Key:
        """Demand a signature by this key, or by another that is trusted, of every version that is loaded from now on.

        Args:
            key: PEM file of a public key.

        Raises:
            UsageError: there is no public key in it.
            StoreError: the store cannot be written.
            MissingLibrary: the extra ``sign`` is not installed.
        """
        found = keys.public(keys.read(key), str(key))
        self._plain.prepare()
        self._trust.add(found)
        return found

    def trusted(self) -> list[Key]:
        """The keys by one of which a version must be signed to be loaded, by id; none where none is demanded."""
        return [key for _, key in sorted(self._trust.keys().items())]

    def distrust(self, identity: str) -> str:
        """Take a key back that was trusted; without any, versions are loaded unsigned again.

        Args:
            identity: the beginning of its id, at least eight digits.

        Returns:
            Its id.

        Raises:
            UsageError: it is the beginning of no key's id, or of several.
        """
        return self._trust.remove(given.text(identity, "the key", "the beginning of its id"))

    def _signable(self, reference: str) -> tuple[Manifest, str]:
        """The manifest of a version and its full name."""
        with self._reading() as connection:
            row = references.resolve(connection, reference)
        return manifests.read(self._place, row.digest), f"{row.name}:{row.number}"

    def _allowed(self, key: str | Path) -> dict[str, Key]:
        if key:
            found = keys.public(keys.read(key), str(key))
            return {found.id: found}
        trusted = self._trust.keys()
        if not trusted:
            raise UsageError(f"no key is trusted in {self.url}; name one with --key, or trust it: engram trust KEY.pem")
        return trusted
