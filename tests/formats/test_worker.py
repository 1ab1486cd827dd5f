"""What happens in the process that may crash."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from engram.errors import ConversionError, FormatError
from engram.formats._worker import Bounds, asked, asked_pieces

seen: list[str] = []
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


def remembers(said, arrays):
    seen.append(said["word"])
    return {"seen": seen, "nursery": os.getppid()}, {}


def leaves(said, arrays):
    """Start a process that outlives its parent, unless somebody ends it."""
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    return {"child": child}, {}


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
        "gaps": np.array(["a", None, 1.5], dtype=object),
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


def alive(process: int) -> bool:
    """Whether a process runs; one that is dead and not yet buried does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends(process: int) -> bool:
    """Whether a process is gone within some seconds."""
    until = time.monotonic() + 20
    while alive(process) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(process)


def test_images_of_several_sizes_come_back_as_they_went():
    images = np.empty(3, dtype=object)
    images[:] = [np.full(shape, 7, np.uint8) for shape in [(2, 3, 3), (4, 4, 3), (1, 1, 3)]]
    _, found = answered("back", {}, {"images": images, "after": np.arange(3)})
    assert [one.shape for one in found["images"]] == [(2, 3, 3), (4, 4, 3), (1, 1, 3)]
    assert all((one == 7).all() for one in found["images"])
    assert found["after"].tolist() == [0, 1, 2]


def test_every_question_has_a_process_that_nobody_asked_before():
    first, _ = answered("remembers", {"word": "one"})
    second, _ = answered("remembers", {"word": "two"})
    assert (first["seen"], second["seen"]) == (["one"], ["two"])
    assert first["nursery"] == second["nursery"] != os.getpid()


def test_a_nursery_that_was_ended_is_started_again():
    first, _ = answered("remembers", {"word": "one"})
    os.kill(first["nursery"], signal.SIGKILL)
    assert ends(first["nursery"])
    assert answered("remembers", {"word": "two"})[0]["nursery"] != first["nursery"]


def test_what_a_worker_started_ends_with_it():
    assert ends(answered("leaves")[0]["child"])


def test_threads_ask_at_the_same_time():
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda word: answered("remembers", {"word": word})[0]["seen"], "abcdef"))
    assert found == [[word] for word in "abcdef"]


def test_a_nursery_ends_with_whoever_started_it_and_leaves_nothing_behind(tmp_path: Path):
    asking = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from engram.formats._worker import asked
print(asked("formats.test_worker:remembers", {{"word": "one"}})[0]["nursery"], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    told = subprocess.run(
        [sys.executable, "-c", asking], env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, check=False
    )
    assert ends(int(told.stdout))
    assert list(tmp_path.iterdir()) == []


def test_a_forked_process_has_nurseries_of_its_own():
    first, _ = answered("remembers", {"word": "one"})
    child = os.fork()
    if not child:
        other = answered("remembers", {"word": "two"})[0]["nursery"]
        os._exit(int(other == first["nursery"]))
    assert os.waitpid(child, 0)[1] == 0
    assert answered("remembers", {"word": "three"})[0]["nursery"] == first["nursery"]
