"""Object stores that refuse, fail and mislead: the right answer or a sentence, and nothing half done."""

import base64
import hashlib
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest

from engram.errors import StoreError, UsageError
from engram.store import places
from engram.store.places._bucket import Patience
from engram.store.store import open as open_store
from servers.processes import free_port
from servers.proxy import FAULTS, Proxy

SHORT = Patience(connect=2, stall=1, request=10, retries=3)  # outlasts a fault in one request
SHORTER = Patience(connect=2, stall=0.2, request=10, retries=0.5)  # for what fails anyway
LARGE = np.random.default_rng(0).bytes((8 << 20) + 5)
SERVERS = {"s3": "moto", "gs": "google", "az": "azurite"}


def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def open_place(url, patience=SHORT):
    return places.SHELF.take(places.kind(url)).open(url, patience)


def parts(server, bucket):
    """Parts of uploads that were begun and not ended: what an owner would pay for."""
    client = server.client()
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
    found = (client.list_parts(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]) for upload in uploads)
    return [part for listed in found for part in listed.get("Parts", ())]


@pytest.fixture
def answering(monkeypatch, moto):
    """A place whose server answers everything with one status and one code."""
    with ExitStack() as open_servers:

        def make(status, code):
            class Answer(BaseHTTPRequestHandler):
                def answer(self):
                    self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    body = f"<Error><Code>{code}</Code></Error>".encode()
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body if self.command != "HEAD" else b"")

                do_GET = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815 - the words of http.server

                def log_message(self, *_):
                    pass

            server = open_servers.enter_context(HTTPServer(("127.0.0.1", 0), Answer))
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            open_servers.callback(server.shutdown)
            for variable, value in moto.environment(f"http://127.0.0.1:{server.server_port}").items():
                monkeypatch.setenv(variable, value)
            return open_place("s3://bucket", SHORTER)

        yield make


class Stood:
    """A place behind a proxy that misbehaves, and the same place seen directly."""

    def __init__(self, moto, proxy, bucket):
        self.proxy, self.server, self.bucket = proxy, moto, bucket
        url = f"s3://{bucket}/networks"
        self.place, self.hasty = open_place(url), open_place(url, SHORTER)
        for place in (self.place, self.hasty):
            place.prepare()
            place.conditional()
        with pytest.MonkeyPatch.context() as environment:
            for variable, value in moto.environment().items():
                environment.setenv(variable, value)
            self.direct = open_place(url)

    def whole(self):
        """Every blob is what its name says, and no upload waits for its end."""
        for name, size in self.direct.list():
            content = self.direct.get(name)
            assert (digest(content), len(content)) == (name, size)
        assert parts(self.server, self.bucket) == []


@pytest.fixture
def stood(moto, proxy):
    return Stood(moto, proxy, moto.bucket())


@pytest.fixture(scope="module")
def read_only(moto):
    """A bucket with a large blob and a document."""
    name = moto.bucket()
    key = f"networks/blobs/sha256/{digest(LARGE).removeprefix('sha256:')}"
    moto.client().put_object(Bucket=name, Key=key, Body=LARGE)
    moto.client().put_object(Bucket=name, Key="networks/history/1", Body=b"first" * 100)
    return name


@pytest.fixture
def library(moto, proxy, read_only):
    return Stood(moto, proxy, read_only)


