"""The shelf by itself, on a package made for the test."""

from dataclasses import dataclass

import pytest

from engram.errors import MissingLibrary, UnknownName, UsageError
from engram.plugins import Shelf, nearest, options


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    package = tmp_path / "things_of_the_test"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "good.py").write_text("def act(): return 3\n")
    (package / "broken.py").write_text("import a_library_nobody_has\ndef act(): ...\n")
    (package / "poor.py").write_text("")
    (package / "_machinery.py").write_text("")
    (package / "folder").mkdir(exist_ok=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Shelf("things_of_the_test", "thing", ("act",))


def test_the_folder_is_the_register(shelf):
    assert shelf.names() == ["broken", "good", "poor"]
    assert shelf.take("good").act() == 3


def test_a_wrong_name_is_answered_with_the_nearest(shelf):
    with pytest.raises(UnknownName, match="thing 'god' does not exist; did you mean 'good'"):
        shelf.take("god")


def test_a_missing_library_is_answered_with_the_command_that_installs_it(shelf):
    with pytest.raises(MissingLibrary, match=r"needs a_library_nobody_has.*pip install 'engram\[broken\]'"):
        shelf.take("broken")


def test_a_module_that_breaks_its_contract_is_named(shelf):
    with pytest.raises(UsageError, match=r"'poor' .* does not define act"):
        shelf.take("poor")


def test_a_name_near_nothing_is_answered_with_all():
    assert nearest("xyz", ["b", "a"]) == "there are a, b"


@dataclass(frozen=True)
class Sample:
    count: int = 1
    share: float = 0.5
    words: tuple[str, ...] = ()
    either: int | None = None


def test_options_take_lists_for_tuples_and_whole_numbers_for_any():
    assert options(Sample, {"words": ["a"], "share": 1, "either": 4}, "x") == Sample(1, 1.0, ("a",), 4)


@pytest.mark.parametrize("given", [{"count": "3"}, {"count": 2.5}, {"count": True}, {"words": "ab"}, {"share": "1"}])
def test_options_of_a_wrong_type_name_key_and_value(given):
    with pytest.raises(UsageError) as refused:
        options(Sample, given, "train")
    ((key, value),) = given.items()
    assert f"[train] {key} = {value!r} is refused" in str(refused.value)
    assert refused.value.place == f"train.{key}"
