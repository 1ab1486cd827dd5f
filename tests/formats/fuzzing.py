"""Reading thousands of spoiled files in a process that may crash, hang or eat memory, and telling which did.

    python -m formats.fuzzing FORMAT SEEDS FIRST COUNT SECONDS

reads mutations FIRST to COUNT of the models in SEEDS, and prints one line of JSON each time that something other than a
model or a typed error comes of it. Each mutation follows from its number alone, so a finding can be made again.
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

from formats.mutations import mutated

__all__ = ["Findings", "fuzz"]

GROWTH = 512 << 20
SECONDS = 10
MOST_FAULTS = 10
TESTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Findings:
    """What came of it: how many were read, how many of them were taken for a model, and what went wrong."""

    tried: int
    accepted: int
    faults: tuple[str, ...]


def fuzz(name: str, seeds: Path, count: int, seconds: float) -> Findings:
    """Have a process read the mutations, and a new one from where it died.

    Args:
        name: of the format.
        seeds: a folder with one folder for each model.
        count: how many mutations.
        seconds: of processor time after which no more are begun, in each of the processes.
    """
    first, accepted, faults = 0, 0, []
    while first < count and len(faults) < MOST_FAULTS:
        done = subprocess.run(
            [sys.executable, "-m", "formats.fuzzing", name, str(seeds), str(first), str(count), str(seconds)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(TESTS)]), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        faults += [f"mutation {line['at']}: {line['fault']}" for line in lines if "fault" in line]
        reached = max((line["at"] for line in lines), default=first)
        accepted += max((line.get("accepted", 0) for line in lines), default=0)
        if done.returncode == 0:
            return Findings(reached, accepted, tuple(faults))
        faults.append(f"mutation {reached}: {_death(done.returncode)} {done.stderr.strip()[-300:]}")
        first = reached + 1
    return Findings(first, accepted, tuple(faults))


def _death(code: int) -> str:
    if code in {-signal.SIGPROF, -signal.SIGALRM}:
        return f"took more than {SECONDS} s"
    return f"died of {signal.Signals(-code).name}" if code < 0 else f"left with {code}"


class Seed:
    """A model that is spoiled again and again: one of its files, and whole again afterwards."""

    def __init__(self, folder: Path, place: Path) -> None:
        shutil.copytree(folder, place)
        self.path = place / folder.with_suffix(".name").read_text()
        self.files = {file: file.read_bytes() for file in sorted(place.rglob("*")) if file.is_file()}

    def spoil(self, chance: random.Random) -> Path:
        """Change one file; a new one takes its place, because somebody may still have the old one mapped."""
        file = chance.choice(list(self.files))
        file.unlink()
        if chance.random() > 0.02 or len(self.files) == 1 or file == self.path:
            file.write_bytes(mutated(self.files[file], chance))
        return file

    def mend(self, file: Path) -> None:
        """Bring one file back."""
        file.unlink(missing_ok=True)
        file.write_bytes(self.files[file])


def main(name: str, place: Path, first: int, count: int, seconds: float) -> None:
    """Be the process that reads; the seeds are copied, so that a second one finds them whole."""
    from engram.formats import SHELF
    from engram.records import Limits

    module = SHELF.take(name)
    with tempfile.TemporaryDirectory(prefix="engram-fuzz-") as own:
        folders = sorted(folder for folder in place.iterdir() if folder.is_dir())
        seeds = [Seed(folder, Path(own, folder.name)) for folder in folders]
        for seed in seeds:
            module.read(seed.path, Limits())  # what is loaded on the first use is no growth
        confine()
        until, accepted, at = spent() + seconds, 0, first
        for at in range(first, count):
            if spent() > until:
                break
            tell(at=at)
            chance, seed = random.Random(f"{name} {at}"), seeds[at % len(seeds)]
            spoiled = seed.spoil(chance)
            fault = fault_of(module, seed.path)
            accepted += fault is None
            if fault:
                tell(at=at, fault=fault)
            seed.mend(spoiled)
        else:
            at = count
        tell(at=at, accepted=accepted)


def spent() -> float:
    """Seconds of processor time, with those of the workers that were asked."""
    return sum(os.times()[:4])


def tell(**said: object) -> None:
    """A line for the process that waits; what it does not hear of did not happen."""
    sys.stdout.write(f"{json.dumps(said)}\n")
    sys.stdout.flush()


def fault_of(module: object, path: Path) -> str | None:
    """What went wrong; empty where the file was refused as it should, None where it was taken for a model."""
    from engram.errors import EngramError
    from engram.records import Limits, Model

    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 20 * SECONDS)
    try:
        found = module.read(path, Limits()) if module.recognizes(_head(path), path) else None
        if hasattr(module, "state") and found is not None:
            module.state(path, Limits())
    except EngramError as refused:
        return "" if len(str(refused).splitlines()) == 1 else f"a refusal of several lines: {refused}"
    except BaseException as wrong:  # noqa: BLE001 - whatever it is, it is a finding
        where = traceback.extract_tb(wrong.__traceback__)[-1]
        return f"{type(wrong).__name__}: {str(wrong)[:200]} ({Path(where.filename).name}:{where.lineno})"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    if found is None:
        return ""
    return None if isinstance(found, Model) else f"read a {type(found).__name__}"


def _head(path: Path) -> bytes:
    if path.is_dir():
        return b""
    with path.open("rb") as file:
        return file.read(4096)


def confine() -> None:
    """Take at most so much more memory than now."""
    used = int(Path("/proc/self/status").read_text().partition("VmData:")[2].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (used + GROWTH, used + GROWTH))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(1000)


if __name__ == "__main__":
    name_, place_, first_, count_, seconds_ = sys.argv[1:]
    main(name_, Path(place_), int(first_), int(count_), float(seconds_))
