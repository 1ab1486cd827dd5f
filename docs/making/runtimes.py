"""What a page of a runtime says beside its functions: which operators it has, and which cases of onnx it leaves.

The cases are kept in ``docs/examples/runtime/NAME.json``, which a test compares with what the runtime does.
"""

from __future__ import annotations

import json
from types import ModuleType

from making.markdown import code, fragment

__all__ = ["operators"]


def operators(name: str, module: ModuleType) -> str:
    """The operators of a runtime of our own and how it stands to onnxruntime; empty for one that has no list."""
    known = getattr(module, "OPERATORS", None)
    kept = fragment("runtime", f"{name}.json")
    if known is None or not kept:
        return ""
    plain = ", ".join(code(each) for each in sorted(known) if "." not in each)
    found = json.loads(kept)
    counted = (
        f"Of the {found['cases']:,} cases that onnx ships for single operators, onnxruntime passes "
        f"{found['onnxruntime']:,}; {found['numbers']:,} of these take and answer numbers alone. Of those that "
        f"onnxruntime passes, {name} passes {found['torch']:,}."
    )
    rest = [f"- {why} ({len(names)}): {', '.join(map(code, names))}." for why, names in found["rest"].items()]
    return "\n\n".join(["## Operators", plain, counted, "What is left:", "\n".join(rest)])
