"""Object stores on this machine: moto, Azurite, a door that speaks Google's dialect, and s3rver, the bad example.

Each makes fresh buckets and tells the environment variables under which obstore finds it, the same that a user sets.
Google's XML interface is that of S3 with other names for a few headers, and no package registry has a server for it:
the door renames the headers, and moto does the work.
"""

import base64
import contextlib
import hashlib
import hmac
import itertools
import os
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from servers.processes import answers, free_port, program, running
from servers.proxy import Proxy, Request

# Azurite's own well-known account; it opens nothing but an Azurite.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Server:
    """An object store.

    Attributes:
        scheme: of its addresses: ``s3``, ``gs`` or ``az``.
        address: where it listens, ``http://127.0.0.1:…``.
        keys: the two halves of what a client must show; empty where the server asks nobody.
    """

    scheme: str
    address: str
    keys: tuple[str, str]

    def environment(self, address: str = "") -> Mapping[str, str]:
        """The variables under which obstore finds the server, or a proxy before it at another address."""
        at = address or self.address
        if self.scheme == "gs":
            return {"GOOGLE_BASE_URL": at, "GOOGLE_BEARER_TOKEN": "engram"}
        if self.scheme == "az":
            return {
                "AZURE_STORAGE_ENDPOINT": f"{at}/{ACCOUNT}",
                "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            }
        return {
            "AWS_ENDPOINT_URL": at,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": self.keys[0],
            "AWS_SECRET_ACCESS_KEY": self.keys[1],
            "AWS_REGION": "us-east-1",
        }

    def bucket(self) -> str:
        """A bucket that nobody used yet."""
        name = f"bucket-{os.getpid()}-{next(_NUMBERS)}"
        if self.scheme == "az":
            _azure(self.address, "PUT", f"/{name}?restype=container")
        else:
            self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> Any:
        """Amazon's own client, for a look that does not go through the code under test."""
        import boto3

        key, secret = self.keys
        return boto3.client(
            "s3",
            endpoint_url=self.keys[1] if self.scheme == "gs" else self.address,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
        )

    def names(self, bucket: str) -> list[str]:
        """The names of all objects in a bucket, sorted."""
        if self.scheme == "az":
            listed = _azure(self.address, "GET", f"/{bucket}?comp=list&restype=container").decode()
            return sorted(part.partition("</Name>")[0] for part in listed.split("<Name>")[1:])
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))

    def unfinished(self, bucket: str) -> list[str]:
        """The names of uploads that were begun and neither completed nor aborted; Azure drops them by itself."""
        if self.scheme == "az":
            return []
        uploads = self.client().list_multipart_uploads(Bucket=bucket).get("Uploads", ())
        return sorted(upload["Key"] for upload in uploads)


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[Server]:
    """Amazon S3 as moto answers it, in memory."""
    port = free_port()
    program("moto_server")
    command = [sys.executable, str(Path(__file__).with_name("amazon.py")), str(port)]
    with running(command, lambda: answers(port), folder / "moto.log"):
        yield Server("s3", f"http://127.0.0.1:{port}", ("engram", "engram-secret"))


@contextlib.contextmanager
def s3rver(folder: Path) -> Iterator[Server]:
    """An S3 server that ignores ``If-None-Match``."""
    port = free_port()
    place = ["--directory", str(folder / "s3rver"), "--address", "127.0.0.1", "--port", str(port)]
    (folder / "s3rver").mkdir()
    with running([program("s3rver"), *place], lambda: answers(port), folder / "s3rver.log"):
        yield Server("s3", f"http://127.0.0.1:{port}", ("S3RVER", "S3RVER"))


@contextlib.contextmanager
def azurite(folder: Path) -> Iterator[Server]:
    """Azure Blob Storage as Microsoft's emulator answers it, in memory."""
    port = free_port()
    place = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    quiet = ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    with running([program("azurite-blob"), *place, *quiet], lambda: answers(port), folder / "azurite.log", cwd=folder):
        yield Server("az", f"http://127.0.0.1:{port}", (ACCOUNT, KEY))


@contextlib.contextmanager
def google(s3: Server) -> Iterator[Server]:
    """Google Cloud Storage's XML interface, with an S3 server behind it."""
    with Proxy(s3.address, before=_to_amazon, after=_to_google) as door:
        yield Server("gs", door.url, ("engram", s3.address))


def _to_amazon(request: Request) -> None:
    path, mark, query = request.path.partition("?")
    request.path = quote(unquote(path)) + mark + query  # Google's client escapes slashes and hyphens too
    for name in [name for name in request.headers if name.startswith("x-goog-")]:
        value = request.headers.pop(name)
        if name == "x-goog-if-generation-match":
            request.headers |= {"if-none-match": "*"} if value == "0" else {"if-match": value}
        else:
            request.headers[name.replace("x-goog-", "x-amz-", 1)] = value


def _to_google(headers: dict[str, str]) -> None:
    for name in [name for name in headers if name.startswith("x-amz-")]:
        headers[name.replace("x-amz-", "x-goog-", 1)] = headers.pop(name)
    if "etag" in headers:
        headers["x-goog-generation"] = headers["etag"]


def _azure(address: str, method: str, path: str) -> bytes:
    """A request with Azure's shared key, as its documentation describes."""
    now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    told = {"x-ms-date": now, "x-ms-version": "2021-08-06"}
    query = sorted(item.replace("=", ":", 1) for item in urlsplit(path).query.split("&"))
    resource = "\n".join([f"/{ACCOUNT}/{ACCOUNT}{urlsplit(path).path}", *query])
    text = "\n".join([method, *[""] * 11, *[f"{name}:{value}" for name, value in told.items()], resource])
    mark = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)).decode()
    request = urllib.request.Request(f"{address}/{ACCOUNT}{path}", method=method, headers=told)
    request.add_header("Authorization", f"SharedKey {ACCOUNT}:{mark}")
    request.add_unredirected_header("Content-Length", "0")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())
