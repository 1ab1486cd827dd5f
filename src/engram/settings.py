"""The only reader of the environment.

Settings are few on purpose: what belongs to one network stands in its pipeline file, and what belongs to one call is
an option of that call.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["VARIABLES", "Settings", "read"]

VARIABLES: Mapping[str, str] = {
    "ENGRAM_STORE": "the store that commands use when --store is not given (default ./engrams)",
    "ENGRAM_DATA": "a folder where data files are looked for when they are not beside the pipeline file",
    "ENGRAM_DEBUG": "1 shows the traceback of an error instead of its sentence alone",
    "ENGRAM_WHO": "who is written into the history of aliases (default: the user's login name)",
    "NO_COLOR": "anything switches colors off in the terminal",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says.

    Attributes:
        store: where versions are kept.
        data: second place to look for data files; None if not set.
        debug: whether errors show their traceback.
        who: name for histories.
    """

    store: str = "engrams"
    data: Path | None = None
    debug: bool = False
    who: str = "unknown"


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process, or of the environment given."""
    seen = os.environ if environment is None else environment
    folder = seen.get("ENGRAM_DATA", "")
    return Settings(
        store=seen.get("ENGRAM_STORE") or "engrams",
        data=Path(folder) if folder else None,
        debug=seen.get("ENGRAM_DEBUG", "") not in {"", "0"},
        who=seen.get("ENGRAM_WHO") or seen.get("USER") or seen.get("LOGNAME") or "unknown",
    )
