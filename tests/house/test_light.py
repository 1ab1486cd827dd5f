"""What a user pays for before doing anything."""

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "onnx", "onnxruntime", "polars", "fastapi", "sklearn", "matplotlib", "PIL", "sqlalchemy"}


def modules_after(*words: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running this."""
    code = (
        "import sys, runpy, json, io, contextlib\n"
        f"sys.argv = {list(words)!r}\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    try:\n"
        "        runpy.run_module('engram', run_name='__main__') if sys.argv[1:] else __import__('engram')\n"
        "    except SystemExit:\n"
        "        pass\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("words", [("engram",), ("engram", "--help"), ("engram", "run", "--help")])
def test_nothing_heavy_is_loaded_before_it_is_needed(words):
    assert not modules_after(*words) & HEAVY
