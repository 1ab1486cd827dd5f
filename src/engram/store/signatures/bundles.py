"""Reading a signature that a stranger may have written: a bundle of OpenSSF Model Signing v1.0.

JSON in base64 in JSON, each layer taken apart strictly before anything of it is used. What the reference
implementation still accepts for the sake of its early releases (another predicate, a name that stands twice) is refused
here, because a signature that can be read in two ways protects neither.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from engram.errors import StoreError, UsageError
from engram.store import given

__all__ = ["LARGEST", "PAYLOAD", "Bundle", "parse", "read"]

T = TypeVar("T")

LARGEST = 16_000_000
"""Bytes of a bundle that is still read; one takes about 300 for each file it vouches for."""

PAYLOAD = "application/vnd.in-toto+json"
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_SPARSE = 50  # bytes of a bundle for each object or list in it, at the least; a file has more than 150
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle says; nothing of it is to be believed before the signature has been checked.

    Attributes:
        hint: id of the key that signed; empty where the bundle does not say.
        payload: the bytes that were signed.
        signature: of the payload, ASN.1.
        files: path → digest, as signed.
    """

    hint: str
    payload: bytes
    signature: bytes
    files: Mapping[str, str]


def read(path: str | Path) -> bytes:
    """The bytes of a file with a bundle; of one that is too large only so many as show that.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with given.file(path, "the signature").open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as refused:
        reason = (refused.strerror or str(refused)).lower()
        raise UsageError(f"the signature {path} cannot be read: {reason}; give the path of a bundle") from refused


def parse(content: bytes, where: str) -> Bundle:
    """A bundle, taken apart.

    Args:
        content: of the file.
        where: what to call it in an error.

    Raises:
        StoreError: it is not a bundle of OpenSSF Model Signing v1.0 made with a key, over whole files and SHA-256.
    """
    found = _json(content, where)
    _exactly(found, "mediaType", _BUNDLE, where)
    material = _part(found, "verificationMaterial", dict, where)
    envelope = _part(found, "dsseEnvelope", dict, where)
    _exactly(envelope, "payloadType", PAYLOAD, where)
    payload = _base64(_part(envelope, "payload", str, where), "payload", where)
    signature = _part(_only(_part(envelope, "signatures", list, where), "signatures", where), "sig", str, where)
    files = _files(_json(payload, where), where)
    return Bundle(_hint(material, where), payload, _base64(signature, "sig", where), files)


def _hint(material: Mapping[str, Any], where: str) -> str:
    """Old signers put the key itself where its fingerprint belongs; neither is trusted, so that is no loss."""
    key = _part(material, "publicKey", dict, where)
    return _part(key, "hint", str, where) if key.get("hint") is not None else ""


def _files(statement: object, where: str) -> dict[str, str]:
    """What a statement vouches for, once all it says agrees with itself."""
    _exactly(statement, "_type", _STATEMENT, where)
    _exactly(statement, "predicateType", _PREDICATE, where)
    predicate = _part(statement, "predicate", dict, where)
    method = _part(predicate, "serialization", dict, where)
    _exactly(method, "method", "files", where)
    _exactly(method, "hash_type", "sha256", where)
    files: dict[str, str] = {}
    for resource in _part(predicate, "resources", list, where):
        name, digest = _resource(resource, where)
        if name in files:
            raise _refused(where, f"it names the file {_short(name)} twice")
        files[name] = f"sha256:{digest}"
    if not files:
        raise _refused(where, "it vouches for no file")
    subject = _only(_part(statement, "subject", list, where), "subject", where)
    _exactly(_part(subject, "digest", dict, where), "sha256", _root(files), where)
    return files


def _resource(resource: object, where: str) -> tuple[str, str]:
    name, digest = _part(resource, "name", str, where), _part(resource, "digest", str, where)
    _exactly(resource, "algorithm", "sha256", where)
    if not _HEX.fullmatch(digest):
        raise _refused(where, f"the digest of {_short(name)} is not 64 hexadecimal digits")
    if "\\" in name or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise _refused(where, f"the file name {_short(name)} is not a plain path inside a folder")
    return name, digest


def _root(files: Mapping[str, str]) -> str:
    """The digest of all digests, in the order in which the files are listed."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest[7:]) for digest in files.values())).hexdigest()


def _json(content: bytes, where: str) -> Any:  # noqa: ANN401 - any JSON value
    if len(content) > LARGEST:
        raise _refused(where, f"it has {len(content):,} bytes, more than the {LARGEST:,} that are read")
    if content.count(b"{") + content.count(b"[") > 100 + len(content) // _SPARSE:
        raise _refused(where, "it nests more than any bundle does, at a high price in memory")
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as wrong:
        raise _refused(where, f"it is not JSON ({_short(str(wrong))})") from wrong


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _part(holder: object, key: str, kind: type[T], where: str) -> T:
    value = holder.get(key) if isinstance(holder, dict) else None
    if type(value) is not kind:
        raise _refused(where, f"its {key} is {'missing' if value is None else 'not what it should be'}")
    return value


def _exactly(holder: object, key: str, wanted: str, where: str) -> None:
    if (found := _part(holder, key, str, where)) != wanted:
        raise _refused(where, f"its {key} is {_short(found)} and not {wanted!r}")


def _only(found: Sequence[Any], key: str, where: str) -> object:
    if len(found) != 1:
        raise _refused(where, f"its {key} has {len(found)} entries and not one")
    return found[0]


def _base64(text: str, key: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as wrong:
        raise _refused(where, f"its {key} is not base64") from wrong


def _short(text: str) -> str:
    """Text of a stranger, safe to show."""
    return repr(text if len(text) <= 100 else f"{text[:100]}…")


def _refused(where: str, why: str) -> StoreError:
    return StoreError(
        f"{where} is not a signature of OpenSSF Model Signing v1.0 by a key: {why}; sign the version anew"
    )
