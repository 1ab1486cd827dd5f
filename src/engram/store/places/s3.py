"""Amazon S3 and the servers that speak its language: MinIO, Ceph, R2 and others.

Each upload carries the SHA-256 of its bytes, so that a server which knows of checksums refuses what was damaged on
the way.
"""

from __future__ import annotations

from obstore.store import S3Store

from engram.store.places._bucket import PATIENCE, Bucket, Patience
from engram.store.places._objects import Objects, address
from engram.store.places._refusals import Kind

__all__ = ["open"]

_KIND = Kind(
    bucket="bucket",
    keys="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    endpoint="AWS_ENDPOINT_URL",
    region="set AWS_REGION",
)


def open(url: str, patience: Patience = PATIENCE) -> Objects:  # noqa: A001 - the word of the shelf's contract
    """The place that ``s3://bucket/prefix`` names; nothing is asked of the server yet.

    Raises:
        UsageError: the URL names no bucket.
        StoreError: the environment holds nothing that obstore could connect with.
    """
    bucket, prefix = address(url)

    def connect() -> S3Store:
        return S3Store(
            bucket,
            prefix=prefix or None,
            checksum_algorithm="SHA256",
            disable_bulk_delete=True,  # one object is removed at a time, and not every server knows the other way
            client_options=patience.client(),
            retry_config=patience.retry(),
        )

    return Objects(Bucket(url.rstrip("/"), _KIND, connect, patience))
