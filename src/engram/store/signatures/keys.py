"""Keys of signatures, as PEM files: which are taken, and by what name a key is known.

The three curves are those of OpenSSF Model Signing. A key is known by the SHA-256 of its PEM, as bundles name it, so
that the same key has the same name whatever tool wrote it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engram.errors import MissingLibrary, UsageError
from engram.store import given

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

__all__ = ["Key", "absent", "protected", "public", "read", "secret"]

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_LARGEST = 65_536
_MAKE = "make one with openssl ecparam -name prime256v1 -genkey -noout -out private.pem"
_PUBLIC = "write the public one with openssl ec -in private.pem -pubout -out public.pem"


@dataclass(frozen=True, slots=True)
class Key:
    """A public key.

    Attributes:
        id: hexadecimal SHA-256 of its PEM.
        curve: ``P-256``, ``P-384`` or ``P-521``.
        pem: as it is written to a file.
    """

    id: str
    curve: str
    pem: bytes = field(repr=False)

    def loaded(self) -> EllipticCurvePublicKey:
        """The key as ``cryptography`` works with it."""
        return _loaded(self.pem, self.id)


def read(path: str | Path) -> bytes:
    """The bytes of a key file.

    Raises:
        UsageError: it cannot be read, or is larger than any key.
    """
    try:
        with given.file(path, "the key").open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as refused:
        reason = (refused.strerror or str(refused)).lower()
        raise UsageError(f"the key {str(path)!r} cannot be read: {reason}; give the path of a PEM file") from refused
    if len(content) > _LARGEST:
        raise UsageError(f"the key {str(path)!r} has more than {_LARGEST:,} bytes, so it is none; give a PEM file")
    return content


def public(content: bytes, where: str) -> Key:
    """The public key in a PEM file.

    Raises:
        UsageError: there is none on one of the three curves; a private key is not taken in its place.
        MissingLibrary: the extra ``sign`` is not installed.
    """
    return _described(_loaded(content, where), where)


def secret(content: bytes, password: str, where: str) -> Key:
    """The public half of the private key in a PEM file, once that is known to be usable.

    Args:
        content: of the file.
        password: of the file; not looked at where it has none.
        where: what to call it in an error.

    Raises:
        UsageError: there is none on one of the three curves, or the password is missing or wrong.
        MissingLibrary: the extra ``sign`` is not installed.
    """
    if protected(content) and not password:
        raise UsageError(f"{where} is protected by a password; give it in ENGRAM_PASSWORD")
    return _described(_opened(content, password.encode() if protected(content) else None, where).public_key(), where)


def protected(content: bytes) -> bool:
    """Whether the private key in a PEM file cannot be used without its password."""
    return b"ENCRYPTED" in content


def absent(missing: ModuleNotFoundError) -> MissingLibrary:
    """What to say where the libraries of signatures are not installed."""
    return MissingLibrary(f"signatures need {missing.name}, which is not installed; pip install 'engram[sign]'")


def _loaded(content: bytes, where: str) -> EllipticCurvePublicKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ModuleNotFoundError as missing:
        raise absent(missing) from missing
    if b"PRIVATE KEY" in content:
        raise UsageError(f"{where} holds a private key where a public one is wanted; {_PUBLIC}")
    try:
        found = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as wrong:
        raise UsageError(f"{where} is not a public key in PEM; {_PUBLIC}") from wrong
    if not isinstance(found, EllipticCurvePublicKey):
        raise UsageError(f"{where} is not an elliptic-curve key, the only kind that is taken; {_MAKE}")
    return found


def _opened(content: bytes, password: bytes | None, where: str) -> EllipticCurvePrivateKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ModuleNotFoundError as missing:
        raise absent(missing) from missing
    try:
        found = load_pem_private_key(content, password)
    except (TypeError, ValueError, UnsupportedAlgorithm) as wrong:
        why = "cannot be opened with this password" if password else "is not a private key in PEM"
        raise UsageError(f"{where} {why}; {'give another in ENGRAM_PASSWORD' if password else _MAKE}") from wrong
    if not isinstance(found, EllipticCurvePrivateKey):
        raise UsageError(f"{where} is not an elliptic-curve key, the only kind that is taken; {_MAKE}")
    return found


def _described(key: EllipticCurvePublicKey, where: str) -> Key:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if key.curve.name not in _CURVES:
        known = ", ".join(_CURVES.values())
        raise UsageError(f"{where} is a key on the curve {key.curve.name}, which is none of {known}; {_MAKE}")
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Key(hashlib.sha256(pem).hexdigest(), _CURVES[key.curve.name], pem)
