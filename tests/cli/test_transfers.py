"""``engram push`` and ``pull`` as a user sees them: what they say, on a terminal too, and what Ctrl-C leaves."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from engram.records import Model, Signature
from engram.store.store import open as open_store


@pytest.fixture
def kept(here):
    """A store with two versions of 2 MB each, in ``here/engrams``."""
    store = open_store(here / "engrams", who="ada")
    for seed in (1, 2):
        weights = {f"layer{n}": np.random.default_rng(10 * seed + n).standard_normal(50_000) for n in range(5)}
        store.keep("income", Model(b"", weights, Signature((), ())))
    return store


def test_a_push_and_a_pull_say_what_is_there_now(kept, here, engram):
    pushed = engram("push", here / "backup")
    assert pushed.code == 0
    assert re.search(r"backup has versions: income:1, income:2 \(4\.0 MB in \d+ blobs were missing\)", pushed.out)
    again = json.loads(engram("push", here / "backup", "--json").out)
    assert again == {
        "versions": ["income:1", "income:2"], "checkpoints": 0, "left_out": 0, "aliases": 0, "blobs": 0, "size": 0,
        "apart": [],
    }  # fmt: skip
    pulled = engram("pull", here / "backup", "income:1", "--store", here / "third")
    assert "this store has versions: income:1 (2.0 MB in" in pulled.out
    assert [version.reference for version in open_store(here / "third", who="ada").versions()] == ["income:1"]


def test_a_terminal_shows_bytes_their_speed_and_what_is_on_its_way(kept, here):
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "engram", "push", str(here / "backup")]
    with subprocess.Popen(command, stderr=terminal, env={**os.environ, "COLUMNS": "110"}) as process:
        os.close(terminal)
        seen = b""
        with suppress(OSError):  # which is how a terminal ends
            while piece := os.read(screen, 65_536):
                seen += piece
    os.close(screen)
    assert process.returncode == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    assert re.search(r"✓ reading .* 2/2 ", plain)
    assert re.search(r"✓ comparing .* \d+/\d+ ", plain)
    assert re.search(r"✓ moving .* 4\.0/4\.0 MB .*\d+\.\d MB/s .* income:2  (\d+)/\1 blobs", plain)


def test_ctrl_c_says_what_has_arrived_and_the_same_command_goes_on(kept, start, moto, proxy):
    """It is pressed while a blob of the second version is on its way to the server."""
    place, sent = f"s3://{moto.bucket()}/networks", []

    def before(request):
        if request.method == "PUT" and "/blobs/" in request.path:
            sent.append(request.path)
            if len(sent) == 15:
                process.send_signal(signal.SIGINT)

    proxy.before = before
    process = start("push", place)
    out, said = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert "Traceback" not in said
    assert "• stopping as soon as what is just on its way has arrived" in said
    assert re.search(
        rf"engram: stopped: {place} has 1 of 2 versions, each of them whole, after .* of 4\.0 MB; do", said
    )
    there = open_store(place, who="ada")
    assert [version.reference for version in there.versions()] == ["income:1"]
    assert there.verify() == []
    proxy.before = lambda _: None
    again = start("push", place)
    assert "has versions: income:1, income:2 (" in again.communicate()[0].replace("\n", " ")
    assert again.returncode == 0
    assert there.verify() == []
    assert len(there.versions()) == 2
