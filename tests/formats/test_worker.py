"""What happens in the process that may crash."""

import os
import signal
import socket
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from engram.errors import ConversionError, FormatError
from engram.formats._worker import Bounds, asked, asked_pieces

SMALL = Bounds(memory=600_000_000, seconds=1, written=1_000_000)


def back(said, arrays):
    return said, arrays


def refuses(said, arrays):
    raise ConversionError("the target has no Erf")


def breaks(said, arrays):
    raise KeyError("a name")


def crashes(said, arrays):
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(said, arrays):
    while True:
        pass


def sleeps(said, arrays):
    time.sleep(60)


def grows(said, arrays):
    return {}, {"a": np.ones(2_000_000_000, np.uint8)}


def writes(said, arrays):
    Path("large").write_bytes(bytes(2_000_000))


def calls(said, arrays):
    with socket.create_connection(("127.0.0.1", said["port"]), timeout=5):
        return {}, {}


def tells(said, arrays):
    return {"home": os.environ["HOME"], "secret": os.environ.get("ENGRAM_PASSWORD", "")}, {}


def counts(said, arrays):
    if "stop" in arrays:
        raise ConversionError("the second batch is too long")
    return {}, {"process": np.array(os.getpid()), "x/y": arrays["x/y"] * said["by"]}


def answered(name: str, said=None, arrays=None, bounds=SMALL):
    return asked(f"formats.test_worker:{name}", said or {}, arrays, bounds=bounds)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))


def test_values_and_arrays_come_back_as_they_went():
    arrays = {
        "numbers": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
        "none": np.zeros((0, 3), np.int64),
        "one": np.array(2.5),
        "brain": np.array([1.5, -0.0], ml_dtypes.bfloat16),
        "words": np.array([["a", "naïve 東京"]], dtype=object),
        "yes": np.array([True, False]),
    }
    said, found = answered("back", {"a": [1, {"b": None}]}, arrays)
    assert said == {"a": [1, {"b": None}]}
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype
        assert found[name].tolist() == array.tolist()


def test_several_batches_are_answered_in_one_process():
    pieces = [{"x/y": np.arange(rows, dtype=np.float32)} for rows in (1, 7, 0, *range(1, 10))]
    found = asked_pieces("formats.test_worker:counts", {"by": 3}, pieces, bounds=SMALL)
    assert [answers["x/y"].tolist() for answers in found] == [(piece["x/y"] * 3).tolist() for piece in pieces]
    assert len({int(answers["process"]) for answers in found}) == 1
    assert int(found[0]["process"]) != os.getpid()


def test_an_error_over_one_batch_is_that_of_all():
    with pytest.raises(ConversionError, match=r"^the second batch is too long$"):
        asked_pieces("formats.test_worker:counts", {"by": 3}, [{"x/y": np.ones(1)}, {"stop": np.ones(1)}])


def test_an_error_comes_back_as_it_was_raised():
    with pytest.raises(ConversionError, match=r"^the target has no Erf$"):
        answered("refuses")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("breaks", "failed .*KeyError: 'a name'"),
        ("crashes", "crashed .SIGSEGV."),
        ("hangs", "took more than 1 s"),
        ("sleeps", "took more than 1 s"),
        ("grows", "more memory than is allowed"),
        ("writes", "crashed .SIGXFSZ.|failed .*File too large"),
    ],
)
def test_what_goes_wrong_there_is_a_typed_error_here(name: str, reason: str):
    with pytest.raises(FormatError, match=reason):
        answered(name)


def test_a_worker_reaches_no_network():
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(FormatError, match="failed"):
        answered("calls", {"port": server.getsockname()[1]})


def test_a_worker_sees_nothing_of_the_users(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ENGRAM_PASSWORD", "open sesame")
    said, _ = answered("tells")
    assert said["secret"] == ""
    assert said["home"] != str(Path.home())
    assert not Path(said["home"]).exists()
