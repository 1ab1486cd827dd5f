"""The door of the command line: ``engram …`` and ``python -m engram …``."""

from __future__ import annotations

from engram.cli.application import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
