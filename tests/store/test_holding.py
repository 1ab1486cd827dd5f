"""One process trains a run, any number look whether one does, and neither is in the way of the other."""

import fcntl
import os
import signal
from contextlib import contextmanager

import pytest

from engram.errors import UsageError
from engram.store.training import holding
from faults.forks import forked, told

RUN = "income-1"


@contextmanager
def looking(folder):
    """A process that looks as often as it can, until it is ended."""

    def look(tell):
        tell("looking")
        while True:
            holding.is_held(folder, RUN)

    with forked(look) as (child, reader):
        try:
            assert os.read(reader, 100) == b'"looking"\n'
            yield
        finally:
            os.kill(child, signal.SIGKILL)


def test_who_begins_to_train_is_not_kept_out_by_those_who_look(tmp_path):
    with looking(tmp_path), looking(tmp_path):
        for _ in range(300):
            with holding.hold(tmp_path, RUN):
                pass


def test_whoever_looks_sees_a_process_that_trains_and_does_not_stop_it(tmp_path):
    assert not holding.is_held(tmp_path, RUN)

    def train(tell):
        with holding.hold(tmp_path, RUN):
            tell("holding")
            signal.pause()

    with forked(train) as (child, reader):
        assert os.read(reader, 100) == b'"holding"\n'
        assert all(holding.is_held(tmp_path, RUN) for _ in range(1000))
        assert not holding.is_held(tmp_path, "income-2")
        os.kill(child, signal.SIGKILL)
        assert told(reader) == []
    assert not holding.is_held(tmp_path, RUN)


def test_a_second_process_that_would_train_is_refused_and_the_first_trains_on(tmp_path):
    def train(tell):
        with pytest.raises(UsageError, match="income-1 is being trained by another"), holding.hold(tmp_path, RUN):
            tell("both train")
        tell("is refused")

    with holding.hold(tmp_path, RUN), looking(tmp_path):
        with forked(train) as (_, reader):
            assert told(reader) == ["is refused"]
        assert holding.is_held(tmp_path, RUN)


def test_of_many_who_begin_at_once_one_trains(tmp_path):
    """While others look: whoever waits for a look may meet somebody who waits as well."""
    start, begin = os.pipe()
    over, end = os.pipe()

    def train(tell):
        os.read(start, 1)
        try:
            with holding.hold(tmp_path, RUN):
                tell("trains")
                os.read(over, 1)
        except UsageError:
            tell("is refused")

    with looking(tmp_path), forked(train) as a, forked(train) as b, forked(train) as c, forked(train) as d:
        os.write(begin, b"1234")
        said = sorted(os.read(reader, 100).decode() for _, reader in (a, b, c, d))
        os.write(end, b"1")
    for number in (start, begin, over, end):
        os.close(number)
    assert said == ['"is refused"\n'] * 3 + ['"trains"\n']


def test_who_looks_and_was_stopped_in_the_middle_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "_PATIENCE", 0.05)
    with holding.hold(tmp_path, RUN):
        path = tmp_path / "running" / RUN
    path.touch()
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(UsageError, match=r"been looked at .* by a process that does not go on"):
            holding.hold(tmp_path, RUN).__enter__()
    with holding.hold(tmp_path, RUN):
        assert holding.is_held(tmp_path, RUN)
