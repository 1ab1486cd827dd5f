"""Asking the worker for one of torch's own files of a network."""

from __future__ import annotations

import importlib.util
import keyword
from pathlib import Path

import numpy as np

from engram.errors import ConversionError, MissingLibrary
from engram.formats import _carried, _worker
from engram.records import Model

__all__ = ["installed", "written"]


def installed(doing: str) -> None:
    """Whether torch is there.

    Args:
        doing: what it is needed for.

    Raises:
        MissingLibrary: it is not.
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingLibrary(f"{doing} needs torch, which is not installed; pip install 'engram[torch]'")


def written(job: str, model: Model, path: Path) -> None:
    """A file that torch wrote of a model, with all that it cannot hold as a text beside.

    Args:
        job: of the worker.
        model: anything with a graph.
        path: of the file.

    Raises:
        ConversionError: the model is weights alone, has a weight whose name is a word of Python's, or torch
            cannot make the file.
        MissingLibrary: torch is not installed.
    """
    if not model.graph:
        raise ConversionError("the model is weights without a graph, which is no program; write pytorch or safetensors")
    for name in model.weights:
        if any(keyword.iskeyword(part) or not part for part in name.split(".")):
            raise ConversionError(f"torch writes programs as Python, where no weight can be called {name!r}; rename it")
    installed(f"writing {path.suffix}")
    arrays = {f"weight:{name}": array for name, array in model.weights.items()}
    arrays["graph"] = np.frombuffer(model.graph, np.uint8)
    arrays["notes"] = np.frombuffer(_carried.text(model), np.uint8)
    _worker.asked(job, {"path": str(path.resolve())}, arrays)
