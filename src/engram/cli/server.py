"""Commands that serve: serve."""

from __future__ import annotations

import typer

from engram.cli.terminal import STORE, say

__all__ = ["COMMANDS"]


def serve(
    references: list[str] = typer.Argument(..., help="Versions: income, income:7, income@prod.", metavar="REF…"),
    host: str = typer.Option("127.0.0.1", "--host", help="The address to listen on."),
    port: int = typer.Option(8080, "--port", help="The port to listen on; 0 picks a free one."),
    store: str = STORE,
) -> None:
    """Answer requests over HTTP until stopped."""
    from engram import settings
    from engram.lifecycle.places import open_store
    from engram.lifecycle.serve import serve as answer

    def ready(url: str) -> None:
        say(f"[green]✓[/] serving {', '.join(references)} at [bold]{url}[/]")
        say(f"  try it in a browser: {url}/docs   stop with Ctrl-C")

    answer(references, store=open_store(store, settings.read()), host=host, port=port, ready=ready)


COMMANDS = (serve,)
