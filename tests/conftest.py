"""What tests of several packages need."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A shared machine makes any example slow at times; what continuous integration tries should not be a matter of luck.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

pytest_plugins = ["servers.fixtures", "signers.fixtures", "networks.fixtures"]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """The path of a real data file, or a skip that says where it was looked for."""
    places = [Path(p) for p in (os.environ.get("ENGRAM_DATA"), ROOT.parent / "shared" / "data") if p]

    def find(name: str) -> Path:
        for place in places:
            if (place / name).exists():
                return place / name
        pytest.skip(f"{name} is in none of {', '.join(map(str, places))}; set ENGRAM_DATA to the folder that has it")

    return find


@pytest.fixture
def zone() -> Iterator[Callable[[str], None]]:
    """Work in a time zone from now on, as a user there would."""
    patch = pytest.MonkeyPatch()

    def enter(name: str) -> None:
        patch.setenv("TZ", name)
        time.tzset()

    yield enter
    patch.undo()
    time.tzset()
