"""The life of a server process: its port, its start and its end."""

import signal
import socket
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest

from engram.errors import UsageError
from engram.serving.server import bind

ROW = b'{"area": 50}'


def address(url):
    parts = urlsplit(url)
    return parts.hostname, parts.port


def test_port_zero_picks_a_free_port_and_the_callback_learns_it(server):
    host, port = address(server[1])
    assert host == "127.0.0.1"
    assert port > 0
    assert httpx.get(f"{server[1]}/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize("option", [None, socket.SO_REUSEPORT, socket.SO_REUSEADDR])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_is_noticed_even_where_it_could_be_shared(option, host):
    with closing(socket.socket()) as foreign:
        if option is not None:
            foreign.setsockopt(socket.SOL_SOCKET, option, 1)
        foreign.bind((host, 0))
        foreign.listen()
        port = foreign.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} on 127.0.0.1 is in use"):
            bind("127.0.0.1", port)


def test_nobody_can_share_the_port_of_a_server(server):
    with closing(socket.socket()) as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            foreign.bind(address(server[1]))


def test_a_port_is_free_again_after_its_server(start):
    with start() as (process, url):
        assert httpx.get(f"{url}/healthz").status_code == 200
        process.terminate()
        process.wait(20)
    bind(*address(url)).close()


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("127.0.0.1", 70_000, "port 70000 does not exist"),
        ("127.0.0.1", -1, "port -1 does not exist"),
        ("192.0.2.1", 0, "'192.0.2.1' is not an address of this machine"),
        ("not a host", 0, "'not a host' is not an address"),
        ("a" * 300, 0, "is not an address"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused_with_the_next_step(host, port, reason):
    with pytest.raises(UsageError, match=reason):
        bind(host, port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_stops_as_if_it_had_succeeded(start, number):
    with start() as (process, url):
        assert httpx.get(f"{url}/healthz").status_code == 200
        process.send_signal(number)
        assert process.wait(20) == 0


def test_a_request_in_flight_is_answered_after_sigterm_and_new_ones_are_not(start):
    with start() as (process, url), closing(socket.create_connection(address(url), timeout=20)) as connection:
        head = b"POST /models/rent/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(ROW))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # the door waits for the body
        process.send_signal(signal.SIGTERM)
        while True:
            try:
                socket.create_connection(address(url), timeout=20).close()
            except ConnectionError:
                break
        connection.sendall(ROW)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'{"value":700.0}' in answer
        assert process.wait(20) == 0


def test_a_connection_that_waits_does_not_hold_up_the_end(start):
    with start() as (process, url), httpx.Client() as client:
        assert client.get(f"{url}/healthz").status_code == 200  # and its connection stays open
        with closing(socket.create_connection(address(url))):
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
