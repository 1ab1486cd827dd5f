"""The code says what it is for: the reference pages are made of it."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "engram"
FILES = sorted(SOURCE.rglob("*.py"))
WORDS = 9
"""Fewer say what a module is called and not why it exists."""


def named(path):
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_module_says_why_it_exists(path):
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert said, f"{named(path)} has no docstring"
    assert len(said.split()) >= WORDS, f"{named(path)} has a label for a docstring: {said!r}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_public_class_and_function_has_a_docstring(path):
    silent = [f"{named(path)}:{node.lineno} {node.name}" for node in public(ast.parse(path.read_text("utf-8")))]
    assert not silent


def public(tree):
    """The public definitions without a docstring, those in public classes among them."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)
