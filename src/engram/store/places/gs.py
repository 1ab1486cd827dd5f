"""Google Cloud Storage by its XML interface, which is the one that obstore writes to."""

from __future__ import annotations

from obstore.store import GCSStore

from engram.store.places._bucket import PATIENCE, Bucket, Patience
from engram.store.places._objects import Objects, address
from engram.store.places._refusals import Kind

__all__ = ["open"]

_KIND = Kind(
    bucket="bucket",
    keys="GOOGLE_APPLICATION_CREDENTIALS",
    endpoint="GOOGLE_BASE_URL",
    region="correct the address with --store",
)


def open(url: str, patience: Patience = PATIENCE) -> Objects:  # noqa: A001 - the word of the shelf's contract
    """The place that ``gs://bucket/prefix`` names; nothing is asked of the server yet.

    Raises:
        UsageError: the URL names no bucket.
        StoreError: the environment holds nothing that obstore could connect with.
    """
    bucket, prefix = address(url)

    def connect() -> GCSStore:
        return GCSStore(bucket, prefix=prefix or None, client_options=patience.client(), retry_config=patience.retry())

    return Objects(Bucket(url.rstrip("/"), _KIND, connect, patience))
