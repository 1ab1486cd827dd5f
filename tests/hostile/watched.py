"""The process that opens hostile files, by the words of the command line, and tells what came of each.

    python -m hostile.watched PLACE FIRST

opens what ``PLACE/cases.json`` lists from number FIRST on. It is ended by the system where a file holds it up, and
whoever started it goes on with the next.
"""

import contextlib
import copyreg
import io
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

from hostile.files import HONEST
from hostile.pickles import EXTENSION

__all__ = ["PLANTED", "main"]

GROWTH = 512 << 20
PATIENCE = 120
"""Seconds by the clock; what is held against a file is its processor time, because this machine may be busy."""
PLANTED = """
import pathlib
pathlib.Path(__file__).parents[1].joinpath("canary").touch()

class Thing:
    pass
"""


def command(*words: str) -> tuple[int, str]:
    """The code a command ends with, and what it says to whoever waits."""
    from engram.cli.application import main as engram

    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            engram([*words])
        except SystemExit as left:
            return int(left.code or 0), said.getvalue()
    return 0, said.getvalue()


def spent() -> float:
    """Seconds of processor time, with those of the workers."""
    return sum(os.times()[:4])


def tell(**said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def confine() -> None:
    """Take at most so much more memory than now."""
    used = int(Path("/proc/self/status").read_text().partition("VmData:")[2].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (used + GROWTH, used + GROWTH))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(place: Path, first: int) -> None:
    """Open one file after the other."""
    copyreg.add_extension("os", "system", EXTENSION)
    cases = json.loads((place / "cases.json").read_text())
    light = next(case["path"] for case in cases if case["name"] == "onnx_whole")  # what is loaded anyway is no growth
    command("inspect", light)
    command("import", light, "--name", f"first{first}", "--store", str(place / "store"))
    confine()
    log = place / "events"
    for number, case in enumerate(cases[first:], start=first):
        path, out = case["path"], str(Path(case["folder"]) / "converted.safetensors")
        verbs = [("inspect", path), ("convert", path, "-o", out, "--to", "safetensors")]
        if case["name"] not in HONEST:
            verbs.append(("import", path, "--name", f"case{number}", "--store", str(place / "store")))
        for words in verbs:
            tell(at=number, verb=words[0])
            seen, began, clock = log.stat().st_size, spent(), time.monotonic()
            signal.alarm(PATIENCE)
            code, said = command(*words)
            signal.alarm(0)
            noted = log.read_bytes()[seen:].decode().splitlines()
            taken = {"seconds": spent() - began, "clock": time.monotonic() - clock}
            tell(at=number, verb=words[0], code=code, said=said, noted=noted, **taken)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
