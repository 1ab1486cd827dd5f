"""The servers that other tests stand on do what those tests take for granted."""

import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg
import pytest

from servers.postgresql import postgresql
from servers.processes import answers
from servers.proxy import FAULTS, Proxy

CONTENT = b"0123456789" * 10


class Plain(BaseHTTPRequestHandler):
    """Answers everything with the same bytes and counts how often."""

    asked = 0

    def do_GET(self):
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture
def plain():
    handler = type("Counting", (Plain,), {})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        with Proxy(f"http://127.0.0.1:{server.server_port}") as between:
            yield between, handler
        server.shutdown()


def fetch(url, timeout=30):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read()


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_meets_the_request_it_was_set_for_and_no_other(plain, kind):
    between, handler = plain
    with between.faulty(kind, on=frozenset({2})) as fault:
        assert fetch(between.url) == CONTENT
        with pytest.raises((OSError, http.client.HTTPException)):
            fetch(between.url, timeout=1 if "stall" in kind else 30)
        assert fetch(between.url) == CONTENT
    assert fault.seen == 3
    assert [request.fault for request in between.requests] == ["", kind, ""]
    assert handler.asked == (3 if kind in {"half", "stall-half", "lost"} else 2)


def test_draws_of_faults_repeat_with_their_seed(plain):
    between, _ = plain

    def broken():
        between.requests.clear()
        with between.faulty("500", chance=0.5, seed=3):
            for _ in range(30):
                try:
                    fetch(between.url)
                except urllib.error.HTTPError as refused:
                    refused.close()
        return [bool(request.fault) for request in between.requests]

    assert broken() == broken()
    assert 5 < sum(broken()) < 25


def test_a_database_that_was_stopped_has_what_was_committed():
    with postgresql() as server:
        url = server.database("engram")
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE seen (number int)")
            connection.execute("INSERT INTO seen VALUES (7)")
        for mode in ("fast", "immediate", "kill"):
            server.stop(mode)
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(url, connect_timeout=2)
            server.start()
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT number FROM seen").fetchall() == [(7,)]
                assert connection.execute("SHOW fsync").fetchall() == [("on",)]


PROGRAM = """
import sys, time
from pathlib import Path
from servers.objects import moto
from servers.postgresql import postgresql
with moto(Path(sys.argv[1])) as objects, postgresql(Path(sys.argv[1])) as database:
    print(objects.address.rpartition(":")[2], database.port, flush=True)
    time.sleep(600)
"""


def test_servers_do_not_outlive_tests_that_are_killed():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the database runs as another user
        words = [sys.executable, "-c", PROGRAM, folder]
        there = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=there) as tests:
            ports = [int(port) for port in tests.stdout.readline().split()]
            assert len(ports) == 2
            assert all(answers(port) for port in ports)
            tests.kill()
        until = time.monotonic() + 60
        while any(answers(port) for port in ports) or list(Path(folder).glob("engram-postgresql-*")):
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.mark.parametrize("name", ["moto", "azurite", "google", "s3rver"])
def test_a_fresh_bucket_is_empty(bucket, request, name):
    url = bucket(name)
    assert request.getfixturevalue(name).names(url.partition("://")[2]) == []
