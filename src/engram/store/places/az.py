"""Azure Blob Storage; what others call a bucket is a container there."""

from __future__ import annotations

from obstore.store import AzureStore

from engram.store.places._bucket import PATIENCE, Bucket, Patience
from engram.store.places._objects import Objects, address
from engram.store.places._refusals import Kind

__all__ = ["open"]

_KIND = Kind(
    bucket="container",
    keys="AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    endpoint="AZURE_STORAGE_ENDPOINT",
    region="correct the address with --store",
)


def open(url: str, patience: Patience = PATIENCE) -> Objects:  # noqa: A001 - the word of the shelf's contract
    """The place that ``az://container/prefix`` names; nothing is asked of the server yet.

    Raises:
        UsageError: the URL names no container.
        StoreError: the environment holds nothing that obstore could connect with.
    """
    bucket, prefix = address(url)

    def connect() -> AzureStore:
        return AzureStore(
            bucket, prefix=prefix or None, client_options=patience.client(), retry_config=patience.retry()
        )

    return Objects(Bucket(url.rstrip("/"), _KIND, connect, patience))