READS = {
    "get": lambda place: place.get(digest(LARGE)),
    "map": lambda place: place.map(digest(LARGE)),
    "pieces": lambda place: b"".join(place.pieces(digest(LARGE))),
    "range": lambda place: place.range(digest(LARGE), 100, len(LARGE) - 1),
    "missing": lambda place: place.missing({digest(LARGE): len(LARGE), digest(b"no"): 1}),
    "list": lambda place: list(place.list()),
    "documents": lambda place: place.documents("history/"),
    "top": lambda place: place.documents("oci"),
    "document": lambda place: place.document("history/1"),
    "exists": lambda place: place.exists(),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_in_one_request_does_not_reach_the_reader(library, kind):
    for read in READS.values():
        expected = read(library.direct)
        for number in (1, 2):
            with library.proxy.faulty(kind, on=frozenset({number})):
                assert read(library.place) == expected


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_that_stays_is_told_in_a_sentence(library, kind):
    for name, read in READS.items():
        expected = read(library.direct)
        with library.proxy.faulty(kind):
            if kind in {"half", "stall-half"} and name in {"missing", "exists"}:  # an empty answer has no half
                assert read(library.hasty) == expected
            else:
                with pytest.raises(StoreError, match=r"^the store cannot \w+ s3://\S+: [^;\n]+; [^;\n]+$"):
                    read(library.hasty)
        assert read(library.place) == expected


@pytest.mark.parametrize("kind", FAULTS)
def test_a_write_through_a_fault_is_whole_or_refused_and_whole(stood, kind):
    for number in range(1, 8):
        content = LARGE + bytes([number])
        with stood.proxy.faulty(kind, on=frozenset({number})):
            for blob in (content, content[-1000:]):
                try:
                    stood.place.put(digest(blob), [memoryview(blob)])
                except StoreError:
                    continue
                assert stood.direct.get(digest(blob)) == blob
        stood.whole()


@pytest.mark.parametrize("kind", FAULTS)
def test_an_upload_whose_every_part_fails_leaves_nothing(stood, kind):
    with stood.proxy.faulty(kind, methods=frozenset({"PUT"})):
        if kind in {"half", "stall-half"}:  # the answer to a part has no body
            stood.place.put(digest(LARGE), [memoryview(LARGE)])
        else:
            with pytest.raises(StoreError, match="cannot write"):
                stood.hasty.put(digest(LARGE), [memoryview(LARGE)])
            assert list(stood.direct.list()) == []
    stood.whole()


@pytest.mark.parametrize("kind", FAULTS)
def test_a_document_is_created_once_whatever_became_of_the_answer(stood, kind):
    for number in (1, 2, 3):
        name = f"history/{kind}-{number}"
        with stood.proxy.faulty(kind, on=frozenset({1} if number < 3 else {1, 2})):
            try:
                made = stood.place.create(name, b"mine")
            except StoreError:
                continue
        assert made
        assert stood.direct.document(name) == b"mine"
        assert not stood.place.create(name, b"mine")


@pytest.mark.parametrize("kind", FAULTS)
def test_a_document_is_replaced_through_a_fault_or_as_it_was(stood, kind):
    stood.place.write("index.json", b"old" * 100)
    for number in (1, 2, 3):
        new = f"new {number}".encode() * 100
        before = stood.direct.document("index.json")
        with stood.proxy.faulty(kind, on=frozenset({number})):
            try:
                stood.place.write("index.json", new)
                assert stood.direct.document("index.json") == new
            except StoreError:
                assert stood.direct.document("index.json") in {before, new}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_is_deleted_through_a_fault_is_gone(stood, kind):
    for number in (1, 2, 3):
        content = bytes([number]) * 1000
        stood.direct.put(digest(content), [memoryview(content)])
        with stood.proxy.faulty(kind, on=frozenset({number})):
            assert stood.place.delete(digest(content)) == 1000
            assert list(stood.direct.list()) == []


def test_a_network_that_often_fails_is_worked_through_or_told(stood):
    blobs = [np.random.default_rng(seed).bytes(2_000) for seed in range(40)]
    done = set()

    def keep(blob):
        try:
            stood.place.put(digest(blob), [memoryview(blob)])
            assert stood.place.get(digest(blob)) == blob
            done.add(digest(blob))
        except StoreError:
            pass

    for seed, kind in enumerate(("500", "503", "reset", "lost", "half")):
        with stood.proxy.faulty(kind, chance=0.3, seed=seed), ThreadPoolExecutor(4) as pool:
            list(pool.map(keep, blobs[seed * 8 : seed * 8 + 8]))
    assert len(done) > 20
    assert stood.direct.missing({digest(blob): len(blob) for blob in blobs if digest(blob) in done}) == set()
    stood.whole()


def test_an_answer_that_is_short_and_says_otherwise_is_refused(moto, monkeypatch):
    def boast(headers):
        if "content-range" in headers:
            headers["content-range"] = "bytes 0-999/1000"

    with Proxy(moto.address, after=boast) as liar:
        for variable, value in moto.environment(liar.url).items():
            monkeypatch.setenv(variable, value)
        place = open_place(f"s3://{moto.bucket()}")
        place.put(digest(b"abc"), [memoryview(b"abc")])
        with pytest.raises(StoreError, match=r"3 of 1000 bytes came"):
            place.get(digest(b"abc"))


def test_bytes_that_change_while_they_are_written_are_not_kept(bucket, moto):
    url = bucket("moto")
    place = open_place(url)
    for content in (b"abc", LARGE):
        place.put(digest(content), [memoryview(content)])
        with pytest.raises(StoreError, match="changed while it was written"):
            place.put(digest(content), [memoryview(content[:-1] + b"x")])
        assert place.get(digest(content)) == content
    assert moto.unfinished(url.removeprefix("s3://")) == []


def test_an_upload_carries_the_checksum_of_its_bytes(moto, proxy):
    place = open_place(f"s3://{moto.bucket()}")
    place.put(digest(b"abc"), [memoryview(b"abc")])
    sent = next(request for request in proxy.requests if request.method == "PUT")
    checksum = base64.b64decode(sent.headers["x-amz-checksum-sha256"])
    assert f"sha256:{checksum.hex()}" == digest(b"abc")


@pytest.mark.parametrize("name", ["moto", "google", "azurite"])
def test_a_server_that_keeps_conditions_is_relied_on(bucket, request, name):
    url = bucket(name)
    open_place(url).conditional()
    assert request.getfixturevalue(name).names(url.partition("://")[2]) == []


def test_a_server_that_ignores_conditions_is_refused(bucket, s3rver):
    url = bucket("s3rver")
    place = open_place(url)
    place.prepare()
    for do in (place.conditional, lambda: place.create("history/1", b"mine")):
        with pytest.raises(StoreError, match=r"ignores If-None-Match.*ENGRAM_CATALOG=postgresql://"):
            do()
    assert s3rver.names(url.removeprefix("s3://")) == ["index.json", "oci-layout"]


def test_a_server_that_ignores_conditions_still_holds_blobs(bucket):
    place = open_place(bucket("s3rver"))
    place.prepare()
    for content in (b"", b"abc", LARGE):
        place.put(digest(content), [memoryview(content)])
        assert place.get(digest(content)) == content
    assert place.delete(digest(b"abc")) == 3
    assert place.missing({digest(b""): 0, digest(b"abc"): 3, digest(LARGE): len(LARGE)}) == {digest(b"abc")}


@pytest.mark.parametrize("scheme", SERVERS)
def test_a_bucket_that_does_not_exist_is_named(bucket, scheme):
    bucket(SERVERS[scheme])
    place = open_place(f"{scheme}://nobody-made-this/networks")
    for do in (place.prepare, lambda: list(place.list()), lambda: place.create("history/1", b""), place.conditional):
        with pytest.raises(StoreError, match=rf"{scheme}://nobody-made-this/networks/.*does not exist; make it"):
            do()


def test_a_wrong_key_is_told(bucket, monkeypatch):
    url = bucket("azurite")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "AAAA" * 22)
    with pytest.raises(StoreError, match="does not accept the credentials; check AZURE_STORAGE_ACCOUNT_NAME"):
        open_place(url).write("index.json", b"")
    with pytest.raises(StoreError, match="access is denied; check AZURE_STORAGE_ACCOUNT_NAME"):
        open_place(url).exists()


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (401, "Unauthorized", "does not accept the credentials; check AWS_ACCESS_KEY_ID"),
        (403, "AccessDenied", "access is denied; check AWS_ACCESS_KEY_ID"),
        (403, "InvalidAccessKeyId", "does not accept the credentials; check AWS_ACCESS_KEY_ID"),
        (403, "ExpiredToken", "does not accept the credentials; check AWS_ACCESS_KEY_ID"),
        (301, "PermanentRedirect", "the bucket is in another region; set AWS_REGION"),
        (400, "AuthorizationHeaderMalformed", "the bucket is in another region; set AWS_REGION"),
        (400, "InvalidRequest", "the server answers 400 InvalidRequest; check the address and AWS_ENDPOINT_URL"),
        (501, "NotImplemented", "does not know how to; choose another server, or keep the catalog in PostgreSQL"),
        (503, "SlowDown", "the server answers 503 SlowDown again and again; try again when it has recovered"),
    ],
)
def test_what_a_server_answers_is_told_with_what_to_do(answering, status, code, told):
    place = answering(status, code)
    with pytest.raises(StoreError, match=f"the store cannot write s3://bucket/index.json: .*{re.escape(told)}"):
        place.write("index.json", b"")
    with pytest.raises(StoreError, match=re.escape(told)):
        place.create("history/1", b"")
    with pytest.raises(StoreError, match="the store cannot list s3://bucket/blobs/sha256: "):
        list(place.list())


