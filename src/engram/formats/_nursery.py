"""Processes that have imported a framework once, and fork a worker for every question.

TensorFlow takes ten seconds to import and torch five; a conversion asks them several things. A nursery imports what is
needed and never sees a stranger's file: it forks, the child confines itself, answers and is gone. So each question
still has a process of its own that nobody asked anything before.

A nursery ends when it was not asked for a while, and with whoever started it: it hears that by the socket that closes,
because the signal that the system sends at a parent's death is sent when the *thread* that forked ends.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engram.formats._job import work

__all__ = ["NONE", "Framework", "Wanted", "answered", "main"]


@dataclass(frozen=True, slots=True)
class Framework:
    """What a nursery has in memory, by which it is told from others.

    Attributes:
        words: in order: ``NAME=VALUE`` sets a variable, anything else is a module to import.
    """

    words: tuple[str, ...] = ()


NONE = Framework()
"""For what imports quickly."""

_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000
_IDLE = 120.0
_START = 120.0
_PROGRAM = "from engram.formats._nursery import main; main()"
_lock = threading.Lock()
_waiting: dict[Framework, list[_Nursery]] = {}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a nursery, beside the question itself.

    Attributes:
        job: ``package.module:function``, called by ``engram.formats._job.work``.
        bounds: what the worker may take, by the names of ``Bounds``.
        modules: of ours that the job is made of, imported before the fork.
        framework: that it needs.
    """

    job: str
    bounds: Mapping[str, int]
    modules: tuple[str, ...]
    framework: Framework


def answered(wanted: Wanted, folder: str) -> int | None:
    """How the worker ended that was given a question.

    Args:
        wanted: what it is to do.
        folder: where the question lies and the answer will, which is the worker's home.

    Returns:
        Its exit code, negative for a signal; None where it had to be stopped.
    """
    while (nursery := _taken(wanted.framework)) is not None:
        with suppress(ConnectionError):  # it has just ended, because it waited too long
            return _given(nursery, wanted, folder)
    try:
        return _given(_Nursery(wanted.framework), wanted, folder)
    except ConnectionError:
        return -signal.SIGKILL


def main() -> None:
    """Be a nursery: import, then fork for every line that comes, until none comes any more."""
    control, home, words = socket.socket(fileno=int(sys.argv[1])), sys.argv[2], json.loads(sys.argv[3])
    sys.path[:] = words["path"]
    _leave_network()
    try:
        for word in words["words"]:
            _prepare(word)
        with control.makefile("rb") as lines:
            while select.select([control], [], [], _IDLE)[0] and (line := lines.readline()):
                question = json.loads(line)
                sys.path[:] = question["path"]
                for word in question["modules"]:
                    _prepare(word)
                control.sendall(json.dumps({"code": _forked(control, question)}).encode() + b"\n")
    finally:
        shutil.rmtree(home, ignore_errors=True)
        os._exit(0)


class _Nursery:
    """One of them, seen from where it was started."""

    def __init__(self, framework: Framework) -> None:
        self._owner, self._home = os.getpid(), tempfile.mkdtemp(prefix="engram-")
        self._control, theirs = socket.socketpair()
        words = json.dumps({"words": framework.words, "path": sys.path})
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
                [sys.executable, "-P", "-s", "-c", _PROGRAM, str(theirs.fileno()), self._home, words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._home,
                env=_environment(self._home),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._patience = _START

    def ask(self, wanted: Wanted, folder: str) -> int | None:
        """How the worker ended.

        Raises:
            ConnectionError: the nursery has ended.
        """
        question = {**asdict(wanted), "folder": folder, "path": sys.path}
        self._control.settimeout(self._patience + 4 * wanted.bounds["seconds"])
        self._control.sendall(json.dumps(question).encode() + b"\n")
        line = b""
        while not line.endswith(b"\n"):
            try:
                part = self._control.recv(4_096)
            except TimeoutError:
                return None
            if not part:
                raise ConnectionError
            line += part
        self._patience = 0.0
        code: int | None = json.loads(line)["code"]
        return code

    def close(self) -> None:
        """End it, and a worker with it; of a parent's, only let go."""
        self._control.close()
        if self._owner != os.getpid():
            self._process.returncode = 0
            return
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)


def _taken(framework: Framework) -> _Nursery | None:
    with _lock:
        known = _waiting.get(framework)
        return known.pop() if known else None


def _given(nursery: _Nursery, wanted: Wanted, folder: str) -> int | None:
    """Ask one that nobody else asks, and let it wait for the next question."""
    try:
        code = nursery.ask(wanted, folder)
    except BaseException:
        nursery.close()
        raise
    if code is None:
        nursery.close()
        return None
    with _lock:
        _waiting.setdefault(wanted.framework, []).append(nursery)
    return code


def _all_closed() -> None:
    global _lock  # noqa: PLW0603 - a fork may have happened while another thread held it
    _lock = threading.Lock()
    known = [nursery for waiting in _waiting.values() for nursery in waiting]
    _waiting.clear()
    for nursery in known:
        nursery.close()


atexit.register(_all_closed)
os.register_at_fork(after_in_child=_all_closed)


def _leave_network() -> None:
    """Have no network from now on, nor will who is forked; where there is no such system call, the rest holds."""
    with suppress(OSError, AttributeError):
        system = ctypes.CDLL(None)
        if system.unshare(_NEW_NETWORK):
            system.unshare(_NEW_NETWORK | _NEW_USER)


def _prepare(word: str) -> None:
    """Set a variable or import a module; what cannot be imported is found out by the worker, which can say so."""
    name, sets, value = word.partition("=")
    if sets:
        os.environ[name] = value
        return
    with suppress(Exception):
        importlib.import_module(name)


def _forked(control: socket.socket, question: Mapping[str, Any]) -> int | None:
    """The exit code of a worker; None where it took too long, or nobody waits for it any more."""
    gc.freeze()  # or the worker's first collection would copy every page it looks at
    child = os.fork()
    if not child:
        os.close(control.fileno())  # closing the socket itself leaves it open for the file that reads its lines
        _work(question)
    handle = os.pidfd_open(child)
    try:
        ended, _, _ = select.select([handle, control.fileno()], [], [], 3 * question["bounds"]["seconds"])
    finally:
        os.close(handle)
    stopped = handle not in ended
    with suppress(ProcessLookupError, PermissionError):  # what the worker started ends with it
        os.killpg(child, signal.SIGKILL)
    if stopped:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return None if stopped else os.waitstatus_to_exitcode(status)


def _work(question: Mapping[str, Any]) -> None:
    """Be the worker, whose words go into a file and whose home is the folder of the question."""
    code, folder = 1, question["folder"]
    try:
        os.setsid()
        words = os.open(Path(folder, "words"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(words, 1)
        os.dup2(words, 2)
        os.chdir(folder)
        os.environ.update({"HOME": folder, "TMPDIR": folder})
        tempfile.tempdir = None
        work(folder, question["job"], question["bounds"])
        code = 0
    except BaseException:  # noqa: BLE001 - the last lines of it are what the asker reads
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _environment(home: str) -> dict[str, str]:
    """Nothing of the user's: no proxies, no tokens, no settings of frameworks; one thread, no device, few words."""
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": ":".join(entry for entry in sys.path if entry),
        "PYTHONHASHSEED": "0",
        "HOME": home,
        "TMPDIR": home,
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
