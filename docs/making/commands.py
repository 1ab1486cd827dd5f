"""The command line, one section a command, from the commands themselves."""

from __future__ import annotations

from typing import Any, get_args

import typer

from engram.cli.application import application
from making.markdown import code, fragment, page, table

__all__ = ["commands", "write"]

_TYPES = {"str": "text", "int": "whole number", "float": "number", "bool": "", "Path": "path"}


def commands() -> dict[str, Any]:
    """Every command by its name, in the order of ``engram --help``."""
    group: Any = typer.main.get_command(application)
    return dict(group.commands)


def write() -> dict[str, str]:
    """``docs/commands.md``."""
    known = commands()
    overview = [[f"[`engram {name}`](#engram-{name})", command.help or ""] for name, command in known.items()]
    sections = [_section(name, command) for name, command in known.items()]
    text = page("Commands", fragment("commands", "_before.md"), table(["command", "what it does"], overview), *sections)
    return {"commands.md": text}


def _section(name: str, command: Any) -> str:  # noqa: ANN401 - a command of typer
    arguments = [p for p in command.params if not p.opts[0].startswith("-")]
    options = [p for p in command.params if p.opts[0].startswith("-")]
    usage = " ".join(["engram", name, *(p.metavar or p.name.upper() for p in arguments), *map(_used, options)])
    blocks = [f"## engram {name}", command.help or "", f"```text\n{usage}\n```"]
    blocks.append(
        table(["argument", "meaning"], [[code(p.metavar or p.name.upper()), p.help or ""] for p in arguments])
    )
    blocks.append(table(["option", "type", "default", "meaning"], [_option(p) for p in options]))
    blocks.append(fragment("commands", f"{name}.md"))
    return "\n\n".join(block.strip("\n") for block in blocks if block)


def _used(option: Any) -> str:  # noqa: ANN401 - an option of typer
    word = option.opts[-1] if _type(option) == "" else f"{option.opts[-1]} {option.name.upper()}"
    return word if option.required else f"[{word}]"


def _option(option: Any) -> list[str]:  # noqa: ANN401 - an option of typer
    names = ", ".join(code(name) for name in option.opts)
    shown = "must be given" if option.required else code(str(option.default)) if option.default else "–"
    return [names, _type(option), shown, option.help or ""]


def _type(option: Any) -> str:  # noqa: ANN401 - an option of typer
    kind = option.type_descriptor.annotation
    several = get_args(kind)  # an option that may be given more than once is a list
    return f"{_TYPES[several[0].__name__]}, again for more" if several else _TYPES[kind.__name__]
