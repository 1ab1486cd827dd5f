"""Everything that a user can type, meet or set is on a page."""

import importlib
import re
import subprocess
import sys
from dataclasses import fields

import pytest
import typer

import engram
from engram import errors, settings
from engram.architectures._parts import ACTIVATIONS
from engram.architectures.layers import TYPES
from engram.cli.application import application
from engram.records.pipeline import AugmentSection, DataSection, EvaluateSection, TrainSection
from engram.store.store import Store
from engram.training.losses import LOSSES
from engram.training.optimizers import OPTIMIZERS, SCHEDULES

SHELVES = {
    "data": "engram.data",
    "preprocessing": "engram.preprocessing",
    "architectures": "engram.architectures",
    "metrics": "engram.evaluation.metrics",
    "formats": "engram.formats",
    "runtime": "engram.runtime",
    "places": "engram.store.places",
    "catalogs": "engram.store.catalogs",
    "protocols": "engram.serving.protocols",
}
PLUG_INS = [(folder, name) for folder, path in SHELVES.items() for name in importlib.import_module(path).SHELF.names()]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def test_the_made_pages_are_as_the_code_is(root):
    done = subprocess.run(
        [sys.executable, root / "docs" / "make.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_shelf_has_a_folder_of_pages(root):
    packages = {
        path.parent.relative_to(root / "src").as_posix().replace("/", ".")
        for path in (root / "src").rglob("__init__.py")
        if "SHELF = Shelf(" in path.read_text(encoding="utf-8")
    }
    assert packages == set(SHELVES.values())


@pytest.mark.parametrize(("folder", "name"), PLUG_INS)
def test_every_plug_in_has_a_page_with_its_options_and_an_example(folder, name, pages):
    page = pages[f"docs/{folder}/{name}.md"]
    assert page.startswith("<!-- Made from the code by `make docs`")
    assert "## Example" in page
    module = importlib.import_module(SHELVES[folder]).SHELF.take(name)
    for field in fields(module.Options) if hasattr(module, "Options") else ():
        assert f"| `{field.name}` |" in page
    assert f"({folder}/{name}.md)" in pages["docs/index.md"]


def test_every_command_and_option_is_described(pages):
    page = pages["docs/commands.md"]
    for name, command in typer.main.get_command(application).commands.items():
        section = page.partition(f"\n## engram {name}\n")[2].partition("\n## ")[0]
        assert command.help in section
        assert "```console" in section, f"engram {name} has no example"
        for parameter in command.params:
            assert parameter.help, f"engram {name}: {parameter.opts} has no help"
            for word in parameter.opts if parameter.opts[0].startswith("-") else [parameter.metavar]:
                assert f"`{word}`" in section.replace("\\|", "|")


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_described(name, pages):
    assert f"\n## {name}\n" in pages["docs/errors.md"]


def test_every_setting_is_described(pages):
    for name in settings.VARIABLES:
        assert f"`{name}`" in pages["docs/settings.md"]


def test_no_variable_of_the_environment_is_read_without_being_a_setting(root):
    read = {
        word
        for path in (root / "src").rglob("*.py")
        for word in re.findall(r"\bENGRAM_[A-Z_]+\b", path.read_text(encoding="utf-8"))
    }
    assert read == {name for name in settings.VARIABLES if name.startswith("ENGRAM_")}


def test_every_key_of_the_pipeline_file_is_described(pages):
    page = pages["docs/pipeline.md"]
    keys = [f.name for record in (TrainSection, AugmentSection, EvaluateSection) for f in fields(record)]
    keys += [f.name for f in fields(DataSection) if f.name not in {"source", "options"}]
    for key in [*keys, "from", "kind", "name", "alias", "if", *LOSSES, *SCHEDULES, *ACTIVATIONS]:
        assert f"`{key}`" in page, key
    for name, record in OPTIMIZERS.items():
        section = page.partition(f"\n#### {name}\n")[2].partition("\n###")[0]
        assert all(f"| `{field.name}` |" in section for field in fields(record)), name


def test_every_layer_type_is_described(pages):
    page = pages["docs/architectures/layers.md"]
    for name, record in TYPES.items():
        assert f"`{name}`" in page
        assert all(f"| `{field.name}` |" in page for field in fields(record)), name


def test_the_facade_and_the_store_are_described(pages):
    page = pages["docs/python.md"]
    functions = [name for name in engram.__all__ if name.islower() and name != "errors"]
    for name in functions:
        assert f"### `engram.{name}()`" in page
    for name in set(engram.__all__) - {*functions, "errors"}:
        assert f"### `{name}`" in page
    for name in [name for name in vars(Store) if not name.startswith("_")]:
        assert f"### `store.{name}()`" in page


def test_relative_links_lead_somewhere(pages, root):
    broken = []
    for name, text in pages.items():
        for link in LINK.findall(re.sub(r"```.*?```|`[^`\n]*`(?!\])", "", text, flags=re.DOTALL)):
            if link.startswith(("http://", "https://")):
                continue
            place, _, anchor = link.partition("#")
            target = (root / name).parent / place if place else root / name
            if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
                broken.append(f"{name}: {link}")
    assert not broken


def anchors(text):
    """What headings are called in links, as GitHub makes it."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_is_reached_from_the_index(pages):
    reached, left = set(), ["docs/index.md"]
    while left:
        name = left.pop()
        reached.add(name)
        folder = name.rpartition("/")[0]
        for link in LINK.findall(pages[name]):
            place = link.partition("#")[0]
            target = normal(f"{folder}/{place}")
            if target in pages and target not in reached:
                left.append(target)
    assert {name for name in pages if name.startswith("docs/")} <= reached


def normal(path):
    parts = []
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def test_the_figures_of_the_readme_have_their_place(pages):
    readme = pages["README.md"]
    assert readme.count("<!-- figures -->") == readme.count("<!-- /figures -->") == 1
    assert readme.index("<!-- figures -->") < readme.index("<!-- /figures -->")


def test_pictures_are_small_and_used(root, pages):
    said = "\n".join(pages.values())
    for picture in (root / "docs" / "pictures").iterdir():
        assert picture.stat().st_size <= 250_000
        assert f"pictures/{picture.name})" in said
