"""What the page on safety says of the source itself."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "engram"
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
WRITES = {"formats/_sklearn/writing.py": ["joblib", "pickle"]}
"""Modules that write what they never read; loading is no call of theirs either."""
CONFINED = {
    "formats/_torchscript/job.py": ["torch.jit.load"],
    "formats/_pt2/answering.py": ["torch.jit.load", "torch.export.load"],
}
"""What is called in the confined worker alone: the module is a job of it, and nothing else imports it."""
CALLS = {
    "pickle.load",
    "pickle.loads",
    "torch.load",
    "torch.jit.load",
    "torch.export.load",
    "joblib.load",
    "eval",
    "exec",
    "compile",
    "__import__",
}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_nothing_in_the_source_can_run_what_a_file_says(path):
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").partition(".")[0] in MODULES else []
        elif isinstance(node, ast.Call):
            found += [name] if (name := ast.unparse(node.func)) in CALLS else []
            found += ["allow_pickle"] if any(word.arg == "allow_pickle" for word in node.keywords) else []
    assert found == {**WRITES, **CONFINED}.get(path.relative_to(SOURCE).as_posix(), [])


@pytest.mark.parametrize("name", CONFINED)
def test_what_runs_in_the_worker_is_imported_by_nothing_else(name):
    module = "engram." + name.removesuffix(".py").replace("/", ".")
    folder, _, last = module.rpartition(".")
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert module not in [each.name for each in node.names], path
            elif isinstance(node, ast.ImportFrom):
                assert node.module != module, path
                assert node.module != folder or last not in [each.name for each in node.names], path
