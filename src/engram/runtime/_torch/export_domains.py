"""The domain of onnxscript's functions, told without parsing their source.

For every export torch makes a table of some five hundred functions and asks each for its domain. onnxscript answers by
parsing the function's source, which takes as long as everything else about a small network. The domain is that of the
function's set of operators; whoever asks for more still has the source parsed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from onnxscript import values

__all__ = ["domains"]

_ALONE = threading.RLock()


class _Told:
    """A function's own description, of which the domain is known before."""

    def __init__(self, function: Any, described: property) -> None:  # noqa: ANN401 - onnxscript has no types
        self.domain = function.opset.domain
        self._function, self._described = function, described

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever onnxscript has
        assert self._described.fget is not None
        return getattr(self._described.fget(self._function), name)


@contextlib.contextmanager
def domains() -> Iterator[None]:
    """Within it, functions tell their domain at once; one export at a time, because it is their class that changes."""
    kind: Any = getattr(values, "TracedOnnxFunction", object)
    described = vars(kind).get("function_ir")
    if not isinstance(described, property):  # another onnxscript, which perhaps knows by itself
        yield
        return
    with _ALONE:
        kind.function_ir = property(lambda function: _Told(function, described))
        try:
            yield
        finally:
            kind.function_ir = described
