"""The smaller parts of the lifecycle, each by itself."""

import os
import signal
import threading

import numpy as np
import pytest

from engram.errors import StoreError, UsageError
from engram.lifecycle.shown import readable, written
from engram.lifecycle.stopping import halting
from engram.lifecycle.whole import whole, write


def test_moments_are_written_as_dates_and_with_times_where_one_has_a_time():
    assert written(np.array([0.0, np.nan, 86_400.0])).tolist() == ["1970-01-01", "", "1970-01-02"]
    assert written(np.array([3_661.0, np.nan])).tolist() == ["1970-01-01T01:01:01", ""]
    assert written(np.array([-86_400.0])).tolist() == ["1969-12-31"]
    assert written(np.array([])).tolist() == []


def test_only_dates_are_written_out():
    taken = readable(lambda rows: {"day": rows * 86_400.0, "x": rows * 1.5}, {"day"})(np.array([0, 2]))
    assert taken["day"].tolist() == ["1970-01-01", "1970-01-03"]
    assert taken["x"].tolist() == [0.0, 3.0]


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    write(path, "old", "advice")
    with pytest.raises(UnicodeEncodeError), whole(path, "advice") as file:
        file.write("half" * 10_000 + "\ud800")
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_of_ours_inside_keeps_its_own_words(tmp_path):
    with pytest.raises(StoreError, match="of ours"), whole(tmp_path / "a.txt", "advice"):
        raise StoreError("of ours")


@pytest.mark.parametrize("name", ["none/a.txt", "file/a.txt"])
def test_a_folder_that_is_none_is_said_with_what_to_do(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"a\.txt cannot be written: .*; go elsewhere"):
        write(tmp_path / name, "text", "go elsewhere")


def test_ctrl_c_is_asked_for_and_the_second_stops_at_once():
    heard = []
    before = signal.getsignal(signal.SIGINT)
    with halting(lambda: heard.append("once")) as halt:
        assert not halt()
        os.kill(os.getpid(), signal.SIGINT)
        assert halt()
        assert heard == ["once"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_no_signal_is_touched():
    seen = []

    def work():
        with halting() as halt:
            seen.append(halt())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
