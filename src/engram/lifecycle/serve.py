"""``serve``: kept versions behind the doors of a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engram.runtime import onnxruntime
from engram.serving.application import application
from engram.serving.plane import DataPlane, Served
from engram.serving.server import serve as listen
from engram.store.store import Store

__all__ = ["serve"]


def serve(references: Sequence[str], *, store: Store, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer requests until the process is told to stop.

    Args:
        references: the versions, each served under its network's name.
        store: where they are.
        host, port: where to listen; port 0 picks a free one.
        ready: called with the address once it answers.

    Raises:
        VersionNotFound: no such version.
        UsageError: the port is taken.
    """
    served = []
    for reference in references:
        version, model = store.version(reference), store.load(reference)
        served.append(Served(version.name, str(version.number), model, onnxruntime.open(model)))
    listen(application(DataPlane(served)), host=host, port=port, ready=ready)
