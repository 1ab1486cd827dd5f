"""The command line as a user has it, in a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engram.cli.application import main

Engram = Callable[..., "Answer"]

IRIS = """\
[data]
from = "sklearn:iris"

[train]
epochs = 1
"""


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What was refused, and why; exactly one sentence on one line, and no traceback."""
        assert self.code == 1, self.out + self.err
        assert "Traceback" not in self.err + self.out
        lines = [line for line in self.err.splitlines() if line.startswith("engram: ")]
        assert len(lines) == 1, self.err
        assert "a fault of engram" not in lines[0]
        return lines[0].removeprefix("engram: ")


def call(words: tuple[object, ...], capsys: pytest.CaptureFixture[str]) -> Answer:
    """Run a command in this process, through the same door as a shell does."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return Answer(int(left.value.code or 0), out, err)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with nothing in the environment that Engram reads."""
    for name in [name for name in os.environ if name.startswith("ENGRAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def engram(here: Path, capsys: pytest.CaptureFixture[str]) -> Engram:
    """``engram("run", "x.toml")`` in the empty folder."""
    return lambda *words: call(words, capsys)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with one kept version of iris, to be read and not to be changed."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "iris.toml").write_text(IRIS)
    before = Path.cwd()
    os.chdir(folder)
    try:
        with pytest.raises(SystemExit) as left:
            main(["run", "iris.toml", "--store", str(folder / "engrams"), "--json"])
    finally:
        os.chdir(before)
    assert left.value.code == 0
    return folder


@pytest.fixture
def start(here: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command in a process of its own, which does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: object) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "engram", *map(str, words)],
                cwd=here,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()
