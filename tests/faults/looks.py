"""Looking at a store after a fault, and how much of a test is tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faults.stage import Stage, Step

__all__ = ["LOOK", "both", "pointed", "seen", "view"]

LOOK = Step("examine")


def both(quick: int, full: int) -> pytest.MarkDecorator:
    """A test's ``effort``: the quick one in every run, the full one where the marker ``long`` is asked for."""
    full_form = pytest.param(full, id="full", marks=pytest.mark.long)
    return pytest.mark.parametrize("effort", [pytest.param(quick, id="quick"), full_form])


def seen(stage: Stage, folder: Path, *steps: Step) -> list[dict[str, Any]]:
    """Do works unharmed, and give what each ``examine`` among them found; none may raise."""
    outcome = stage.play(folder, *steps)
    assert not outcome.killed, outcome
    for _, sentence, trace in outcome.told("raised"):
        raise AssertionError(f"{sentence}\n{trace}")
    return [found for (found,) in outcome.told("found")]


def view(found: dict[str, Any]) -> tuple[Any, ...]:
    """What a user would tell two states of a store apart by; a store may have been left with blobs nobody needs."""
    assert not found["damage"], found["damage"]
    versions = sorted(tuple(version) for version in found["versions"].values())
    return versions, found["moves"], found["runs"]


def pointed(found: dict[str, Any]) -> dict[str, str]:
    """What ``index.json`` should list: every version, the newest by its name alone too, and where the alias points."""
    newest: dict[str, tuple[int, str]] = {}
    for digest, (name, number, _) in found["versions"].items():
        newest[name] = max(newest.get(name, (0, "")), (number, digest))
    listed = {name: digest for name, (_, digest) in newest.items()}
    listed |= {f"{name}:{number}": digest for digest, (name, number, _) in found["versions"].items()}
    return {**listed, "income@prod": found["moves"][-1]} if found["moves"] else listed
