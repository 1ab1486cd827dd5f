"""A program that torch exported, with the numbers put into it here.

torch writes each weight by way of two copies, and would need them all in the worker first. So it is told of shapes and
types alone, makes the file around them, and what is missing is written straight from the arrays. Small weights do come
along, because torch reads the values of some (a bound, an axis) and makes them part of the program.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats import _archive, _document, _worker
from engram.formats._archive import Archive
from engram.formats._archive_writing import Zip
from engram.formats._pt2 import asking
from engram.records import Limits, Model

__all__ = ["write"]

_SMALL = 1_024
"""Numbers; more are never a bound or an axis."""
_WEIGHTS = "data/weights"
_DEPTH = 8
_CONFIG = "_weights_config.json"


def write(model: Model, path: Path) -> None:
    """The program, through ``torch.export``.

    Raises:
        ConversionError: torch cannot export the network.
        MissingLibrary: torch is not installed.
    """
    asking.checked(model, f"writing {path.suffix}")
    large = {name for name, array in model.weights.items() if array.dtype.kind == "f" and array.size > _SMALL}
    blank = {name: (model.weights[name].shape, model.weights[name].dtype.name) for name in large}
    small = {name: array for name, array in model.weights.items() if name not in large}
    question = asking.question(model, small)
    _, made = _worker.asked("engram.formats._pt2.job:export", {"blank": blank}, question, framework=asking.TORCH)
    with tempfile.TemporaryDirectory(prefix="engram-") as place:
        program = Path(place, "program.pt2")
        program.write_bytes(made["file"].data)
        with _archive.opened(program, Limits()) as archive, path.open("wb") as file:
            _filled(archive, Zip(file), model.weights)


def _filled(archive: Archive, made: Zip, weights: Mapping[str, ndarray]) -> None:
    """Copy a file, member by member, and give every weight a member with its numbers.

    Weights without numbers all have the same place as torch sees it.
    """
    folder = f"{archive.names[0].partition('/')[0]}/{_WEIGHTS}/"
    for name in archive.names:
        if not name.startswith(folder):
            made.add(name, archive.read(name))
        elif name.endswith(_CONFIG):
            said = _document.parse(archive.read(name), name, depth=_DEPTH)
            if said["config"].keys() != weights.keys():
                raise ConversionError(f"torch changed the weights {sorted(said['config'].keys() ^ weights.keys())}")
            for place, (weight, array) in enumerate(weights.items()):
                said["config"][weight]["path_name"] = f"weight_{place}"
                made.add(f"{folder}weight_{place}", np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            made.add(name, json.dumps(said).encode())
    made.finish()
