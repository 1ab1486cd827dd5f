"""Where works of a store are done under a fault: a process with the shim in front of the C library, and its children.

The process imports everything once; every case is a fork of it, so that hundreds of them take seconds. A case is a
list of steps, each a work of ``works`` and the fault it is done under. What a work tells comes back while it lives, so
that what was acknowledged before a kill is known.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["CHANGES", "EVERYTHING", "NONE", "Fault", "Outcome", "Stage", "Step", "build", "open_stage"]

SOURCE = Path(__file__).with_name("shim.c")
MODES = ("off", "count", "fail", "full", "short", "kill before", "kill after", "record")
KINDS = {"open": 1, "write": 2, "sync": 4, "name": 8, "size": 16, "read": 32, "look": 64}
CHANGES = sum(KINDS[kind] for kind in ("open", "write", "sync", "name", "size"))
EVERYTHING = sum(KINDS.values())
_PATIENCE = 120


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the n-th call on a path of the store.

    Attributes:
        mode: one of ``MODES``. ``full`` fails the n-th call and all that follow it, if they need room on the disk.
        nth: counted from 1.
        error: number of the error that a failing call gives.
        kinds: which calls are counted, a sum of ``KINDS``.
        log: where to write down what happens, for ``record``.
        seconds: after which the process is killed wherever it is; 0 for never.
    """

    mode: str = "off"
    nth: int = 0
    error: int = 0
    kinds: int = CHANGES
    log: str = ""
    seconds: float = 0.0


NONE = Fault()


@dataclass(frozen=True, slots=True)
class Step:
    """A work, what it is told, and the fault it is done under."""

    work: str
    given: dict[str, Any] = field(default_factory=dict)
    fault: Fault = NONE


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case.

    Attributes:
        said: what was told, in order; ``["raised", kind, sentence, trace]`` where a step ended in an error and
            ``["fault", calls, hit]`` after each step.
        killed: the signal that ended it; 0 if it ended by itself.
    """

    said: list[list[Any]]
    killed: int

    def told(self, word: str) -> list[list[Any]]:
        """All that was told under a word, without it."""
        return [rest for first, *rest in self.said if first == word]

    def steps(self) -> list[dict[str, list[Any]]]:
        """What each step told, by word; of several under one word the last."""
        steps: list[dict[str, list[Any]]] = [{}]
        for word, *rest in self.said:
            steps[-1][word] = rest
            if word == "fault":
                steps.append({})
        return steps[:-1]


def build(folder: Path) -> Path:
    """The shim as a library in a folder; RuntimeError if this machine cannot make it."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        raise RuntimeError("no C compiler (cc) on this machine, or no Linux: system calls cannot be made to fail")
    made = folder / "shim.so"
    options = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC")
    done = subprocess.run(
        [compiler, *options, "-o", str(made), str(SOURCE), "-ldl", "-lpthread"], capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the C compiler refuses the shim: {done.stderr.decode()}")
    return made


class Stage:
    """A process that does works under faults."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def play(self, folder: Path, *steps: Step) -> Outcome:
        """Do works on the store in a folder, one after the other, in one process made for it."""
        order = {"folder": str(folder), "steps": [asdict(step) for step in steps]}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the stage itself is gone (exit code {self._process.wait()})")
        return Outcome(**json.loads(answer))


@contextmanager
def open_stage(library: Path) -> Iterator[Stage]:
    """A stage, closed afterwards."""
    here = str(Path(__file__).parents[1])
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    surroundings = os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "faults.stage"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=surroundings
    ) as process:
        try:
            yield Stage(process)
        finally:
            process.kill()


def _serve() -> None:
    """Take orders until nobody gives any."""
    from faults import works

    works.warm()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        said, killed = _case(order["folder"], order["steps"])
        sys.stdout.write(json.dumps({"said": said, "killed": killed}) + "\n")
        sys.stdout.flush()


def _case(folder: str, steps: Sequence[dict[str, Any]]) -> tuple[list[Any], int]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with suppress(BaseException):
            _steps(folder, steps, writer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    return [json.loads(line) for line in content.splitlines()], os.waitstatus_to_exitcode(status) * -1


def _steps(folder: str, steps: Sequence[dict[str, Any]], writer: int) -> None:
    from faults import works

    shim = ctypes.CDLL(None)
    shim.fault_hit.restype = ctypes.c_char_p
    shim.fault_seen.restype = ctypes.c_long

    def tell(*said: object) -> None:
        text = json.dumps(said, default=str).encode()
        shim.fault_mark(text)
        os.write(writer, text + b"\n")

    for step in steps:
        fault = step["fault"]
        shim.fault_arm(
            MODES.index(fault["mode"]),
            ctypes.c_long(fault["nth"]),
            fault["error"],
            fault["kinds"],
            folder.encode(),
            fault["log"].encode(),
        )
        signal.setitimer(signal.ITIMER_REAL, fault["seconds"] or _PATIENCE)  # whose signal nobody handles
        try:
            getattr(works, step["work"])(Path(folder), tell, **step["given"])
        except BaseException as wrong:  # noqa: BLE001 - which it is, is what the test asks
            kinds = [kind.__name__ for kind in type(wrong).__mro__]
            tell("raised", kinds, str(wrong), traceback.format_exc())
        finally:
            shim.fault_disarm()
        tell("fault", shim.fault_seen(), shim.fault_hit().decode())


if __name__ == "__main__":
    _serve()
