"""Signatures over the files of a version, as bundles of OpenSSF Model Signing v1.0.

What is signed is path → SHA-256 of every file, which the manifest knows already, so that signing reads no weights. The
library ``model_signing`` signs. Checking is done here with the ``cryptography`` beneath it, because the library's own
needs copies of bundle and key on a disk, imports clients of cloud services, and where a signature does not fit goes on
to try an older way of encoding. The tests hold every answer against the library's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from engram.errors import StoreError, UsageError
from engram.store import objects
from engram.store.manifests import Manifest
from engram.store.places._contract import Place
from engram.store.signatures import bundles, keys
from engram.store.signatures.bundles import Bundle
from engram.store.signatures.keys import Key

__all__ = ["check", "examine", "glance", "sign"]

_HASHES = {"P-256": "SHA256", "P-384": "SHA384", "P-521": "SHA512"}
_SHOWN = 3


def sign(manifest: Manifest, name: str, private: Path, password: str = "") -> tuple[Key, bytes]:
    """Sign the files of a version.

    Args:
        manifest: of the version.
        name: of the version, for those who look into the bundle.
        private: file of the private key, PEM.
        password: of that file; not looked at where the file has none.

    Returns:
        The public key that belongs to the private one, and the bundle.

    Raises:
        UsageError: the key cannot be used, or the files are too many for one bundle.
        StoreError: the system has no room for a temporary file.
        MissingLibrary: the extra ``sign`` is not installed.
    """
    content = keys.read(private)
    key = keys.secret(content, password, str(private))
    try:
        from engram.store.signatures import signer
    except ModuleNotFoundError as missing:
        raise keys.absent(missing) from missing
    files = {path: blob.digest for path, blob in manifest.files.items()}
    bundle = signer.sign(files, name, private, password.encode() if keys.protected(content) else None)
    if len(bundle) > bundles.LARGEST:
        raise UsageError(
            f"{name} has {len(files):,} files, which make a signature of {len(bundle):,} bytes, more than the "
            f"{bundles.LARGEST:,} that are read back; keep it with fewer"
        )
    check(manifest, bundle, key, f"the new signature of {name}")
    return key, bundle


def check(manifest: Manifest, content: bytes, key: Key, where: str) -> None:
    """See that a bundle is a key's signature over exactly the files of a manifest; their bytes are not read.

    Args:
        manifest: of the version, verified.
        content: of the bundle.
        key: whose signature it must be.
        where: what to call the bundle in an error.

    Raises:
        StoreError: it is not; the message says which files differ.
        MissingLibrary: the extra ``sign`` is not installed.
    """
    bundle = bundles.parse(content, where)
    _signed(bundle, key, where)
    _fits(bundle, manifest, where)


def glance(manifest: Manifest, content: bytes, where: str) -> None:
    """See that a bundle is one for exactly the files of a manifest, as far as that can be told without a key.

    Raises:
        StoreError: it is not.
    """
    _fits(bundles.parse(content, where), manifest, where)


def _fits(bundle: Bundle, manifest: Manifest, where: str) -> None:
    differences = _differences(bundle.files, {path: blob.digest for path, blob in manifest.files.items()})
    if differences:
        more = [f"and {len(differences) - _SHOWN} more"] if len(differences) > _SHOWN else []
        shown = "; ".join([*differences[:_SHOWN], *more])
        raise StoreError(f"{where} is for other files: {shown}; take the version that was signed, or sign this one")


def examine(place: Place, manifest: Manifest, name: str, tell: Callable[[int, int], None]) -> None:
    """Hash every file of a version.

    Args:
        place: where its blobs are.
        manifest: of the version.
        name: of the version, for errors.
        tell: called with the files hashed so far and in all.

    Raises:
        StoreError: the bytes of a file are not those of its digest; it is named.
    """
    for done, (path, blob) in enumerate(manifest.files.items()):
        tell(done, len(manifest.files))
        if not objects.matches(place.map(blob.digest), blob):
            raise StoreError(f"{path!r} of {name} ({blob.digest}) is damaged in {place.url}; run engram verify")
    tell(len(manifest.files), len(manifest.files))


def _signed(bundle: Bundle, key: Key, where: str) -> None:
    """See that the key signed the payload as DSSE demands: with its type and its length.

    Raises:
        StoreError: it did not.
    """
    if bundle.hint not in {"", key.id}:
        raise StoreError(f"{where} was made with the key {bundle.hint[:64]!r} and not with {key.id}; give that one")
    public = key.loaded()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    said = f"DSSEv1 {len(bundles.PAYLOAD)} {bundles.PAYLOAD} {len(bundle.payload)} ".encode() + bundle.payload
    try:
        public.verify(bundle.signature, said, ECDSA(getattr(hashes, _HASHES[key.curve])()))
    except InvalidSignature as wrong:
        raise StoreError(f"{where} is forged or damaged: {key.id} did not sign what it says; sign it anew") from wrong


def _differences(signed: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What happened to each file since it was signed, in words."""
    gone = {path: digest for path, digest in signed.items() if path not in found}
    new = {digest: path for path, digest in found.items() if path not in signed}
    renamed = {path: new[digest] for path, digest in gone.items() if digest in new}
    said = [f"{path!r} is not what was signed" for path in signed if path in found and found[path] != signed[path]]
    said += [f"{path!r} was renamed to {to!r}" for path, to in renamed.items()]
    said += [f"{path!r} was signed but is not there" for path in gone if path not in renamed]
    added = [path for path in found if path not in signed and path not in renamed.values()]
    return said + [f"{path!r} was not signed" for path in added]
