"""The real TensorFlow.js, asked under node in a process that may be killed.

Node looks for packages beside the program that asks for them. So they are looked for here as node would from the
current folder, or in the folder that ``ENGRAM_NODE`` names, and the program is told where.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from engram import settings
from engram.errors import FormatError, MissingLibrary
from engram.formats import _worker

__all__ = ["answers", "job", "packages", "version"]

_PROGRAM = Path(__file__).with_name("answer.mjs")
_PACKAGES = ("tfjs-core", "tfjs-layers", "tfjs-converter", "tfjs-backend-cpu")
_BOUNDS = _worker.Bounds(memory=12 << 30, seconds=300)
"""Node reserves far more memory than it takes."""


def answers(folder: Path, pieces: Sequence[Mapping[str, ndarray]], names: Sequence[str]) -> list[dict[str, ndarray]]:
    """What TensorFlow.js answers from a model to several batches, every output by name.

    Args:
        folder: of the model.
        pieces: its inputs; texts and 64 bits are not known to it.
        names: of the outputs, in order.

    Raises:
        MissingLibrary: node or TensorFlow.js is not there.
        FormatError: TensorFlow.js refuses the model.
    """
    node, place = _node(), packages()
    given = {f"{number}/{name}": _fit(array) for number, piece in enumerate(pieces) for name, array in piece.items()}
    said = {"node": node, "packages": str(place), "folder": str(folder.resolve()), "pieces": len(pieces)}
    _, made = _worker.asked(f"{__name__}:job", {**said, "outputs": list(names)}, given, bounds=_BOUNDS)
    return [{name: made[f"{number}/{name}"] for name in names} for number in range(len(pieces))]


def version() -> str:
    """Name and version of TensorFlow.js.

    Raises:
        MissingLibrary: node or TensorFlow.js is not there.
    """
    _node()
    said = json.loads((packages() / "@tensorflow" / "tfjs-core" / "package.json").read_bytes())
    return f"tensorflow.js {said['version']}"


def job(said: dict[str, Any], arrays: dict[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """Have node load a model and answer; what a worker runs."""
    question = {
        "packages": said["packages"],
        "folder": said["folder"],
        "outputs": said["outputs"],
        "pieces": [_piece(arrays, f"{number}/") for number in range(int(said["pieces"]))],
    }
    done = subprocess.run(  # noqa: S603 - our own program
        [said["node"], str(_PROGRAM)], input=json.dumps(question).encode(), capture_output=True, check=False
    )
    if done.returncode:
        words = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if "Error" in line]
        reason = words[0] if words else f"node ended with {done.returncode}"
        raise FormatError(f"TensorFlow.js refuses {Path(said['folder']).name}: {reason[:300]}")
    found = json.loads(done.stdout)
    return {}, {
        f"{number}/{name}": np.frombuffer(base64.b64decode(one["data"]), np.dtype(one["dtype"])).reshape(one["shape"])
        for number, piece in enumerate(found)
        for name, one in piece.items()
    }


def _piece(arrays: Mapping[str, ndarray], start: str) -> dict[str, Any]:
    return {
        name[len(start) :]: {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "data": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode(),
        }
        for name, array in arrays.items()
        if name.startswith(start)
    }


def _fit(array: ndarray) -> ndarray:
    """Inputs in types that TensorFlow.js has."""
    wanted = {"i": "int32", "u": "int32", "f": "float32", "b": "bool"}.get(array.dtype.kind, "float32")
    return array.astype(wanted, copy=False)


def _node() -> str:
    found = shutil.which("node")
    if found is None:
        raise MissingLibrary("TensorFlow.js runs under node, which is not installed; install node 18 or newer")
    return found


def packages() -> Path:
    """The folder in which node finds TensorFlow.js.

    Raises:
        MissingLibrary: it is in none.
    """
    here = Path.cwd()
    told = settings.read().node
    places = [told] if told is not None else [here, *here.parents]
    for place in places:
        found = place / "node_modules"
        if all((found / "@tensorflow" / name).is_dir() for name in _PACKAGES):
            return found
    raise MissingLibrary(
        "TensorFlow.js is not installed here; npm install @tensorflow/tfjs, and name its folder in ENGRAM_NODE"
    )
