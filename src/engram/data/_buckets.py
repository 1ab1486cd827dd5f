"""Objects of a bucket as files of this machine, for every source that reads files: S3, Google and Azure by obstore.

They are fetched whole before they are read. Training needs all of their rows many times, a reader of files then needs
to know nothing of networks, and what was learned from has a digest that ``sha256sum`` gives as well.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import from_url

from engram.errors import DataError, UsageError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

__all__ = ["fetched"]

_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_PIECE = 8 << 20
_CLIENT: ClientConfig = {
    "allow_http": True,
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=60),
    "timeout": timedelta(minutes=30),
}
_RETRY: RetryConfig = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2},
}
_WILD = re.compile(r"[*?\[]")


def fetched(url: str) -> list[Path]:
    """The objects that a URL names, as files; a prefix becomes a folder, a pattern all that it matches.

    Args:
        url: ``s3://BUCKET/FILE``, ``…/FOLDER`` or ``…/year=*/part-*.parquet``; credentials are those of the
            environment, as the provider's own tools want them.

    Raises:
        DataError: nothing is there, or the server cannot be reached or refuses.
        UsageError: the URL names no bucket or no object.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    path = path.strip("/")
    if not bucket or not path or {"..", "."} & {*path.split("/")}:
        raise UsageError(f"{url!r} names no object; write {scheme}://BUCKET/FILE or {scheme}://BUCKET/FOLDER")
    try:
        store = from_url(f"{scheme}://{bucket}", client_options=_CLIENT, retry_config=_RETRY)
        names = _names(store, path)
        if not names:
            raise DataError(f"{url}: no such object, and none below it; check the address")
        folder = Path(tempfile.mkdtemp(dir=_shelf().name))
        files = [_fetch(store, name, folder) for name in names]
    except (BaseError, FileNotFoundError) as refused:
        raise DataError(f"{url} cannot be read: {_reason(scheme, refused)}") from None
    return files if _WILD.search(path) or names == [path] else [folder / path]


@cache
def _shelf() -> tempfile.TemporaryDirectory[str]:
    """Where objects lie until this process ends: a source may read a file more than once, and late."""
    return tempfile.TemporaryDirectory(prefix="engram-data-")


def _names(store: ObjectStore, path: str) -> list[str]:
    """The object itself, or those that a pattern matches, or all below a prefix; sorted."""
    wild = _WILD.search(path)
    if wild:
        start = path[: wild.start()].rpartition("/")[0]
        return sorted(name for name in _listed(store, start) if _matches(name, path))
    try:
        return [obstore.head(store, path)["path"]]
    except FileNotFoundError:
        return sorted(_listed(store, path))


def _matches(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern in which a star does not reach beyond a slash."""
    pieces, wanted = name.split("/"), pattern.split("/")
    return len(pieces) == len(wanted) and all(map(fnmatchcase, pieces, wanted))


def _listed(store: ObjectStore, prefix: str) -> Iterable[str]:
    for some in obstore.list(store, prefix or None):
        yield from (one["path"] for one in some if one["size"])


def _fetch(store: ObjectStore, name: str, folder: Path) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"object {name!r} has a name that leads out of its folder; rename it")
    path.parent.mkdir(parents=True, exist_ok=True)
    got = obstore.get(store, name)
    with path.open("wb") as file:
        for piece in got.stream(min_chunk_size=_PIECE):
            file.write(piece)
    if path.stat().st_size != got.meta["size"]:
        raise DataError(f"object {name!r} came with {path.stat().st_size:,} of {got.meta['size']:,} bytes; try again")
    return path


def _reason(scheme: str, refused: BaseException) -> str:
    said, keys = str(refused), _KEYS[scheme]
    if isinstance(refused, (PermissionDeniedError, UnauthenticatedError)) or "AuthenticationFailed" in said:
        return f"the server refuses the credentials; check {keys}"
    if re.search(r"169\.254\.|metadata\.google|Missing(?:SecretAccessKey|AccessKeyId|Account)|TokenRequest", said):
        return f"there are no credentials; set {keys}"
    if isinstance(refused, FileNotFoundError) or "status code: 404" in said:
        return "there is no such bucket or object; check the address"
    if re.search(r"kind: (?:Connect|Timeout)|TimedOut", said):
        return "the server cannot be reached; check the address and the network"
    return f"{' '.join(said.split())[:200]}; check the address and {keys}"