@pytest.fixture
def nobody(monkeypatch, moto):
    """An address of this machine where nobody listens, as that of the server."""
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    for variable, value in moto.environment(f"http://127.0.0.1:{free_port()}").items():
        monkeypatch.setenv(variable, value)


@pytest.mark.usefixtures("nobody")
def test_a_server_that_is_not_there_is_told():
    told = (
        r"the store cannot read s3://bucket/oci-layout: the server cannot be reached \(connection refused\); check the"
    )
    with pytest.raises(StoreError, match=f"{told} network and AWS_ENDPOINT_URL"):
        open_place("s3://bucket", SHORTER).exists()


@pytest.mark.usefixtures("nobody")
def test_a_server_that_accepts_and_says_nothing_ends_in_a_sentence(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        place = open_place("s3://bucket", SHORTER)
        for do in (place.exists, place.prepare, place.conditional, lambda: place.write("index.json", b"")):
            with pytest.raises(StoreError, match="the server does not answer in time; check the network"):
                do()


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "nonsense", "http://"])
def test_an_endpoint_that_is_no_address_is_told(monkeypatch, endpoint):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL"):
        open_place("s3://bucket", SHORTER).exists()


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("left", [{}, {"AWS_ACCESS_KEY_ID": "engram"}])
def test_absent_credentials_are_told(monkeypatch, left):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        open_place("s3://bucket", SHORTER).prepare()


