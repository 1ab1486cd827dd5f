"""What a real server process does with what the usual stack takes badly, over a socket where httpx is too kind."""

import json
import socket
import threading
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

JSON_HEAD = b"Host: x\r\nContent-Type: application/json\r\n"


def connect(url):
    parts = urlsplit(url)
    return closing(socket.create_connection((parts.hostname, parts.port), timeout=20))


def until_closed(connection):
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            found += piece
    return found


def one_answer(connection):
    """Status and content of one answer of a connection that stays open."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(65_536)
    head, _, content = found.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(content) < length:
        content += connection.recv(65_536)
    return int(head.split()[1]), json.loads(content)


def said(answer, status):
    """The sentence of an answer that was read to its end."""
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode(), answer
    return json.loads(content)["error"]


def memory(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1024


@pytest.mark.parametrize(
    "body",
    [
        b'{"area": NaN}',
        b'{"area": 1e999}',
        b'{"area": 1, "area": 2}',
        '{"area": 1}'.encode("utf-16"),
        b'{"area": "\\ud800"}',
        b"[" * 1_000_000,
        b'{"area": 1' + b"0" * 5000 + b"}",
    ],
)
def test_a_body_that_is_not_strict_json_is_refused(client, body):
    answer = client.post("/models/rent/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]


def test_a_body_announced_as_too_large_is_refused_before_it_is_sent(server):
    with connect(server[1]) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\n" + JSON_HEAD + b"Content-Length: 200000000\r\n\r\n")
        sentence = said(until_closed(connection), 413)
    assert "200,000,000" in sentence
    assert "16,777,216" in sentence


def test_a_body_without_a_length_is_refused_while_it_arrives(server):
    before = memory(server[0])
    piece = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    with connect(server[1]) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\n" + JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(200):
                connection.sendall(piece)
            pytest.fail("the server took 200 MB")
        said(until_closed(connection), 413)
    assert memory(server[0]) - before < 64 * 2**20


def test_a_body_is_taken_up_to_its_limit_and_not_one_byte_further(start):
    row = b'{"area": 50}'
    with start("body=64") as (_, url), connect(url) as connection:
        for size, status in ((64, 200), (65, 413)):
            head = b"POST /models/rent/predict HTTP/1.1\r\n" + JSON_HEAD + b"Content-Length: %d\r\n\r\n" % size
            connection.sendall(head + row.ljust(size))
            assert one_answer(connection)[0] == status


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        b"Content-Length: 2\r\nContent-Length: 2\r\n",
        b"Content-Length: 2\r\nContent-Length: 20\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: -2\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
    ],
)
def test_a_request_whose_end_can_be_read_in_two_ways_is_refused(server, lengths):
    with connect(server[1]) as connection:
        request = b"POST /models/rent/predict HTTP/1.1\r\n" + JSON_HEAD + lengths + b"\r\n"
        connection.sendall(request + b"2\r\n{}\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_half_open_connections_are_closed(start):
    with start("seconds=0.3") as (_, url):
        beginnings = [
            b"",
            b"POST /predict HTTP/1.1\r\nHost: x\r\n",
            b"POST /predict HTTP/1.1\r\n" + JSON_HEAD + b"Content-Length: 100\r\n\r\n{",
            b"\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal",
        ]
        for beginning in beginnings:
            with connect(url) as connection:
                with suppress(ConnectionError):
                    connection.sendall(beginning)
                answer = until_closed(connection)
            assert b"did not arrive within 0.3 s" in answer


def test_two_hundred_half_open_connections_keep_nobody_out(start):
    with start("seconds=2", "connections=300") as (_, url):
        parts = urlsplit(url)
        open_ones = [socket.create_connection((parts.hostname, parts.port), timeout=20) for _ in range(200)]
        for each in open_ones:
            each.sendall(b"POST /predict HTTP/1.1\r\nHost:")
        with connect(url) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one_answer(connection) == (200, {"status": "ok"})
        for each in open_ones:
            assert until_closed(each).startswith(b"HTTP/1.1 408 ")
            each.close()


def test_more_connections_than_allowed_are_told_to_come_later(start):
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with start("connections=2") as (_, url), connect(url) as first, connect(url) as second:
        for each in (first, second):
            each.sendall(request)
            assert one_answer(each)[0] == 200
        with connect(url) as third:
            third.sendall(request)
            assert "2 connections are open" in said(until_closed(third), 503)
        first.sendall(request)
        assert one_answer(first)[0] == 200


@pytest.mark.parametrize("head", [b"X: " + b"x" * 70_000, b"".join(b"X%d: y\r\n" % i for i in range(10_000))])
def test_headers_without_end_are_refused(server, head):
    with connect(server[1]) as connection:
        with suppress(ConnectionError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + head)
        assert "65,536 bytes" in said(until_closed(connection), 431)


@pytest.mark.parametrize(
    "path",
    [
        b"/v2/models/%2e%2e/ready",
        b"/v2/models/../models/income",
        b"/v2/models/..%2f..%2fetc%2fpasswd",
        b"/v2/models/income%00",
        b"/v2/models/income;x=1",
        b"/v2/models/income%3bx",
        b"/v2/models/a%5cb",
        b"/v2/models/%0d%0aX:y",
        b"/v2/models/./income",
    ],
)
def test_a_path_that_could_mean_two_things_is_refused(server, path):
    with connect(server[1]) as connection:
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        status, content = one_answer(connection)
    assert status == 400
    assert "plain path" in content["error"]


@pytest.mark.parametrize(
    "path", [b"/v2/models/%ff%fe", b"/v2/models/" + b"x" * 5000, "/v2/models/ü".encode(), b"//", b"*"]
)
def test_a_strange_path_is_refused(server, path):
    with connect(server[1]) as connection:
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = until_closed(connection)
    assert answer.split()[1] in {b"400", b"404"}


def test_a_redirect_is_never_made_from_the_host_a_stranger_names(client):
    answer = client.get("/healthz/", headers={"Host": "evil.example"})
    assert answer.status_code == 404
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
def test_what_is_not_http_is_answered_and_closed(server, client, noise):
    with connect(server[1]) as connection:
        connection.sendall(noise)
        assert until_closed(connection).startswith(b"HTTP/1.1 4")
    assert client.get("/healthz").status_code == 200


def test_requests_sent_in_one_go_are_answered_in_order(server):
    ready = b"GET /v2/models/%s/ready HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(server[1]) as connection:
        last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(ready % b"income" + ready % b"rent" + ready % b"colors" + last)
        answer = until_closed(connection)
    places = [answer.index(word) for word in (b'"income"', b'"rent"', b'"colors"', b'"ok"')]
    assert places == sorted(places)


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(server, client):
    for _ in range(20):
        with connect(server[1]) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\n" + JSON_HEAD + b'Content-Length: 500\r\n\r\n{"age": ')
    assert client.get("/healthz").status_code == 200


def test_many_clients_at_once_each_get_their_own_answer(client):
    wrong = []

    def ask(area):
        content = client.post("/models/rent/predict", json={"area": area}).json()
        if content["predictions"] != [{"value": 12.0 * area + 100}]:
            wrong.append((area, content))

    threads = [threading.Thread(target=ask, args=(area,)) for area in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_server_does_not_say_what_it_is_made_of(client):
    assert "server" not in client.get("/healthz").headers
