"""The only door to ``model_signing``: the library signs a folder, and is told the digests of one that never was.

It takes long to import, so this file is imported by the one function that signs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from model_signing import hashing, manifest, signing
from model_signing._hashing.hashing import Digest

from engram.errors import StoreError

__all__ = ["sign"]


class _Known(hashing.Config):
    """Answers with digests that are known already when it is asked to hash a folder."""

    def __init__(self, files: Mapping[str, str], name: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._files = files
        self._name = name

    def hash(
        self,
        model_path: hashing.PathLike,  # noqa: ARG002 - the library passes it
        *,
        files_to_hash: Iterable[hashing.PathLike] | None = None,  # noqa: ARG002 - likewise
    ) -> manifest.Manifest:
        """The manifest of the files that this was made with; the path is not looked at."""
        how = manifest.SerializationType.from_args({"method": "files", "hash_type": "sha256", "allow_symlinks": False})
        items = [
            manifest.FileManifestItem(path=PurePosixPath(path), digest=Digest("sha256", bytes.fromhex(digest[7:])))
            for path, digest in self._files.items()
        ]
        return manifest.Manifest(self._name, items, how)


def sign(files: Mapping[str, str], name: str, private: Path, password: bytes | None) -> bytes:
    """The bundle over files.

    Args:
        files: path → digest.
        name: of the model, written into the bundle.
        private: file of the private key.
        password: of that file.

    Raises:
        StoreError: the system has no room for a temporary file.
    """
    # The library hands the password on to one that takes bytes, whatever its own annotation says.
    config = signing.Config()  # type: ignore[no-untyped-call]
    keyed = config.use_elliptic_key_signer(private_key=private, password=password)  # type: ignore[arg-type]
    try:
        with TemporaryDirectory(prefix="engram-") as folder:
            written = Path(folder, "bundle.json")
            keyed.set_hashing_config(_Known(files, name)).sign(folder, written)
            return written.read_bytes()
    except OSError as refused:
        reason = (refused.strerror or str(refused)).lower()
        raise StoreError(f"the signature of {name} has no temporary place: {reason}; free some space") from refused
