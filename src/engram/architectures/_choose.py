"""From the ``[model]`` section to a network: a plug-in of this shelf, or a function in the user's own file.

The user's file is run here and nowhere else, because a run was asked for; opening a kept model reads its graph.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from engram.architectures import SHELF
from engram.architectures._parts import sequence
from engram.errors import UsageError
from engram.plugins import options
from engram.records import Signature
from engram.records.pipeline import ModelSection

__all__ = ["choose"]


def choose(
    section: ModelSection, signature: Signature, *, rows: int, folder: str
) -> tuple[nn.Module, ModelSection, dict[str, str]]:
    """The network, the section with everything found made explicit, and the reasons by place.

    Args:
        section: as written.
        signature: the tensors that go into the network and come out.
        rows: of the training part.
        folder: where the path of a user's own file starts.

    Raises:
        UsageError: an option is wrong or does not fit the data.
        UnknownName: there is no such architecture.
    """
    if ".py:" in section.kind:
        return _own(section, signature, folder), section, {}
    reasons = {}
    kind = section.kind
    if not kind:
        pictures = len(signature.inputs[0].shape) == 4
        kind, reasons["model.kind"] = ("cnn", "the data are images") if pictures else ("mlp", "the data are a table")
    try:
        plugin = SHELF.take(kind)
    except UsageError as unknown:
        raise type(unknown)(str(unknown), place="model.kind") from None
    given = options(plugin.Options, section.options, "model")
    settled, why = plugin.found(given, signature, rows)
    _in_range(asdict(settled))
    try:
        network: nn.Module = plugin.build(settled, signature)
    except RuntimeError as wrong:  # torch has no memory for it
        raise UsageError(f"[model] {kind} cannot be built: {_first(wrong)}; make it smaller", place="model") from None
    explicit = {key: value for key, value in asdict(settled).items() if value is not None}
    return network, ModelSection(kind, explicit), {**reasons, **{f"model.{key}": reason for key, reason in why.items()}}


def _first(wrong: RuntimeError) -> str:
    return str(wrong).partition("\n")[0].rpartition("DefaultCPUAllocator: ")[2].rstrip(".")


def _in_range(options: Mapping[str, Any]) -> None:
    """What holds for the sizes and shares of every architecture.

    Raises:
        UsageError: a size below 1, or a share of dropped values that is none.
    """
    for key, value in options.items():
        sizes = [size for size in (value if isinstance(value, tuple) else (value,)) if isinstance(size, int)]
        if any(size < 1 for size in sizes if not isinstance(size, bool)):
            shown = list(value) if isinstance(value, tuple) else value
            raise UsageError(f"[model] {key} = {shown} is refused: it must be at least 1", place=f"model.{key}")
        if key == "dropout" and not 0 <= (value or 0) < 1:
            raise UsageError(
                f"[model] dropout = {value:g} is refused: it is a share from 0 to below 1", place="model.dropout"
            )


def _own(section: ModelSection, signature: Signature, folder: str) -> nn.Module:
    """The user's network under its own names, with the ``Unit`` of a regression behind it."""
    path, _, name = section.kind.rpartition(":")
    function = _function(Path(folder, path), name)
    try:
        network = function(signature, **section.options)
    except TypeError as wrong:
        raise UsageError(
            f"{section.kind}: cannot be called as {name}(signature, **options): {wrong}; "
            "take the signature and every other key of [model]",
            place="model.kind",
        ) from wrong
    if not isinstance(network, nn.Module):
        raise UsageError(
            f"{section.kind} returned {type(network).__name__}; return a torch.nn.Module", place="model.kind"
        )
    return sequence([("network", network)], signature.outputs) if signature.outputs[0].kind == "value" else network


def _function(path: Path, name: str) -> Any:  # noqa: ANN401 - whatever the user's file defines
    if not path.is_file():
        raise UsageError(
            f'{path}: no such file; kind = "FILE.py:FUNCTION" starts beside the pipeline file', place="model.kind"
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, name, None)):
        raise UsageError(f"{path.name} defines no function {name!r}; define {name}(signature)", place="model.kind")
    return getattr(module, name)
