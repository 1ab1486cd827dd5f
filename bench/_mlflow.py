"""Keeping and registering a version, beside MLflow, which is installed into an environment of its own."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from _measured import Taken, ratio, show
from _networks import small
from _speed import begun, emptied, same

ROUNDS = 5
MLFLOW = "mlflow>=3.1,<4"
WAYS = {
    "default": "MLflow log_model",
    "requirements": "the same, requirements named",
    "durable": "the same, named and fsync",
}


def mlflow(folder: Path, *, huge: bool) -> dict[str, float]:  # noqa: ARG001 - all sections are called alike
    """Keep + register ÷ log_model + register, of what was never kept before."""
    network = small()[1]
    place = emptied(folder / "mlflow")
    torch.save({name: torch.from_numpy(array) for name, array in network.weights.items()}, place / "state.pt")
    taken = {name: Taken() for name in ("engram", *WAYS.values())}
    with _worker(place) as worker:
        for number in range(ROUNDS + 1):
            network.change(number)
            store = begun(folder)
            (taken["engram"] if number else Taken()).add(partial(store.keep, "network", network.model))
            for way, name in WAYS.items():
                wall, cpu = _asked(worker, number, way)
                if number:
                    taken[name].wall.append(wall)
                    taken[name].cpu.append(cpu)
            same("engram", store.load("network", verify=True).weights, network.weights)
    show(f"keep and register {network.name} ({network.size / 1e6:.0f} MB)", taken, "engram")
    return {
        f"keep_vs_mlflow{suffix}": ratio(taken["engram"].wall, taken[WAYS[way]].wall)
        for way, suffix in (("default", ""), ("durable", "_named_durable"), ("requirements", "_named"))
    }


def python() -> Path:
    """The interpreter of an environment that has MLflow and the same torch; made once, which takes minutes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "engram-bench" / f"mlflow-torch-{torch.__version__}"
    found = place / "bin" / "python"
    if not (place / "ready").exists():
        print(f"\ninstalling MLflow into {place} (some minutes the first time)", flush=True)
        venv.create(place, with_pip=True, clear=True)
        wanted = [MLFLOW, f"torch=={torch.__version__.partition('+')[0]}"]
        subprocess.run([found, "-m", "pip", "install", "--quiet", "--quiet", *wanted], check=True)
        (place / "ready").touch()
    return found


@contextmanager
def _worker(place: Path) -> Iterator[subprocess.Popen[str]]:
    command = [str(python()), str(Path(__file__).with_name("_mlflow_worker.py")), str(place / "state.pt")]
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    with (
        (place / "words").open("w") as words,
        subprocess.Popen(
            command, cwd=place, env=quiet, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, text=True
        ) as process,
    ):
        assert process.stdout
        _line(process, place)
        yield process
        assert process.stdin
        process.stdin.close()


def _asked(worker: subprocess.Popen[str], number: int, way: str) -> tuple[float, float]:
    assert worker.stdin
    worker.stdin.write(f"{number} {way}\n")
    worker.stdin.flush()
    wall, cpu = json.loads(_line(worker, Path(str(worker.args[-1])).parent))  # type: ignore[index]
    return wall, cpu


def _line(worker: subprocess.Popen[str], place: Path) -> str:
    assert worker.stdout
    while not (found := worker.stdout.readline()).startswith(("ready", "[")):
        if not found:
            sys.stderr.write((place / "words").read_text()[-2_000:])
            raise SystemExit("MLflow ended before its answer came")
    return found
