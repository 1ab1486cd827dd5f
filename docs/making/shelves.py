"""One page a plug-in, for every shelf: what it is for, its options, an example, its limits."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from engram.architectures.layers import TYPES
from engram.plugins import Shelf
from engram.preprocessing._columns import STEPS
from engram.store.catalogs._contract import Catalog
from engram.store.places._contract import Place
from making import runtimes
from making.callables import described, function
from making.docstrings import first_sentence, parse
from making.markdown import code, fragment, page, prose, table
from making.records import keys

__all__ = ["SHELVES", "Kind", "write"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A shelf as the reader meets it.

    Attributes:
        folder: of its pages, under ``docs/``.
        package: that has the shelf.
        heading: what its plug-ins are called.
        where: where a reader writes such a name.
        facts: what a page of this shelf says beside prose and options.
    """

    folder: str
    package: str
    heading: str
    where: str
    facts: Callable[[str, ModuleType], str]

    @property
    def shelf(self) -> Shelf:
        """The shelf itself."""
        found: Shelf = importlib.import_module(self.package).SHELF
        return found


def write() -> dict[str, str]:
    """Every page of every shelf, path → text."""
    return {f"{kind.folder}/{name}.md": _page(kind, name) for kind in SHELVES for name in kind.shelf.names()}


def _page(kind: Kind, name: str) -> str:
    module = kind.shelf.take(name)
    crumb = f"{kind.shelf.noun.capitalize()} {code(name)}: {kind.where}. [All pages](../index.md)."
    options = _options(module)
    example = fragment(kind.folder, f"{name}.md") or _template(kind, name, module)
    return page(name, crumb, prose(parse(module.__doc__).prose), options, kind.facts(name, module), example)


def _options(module: ModuleType) -> str:
    record = getattr(module, "Options", None)
    return f"## Options\n\n{keys(record)}" if record is not None else ""


def _template(kind: Kind, name: str, module: ModuleType) -> str:
    """The example that all plug-ins of a shelf share, where one was written; ``{words}`` are filled in."""
    text = fragment(kind.folder, "_template.md")
    if not text:
        return ""
    sign = ">=" if getattr(module, "BEST", "max") == "max" else "<="
    return text.replace("{name}", name).replace("{sign}", sign)


def _none(_name: str, _module: ModuleType) -> str:
    return ""


def _step(name: str, module: ModuleType) -> str:
    kinds = [code(kind) for kind, steps in STEPS.items() if name in steps]
    lines = [f"A step of columns of kind {', '.join(kinds)}."]
    if main := getattr(module, "MAIN", ""):
        lines.append(f"A bare value stands for {code(main)}.")
    return " ".join(lines)


def _layers(name: str, _module: ModuleType) -> str:
    if name != "layers":
        return ""
    blocks = ["## Layer types"]
    for record in dict.fromkeys(TYPES.values()):
        known = keys(record)
        blocks.append(prose(inspect.cleandoc(record.__doc__ or "")) + (f"\n\n{known}" if known else ""))
    return "\n\n".join(blocks)


_LOOKS_AT = {
    "labels": "the class answered",
    "probabilities": "the chance of every class",
    "values": "the number answered",
}


def _metric(_name: str, module: ModuleType) -> str:
    found = parse(module.score.__doc__)
    best = "higher is better" if module.BEST == "max" else "lower is better"
    source = found.prose.partition("Source: ")[2]
    facts = [
        ["title", getattr(module, "TITLE", "")],
        ["value", f"{found.returns} {best.capitalize()}."],
        ["tasks", ", ".join(code(task) for task in module.TASKS)],
        ["looks at", _LOOKS_AT[module.NEEDS]],
        ["source", " ".join(source.split())],
    ]  # fmt: skip
    return table(["", ""], [row for row in facts if row[1]])


_CARRIED = {
    "graph": "the network's graph",
    "weights": "its weights",
    "preprocessing": "the way from raw row to tensor",
    "names": "the source's own names of the weights",
    "training state": "the training state",
}


def _format(_name: str, module: ModuleType) -> str:
    rows = [
        ["suffixes", ", ".join(code(suffix) if suffix else "any name" for suffix in module.SUFFIXES)],
        ["carries", "; ".join(_CARRIED[part] for part in module.CARRIES)],
    ]
    return table(["", ""], rows)


def _public(_name: str, module: ModuleType) -> str:
    made = [(name, getattr(module, name)) for name in module.__all__]
    return "\n\n".join(["## In Python", *(function(n, f) for n, f in made if inspect.isfunction(f))])


def _runtime(name: str, module: ModuleType) -> str:
    return "\n\n".join(part for part in (_public(name, module), runtimes.operators(name, module)) if part)


def _place(_name: str, module: ModuleType) -> str:
    return _contract("## What a place does", module, Place)


def _catalog(_name: str, module: ModuleType) -> str:
    return _contract("## What a catalog does", module, Catalog)


def _contract(heading: str, module: ModuleType, contract: type) -> str:
    methods = [(name, made) for name, made in vars(contract).items() if inspect.isfunction(made) and name[0] != "_"]
    rows = [[code(name), first_sentence(made.__doc__)] for name, made in methods]
    opened = described(parse(module.open.__doc__))
    return "\n\n".join([heading, opened, table(["method", "what it does"], rows)])


def _routes(_name: str, module: ModuleType) -> str:
    """The routes, read from their declarations: making them would need a model to serve."""
    tree = ast.parse(inspect.getsource(module))
    rows = [row for each in ast.walk(tree) if isinstance(each, ast.AsyncFunctionDef) for row in _declared(each, tree)]
    return f"## Routes\n\n{table(['route', 'what it does'], rows)}"


def _declared(made: ast.AsyncFunctionDef, tree: ast.Module) -> list[list[str]]:
    calls = [d for d in made.decorator_list if isinstance(d, ast.Call) and isinstance(d.func, ast.Attribute)]
    found = []
    for call in calls:
        assert isinstance(call.func, ast.Attribute)
        place = _prefix(made, tree) + str(ast.literal_eval(call.args[0]))
        found.append([code(f"{call.func.attr.upper()} {place}"), first_sentence(ast.get_docstring(made))])
    return found


def _prefix(made: ast.AsyncFunctionDef, tree: ast.Module) -> str:
    """What the router of a route puts in front of it."""
    for outer in tree.body:
        if isinstance(outer, ast.FunctionDef) and made in ast.walk(outer):
            for each in ast.walk(outer):
                if isinstance(each, ast.keyword) and each.arg == "prefix":
                    return str(ast.literal_eval(each.value))
    return ""


SHELVES = (
    Kind("data", "engram.data", "Data sources", "found from `[data] from`, or named by `kind` in `[data]`", _none),
    Kind("preprocessing", "engram.preprocessing", "Preprocessing steps", "a key of a column in `[columns]`", _step),
    Kind("architectures", "engram.architectures", "Architectures", "`kind` in `[model]`", _layers),
    Kind("metrics", "engram.evaluation.metrics", "Metrics", "a name in `[evaluate] metrics` and `[keep] if`", _metric),
    Kind("formats", "engram.formats", "Formats", "found from a file's content, or named by `--to`", _format),
    Kind("runtime", "engram.runtime", "Runtimes", "where a model computes", _runtime),
    Kind("places", "engram.store.places", "Places", "what a store stands on", _place),
    Kind("catalogs", "engram.store.catalogs", "Catalogs", "what a store knows of its blobs", _catalog),
    Kind("protocols", "engram.serving.protocols", "Protocols", "a door of `engram serve`", _routes),
)  # fmt: skip
"""Every shelf, in the order of the life of a model."""