def test_absent_credentials_of_others_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "nowhere.json"))
    with pytest.raises(StoreError, match="there are no credentials; set GOOGLE_APPLICATION_CREDENTIALS"):
        open_place("gs://bucket").prepare()
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(StoreError, match="there are no credentials; set AZURE_STORAGE_ACCOUNT_NAME"):
        open_place("az://container").prepare()


@pytest.mark.parametrize(
    "rest", ["", "/", "/prefix", "bucket//prefix", "bucket/../up", "bucket/a?versions", "user@bucket/a", "bucket/a#b"]
)
@pytest.mark.parametrize("scheme", SERVERS)
def test_an_address_that_names_no_bucket_is_refused(scheme, rest):
    with pytest.raises(UsageError, match=rf"is not the address of a store; write {scheme}://BUCKET"):
        places.open(f"{scheme}://{rest}")


def test_stores_in_one_bucket_do_not_see_each_other(bucket):
    url = bucket("moto")
    one, two, all_of_it = open_place(f"{url}/one/"), open_place(f"{url}/on"), open_place(url)
    one.prepare()
    one.put(digest(b"abc"), [memoryview(b"abc")])
    assert one.url == f"{url}/one"
    assert (two.exists(), list(two.list()), all_of_it.exists(), list(all_of_it.list())) == (False, [], False, [])


def test_what_others_put_among_the_blobs_is_passed_over(bucket, moto):
    url = bucket("moto")
    for name in ("blobs/sha256/README", "blobs/sha256/more/things", "blobs/sha256/" + "A" * 64):
        moto.client().put_object(Bucket=url.removeprefix("s3://"), Key=name, Body=b"x")
    assert list(open_place(url).list()) == []


def test_more_blobs_than_a_page_holds_are_all_listed(bucket, moto):
    url = bucket("moto")
    names = [digest(str(number).encode()) for number in range(1050)]
    client = moto.client()

    def put(name):
        client.put_object(Bucket=url.removeprefix("s3://"), Key=f"blobs/sha256/{name[7:]}", Body=b"xy")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, names))
    assert sorted(open_place(url).list()) == sorted((name, 2) for name in names)


@pytest.mark.parametrize("scheme", SERVERS)
def test_a_store_in_a_bucket_keeps_and_loads(bucket, network, scheme, tmp_path):
    url = f"{bucket(SERVERS[scheme])}/networks"
    kept = open_store(url, who="ada", cache=tmp_path / "here").keep("income", network(3))
    elsewhere = open_store(url, who="bob", cache=tmp_path / "there")
    assert [version.digest for version in elsewhere.versions()] == [kept.digest]
    loaded = elsewhere.load("income", verify=True)
    for name, array in network(3).weights.items():
        np.testing.assert_array_equal(loaded.weights[name], array)


@pytest.mark.parametrize("kind", ["500", "half", "reset", "lost"])
def test_a_version_is_kept_through_a_fault_or_not_at_all(moto, proxy, network, kind, tmp_path):
    url = f"s3://{moto.bucket()}/networks"
    with pytest.MonkeyPatch.context() as environment:
        for variable, value in moto.environment().items():
            environment.setenv(variable, value)
        direct = open_store(url, who="bob", cache=tmp_path / "there")
    store, kept = open_store(url, who="ada", cache=tmp_path / "here"), []
    for number in range(1, 30, 4):
        with proxy.faulty(kind, on=frozenset({number, number + 1})):
            try:
                kept.append(store.keep("income", network(number)).digest)
            except StoreError:
                continue
    assert len(kept) > 4
    found = {version.digest: version for version in direct.versions()}
    assert set(kept) <= set(found)
    for version in found.values():
        assert len(direct.load(version.reference, verify=True).weights) == 3
