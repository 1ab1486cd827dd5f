"""Commands that go on until they are stopped: serve."""

from __future__ import annotations

import json as json_module
import sys

import typer

from engram.cli.terminal import JSON, STORE, say

__all__ = ["COMMANDS"]


def serve(
    references: list[str] = typer.Argument(..., help="Versions: income, income:7, income@prod.", metavar="REF…"),
    host: str = typer.Option("127.0.0.1", "--host", help="The address to listen on."),
    port: int = typer.Option(8080, "--port", help="The port to listen on; 0 picks a free one."),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Answer requests over HTTP until stopped."""
    from engram import settings
    from engram.lifecycle.places import open_store
    from engram.lifecycle.serve import serve as answer

    def ready(url: str) -> None:
        if json:
            typer.echo(json_module.dumps({"url": url, "serving": references}))
        else:
            say(f"[green]✓[/] serving {', '.join(references)} at [bold]{url}[/]")
            say(f"  the API in a browser: {url}/docs   stop with Ctrl-C")
        sys.stdout.flush()  # whoever started this in the background waits for the line

    answer(references, store=open_store(store, settings.read()), host=host, port=port, ready=ready)


COMMANDS = (serve,)
