"""The only reader of the environment.

Settings are few on purpose: what belongs to one network stands in its pipeline file, and what belongs to one call is
an option of that call.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engram.errors import UsageError

__all__ = ["VARIABLES", "Settings", "read", "secret"]

VARIABLES: Mapping[str, str] = {
    "ENGRAM_STORE": "the store that commands use when --store is not given (default ./engrams)",
    "ENGRAM_CATALOG": (
        "URL of a database (postgresql://…) for the catalog of a store that has none yet; a store that has one keeps it"
    ),
    "ENGRAM_CACHE": "the folder for what is remembered of remote stores (default ~/.cache/engram)",
    "ENGRAM_DATA": "a folder where data files are looked for when they are not beside the pipeline file",
    "ENGRAM_NODE": "a folder with node_modules, in which TensorFlow.js is looked for (default: here and above)",
    "ENGRAM_DEBUG": "1 shows the traceback of an error instead of its sentence alone",
    "ENGRAM_TRUST": "files of public keys, divided as in PATH; only versions that one of them signed are loaded",
    "ENGRAM_PASSWORD": "the password of the private key that engram sign is given, where it has one",
    "ENGRAM_DATA_PASSWORD": "the password of the database that a pipeline reads (another variable: password in [data])",
    "ENGRAM_DATA_TOKEN": "the token of the web service that a pipeline reads (another variable: token in [data])",
    "ENGRAM_WHO": "who is written into the history of aliases (default: the user's login name)",
    "NO_COLOR": "anything switches colors off in the terminal",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says.

    Attributes:
        store: where versions are kept.
        catalog: URL of a database for the catalog of a store that has none yet; empty for the usual kind.
        cache: for what is remembered of remote stores; None for the usual place.
        data: second place to look for data files; None if not set.
        node: where packages of node are looked for; None for the usual places.
        debug: whether errors show their traceback.
        who: name for histories.
        trust: files of public keys, by one of which every version must be signed.
        password: of a private key.
    """

    store: str = "engrams"
    catalog: str = ""
    cache: Path | None = None
    data: Path | None = None
    node: Path | None = None
    debug: bool = False
    who: str = "unknown"
    trust: tuple[str, ...] = ()
    password: str = field(default="", repr=False)


def _login() -> str:
    """The user's login name, where the environment does not say it: a job at night, a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process, or of the environment given."""
    seen = os.environ if environment is None else environment
    folder, cache, node = (seen.get(f"ENGRAM_{name}", "") for name in ("DATA", "CACHE", "NODE"))
    return Settings(
        store=seen.get("ENGRAM_STORE") or "engrams",
        catalog=seen.get("ENGRAM_CATALOG", ""),
        cache=Path(cache) if cache else None,
        data=Path(folder) if folder else None,
        node=Path(node) if node else None,
        debug=seen.get("ENGRAM_DEBUG", "") not in {"", "0"},
        who=seen.get("ENGRAM_WHO") or seen.get("USER") or seen.get("LOGNAME") or _login(),
        trust=tuple(seen["ENGRAM_TRUST"].split(os.pathsep)) if seen.get("ENGRAM_TRUST") else (),
        password=seen.get("ENGRAM_PASSWORD", ""),
    )


def secret(variable: str, place: str, environment: Mapping[str, str] | None = None) -> str:
    """What an environment variable holds that a pipeline names, such as a password; empty if it is not set.

    Args:
        variable: its name, in capitals; anything else may be the secret itself, which is refused and not repeated.
        place: the key of the pipeline file that names it.
        environment: to look into; that of this process if not given.

    Raises:
        UsageError: this is no name of a variable.
    """
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", variable):
        key = place.rpartition(".")[2]
        raise UsageError(
            f"[data] {key} is the name of an environment variable in capitals, not the secret itself", place=place
        )
    return (os.environ if environment is None else environment).get(variable, "")
