"""Commands about this installation rather than any network: doctor."""

from __future__ import annotations

from dataclasses import asdict

import typer

from engram.cli.terminal import JSON, STORE, complain, show_json, table

__all__ = ["COMMANDS"]

_MARKS = {"good": "✓", "absent": "–", "bad": "✗"}


def doctor(store: str = STORE, json: bool = JSON) -> None:
    """Look at what is installed, whether the store can be used, and what stands in the way."""
    from engram import settings
    from engram.lifecycle.doctor import examine

    facts = examine(store, settings.read())
    if json:
        show_json([asdict(fact) for fact in facts])
    else:
        rows = [(_MARKS[fact.verdict], fact.what, fact.found, fact.advice) for fact in facts]
        table(("", "what", "found", "what to do"), rows, whole=("what",))
    bad = [fact for fact in facts if fact.verdict == "bad"]
    if bad:
        complain("; ".join(f"{fact.what}: {fact.found}, {fact.advice}" for fact in bad))
        raise typer.Exit(1)


COMMANDS = (doctor,)
