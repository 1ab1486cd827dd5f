"""No file makes Engram run code, write or read elsewhere, speak to the network, or take more than it may.

One table of hostile files for all readers (``tests/hostile``), opened by ``inspect``, ``import`` and ``convert`` in one
process that an audit hook watches, and its isolated workers with it. What single readers refuse, and in which words, is
in their own tests.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hostile.files import FILES, HONEST, SHOWN, Bait
from hostile.pickles import CONTAINERS, payloads
from hostile.watched import PLANTED

TESTS = Path(__file__).resolve().parents[1]
SECONDS = 10.0
"""Of processor time, for a hostile file; an honest one may have to be asked in its own framework."""
SECRET = bytes(range(7, 71))
EVERY, SOME = {"pkl", "pt", "npz"}, {"global", "stack_global", "extension", "build"}
"""Containers that are asked with every pickle; the others are read by the same machine and asked with some."""
PICKLES = [
    f"{container} {name}"
    for container in CONTAINERS
    for name in payloads(Path("/canary"))
    if container in EVERY or name in SOME
]
CASES = [*HONEST, *FILES, *PICKLES]
VERBS = ("inspect", "import", "convert")


def stage(place: Path) -> Bait:
    """The folders, the secret, and what the watched processes import first."""
    for name in ("work", "tmp", "secret", "paths"):
        (place / name).mkdir()
    (place / "secret" / "secret.bin").write_bytes(SECRET)
    shutil.copy(TESTS / "hostile" / "hook.py", place / "paths" / "sitecustomize.py")
    (place / "paths" / "planted.py").write_text(PLANTED)
    return Bait(place / "canary", place / "secret" / "secret.bin")


def process(place: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A process under watch, with the tests and the code under test on its path."""
    paths = os.pathsep.join([str(place / "paths"), *sys.path, str(TESTS)])
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_")}
    told = {"PYTHONPATH": paths, "TMPDIR": str(place / "tmp"), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", module, str(place), *words],
        cwd=place / "tmp",
        env=plain | told | {"COLUMNS": "2000"},
        capture_output=True,
        text=True,
        check=False,
    )


def built(place: Path, bait: Bait) -> list[dict[str, str]]:
    """Every file of the table, in a folder of its own."""
    made = []
    for name in CASES:
        folder = place / "work" / name.replace(" ", "-")
        folder.mkdir()
        if name in FILES or name in HONEST:
            path = (FILES | HONEST)[name](folder, bait)
        else:
            container, _, payload = name.partition(" ")
            path = CONTAINERS[container](folder, payloads(bait.canary)[payload])
        made.append({"name": name, "path": str(path), "folder": str(folder)})
    return made


def told(place: Path, count: int) -> Iterator[dict[str, Any]]:
    """What the watched process says of each; another goes on where one was ended."""
    first = 0
    while first < count:
        done = process(place, "hostile.watched", str(first))
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        yield from (line for line in lines if "code" in line)
        if done.returncode == 0:
            return
        assert lines, done.stderr[-2000:]
        yield {**lines[-1], "code": done.returncode, "said": done.stderr[-500:], "noted": [], "seconds": 0.0}
        first = lines[-1]["at"] + 1


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Any]]:
    """Name → verb → what came of it; under ``after``, whether the canary is there."""
    place = tmp_path_factory.mktemp("hostile")
    bait = stage(place)
    cases = built(place, bait)
    (place / "cases.json").write_text(json.dumps(cases))
    found: dict[str, dict[str, Any]] = {name: {} for name in CASES}
    for line in told(place, len(cases)):
        found[CASES[line["at"]]][line["verb"]] = line
    assert not list(place.glob("canary*")), "something ran what a file says"
    for case in cases:
        out = Path(case["folder"]) / "converted.safetensors"
        found[case["name"]]["leaked"] = out.is_file() and SECRET in out.read_bytes()
    return found


@pytest.mark.parametrize("name", [*FILES, *PICKLES])
def test_a_hostile_file_is_refused_in_one_line_by_every_verb(name: str, opened):
    for verb in VERBS[name in SHOWN :]:
        found = opened[name][verb]
        assert found["code"] == 1, f"{verb}: {found}"
        lines = [line for line in found["said"].splitlines() if line.strip()]
        assert len(lines) == 1, f"{verb}: {found['said']}"
        assert lines[0].startswith("engram: ")
        assert "a fault of engram" not in lines[0]


@pytest.mark.parametrize("name", CASES)
def test_no_file_reaches_beyond_its_folder(name: str, opened):
    for verb in VERBS:
        found = opened[name].get(verb, {"noted": [], "seconds": 0.0})
        assert not found["noted"], f"{verb}: {found['noted']}"
        assert name in HONEST or found["seconds"] < SECONDS, verb
    assert not opened[name]["leaked"]


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_file_is_read(name: str, opened):
    for verb in ("inspect", "convert"):
        assert opened[name][verb]["code"] == 0, f"{verb}: {opened[name][verb]['said']}"


def test_every_hostile_pickle_runs_where_pickles_are_run(tmp_path: Path):
    stage(tmp_path)
    done = process(tmp_path, "hostile.victim")
    assert done.returncode == 0, done.stderr
    found = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert found.keys() == payloads(tmp_path / "canary").keys()
    assert not [name for name, line in found.items() if not line["ran"]]
    assert not [name for name, line in found.items() if not line["noted"]], "the hook is blind"
