"""What the pages show works: every TOML block, every command line, every example of Python."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from sklearn.metrics import median_absolute_error

import engram
from engram.architectures import SHELF as ARCHITECTURES
from engram.architectures.layers import TYPES
from engram.cli.application import application
from engram.data import SHELF as DATA
from engram.errors import EngramError
from engram.evaluation.conditions import parse as parse_condition
from engram.evaluation.metrics import SHELF as METRICS
from engram.pipelines.parse import parse
from engram.plugins import options
from engram.preprocessing._columns import parse as parse_column
from engram.records import Column, Signature, TensorSpec
from engram.records.dataset import KINDS
from engram.training.loop import Often
from engram.training.optimizers import optimizer_for, rate_for
from engram.training.stopping import Rule

OTHER_FILE = "# pyproject.toml"
GROUP = typer.main.get_command(application)


def run(words, folder, **more):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ENGRAM_")}
    return subprocess.run(words, cwd=folder, env=environment | more, capture_output=True, text=True, check=False)


def test_every_toml_block_is_a_pipeline_that_its_stages_accept(fenced):
    blocks = [(page, text) for page, text in fenced("toml") if not text.startswith(OTHER_FILE)]
    assert len(blocks) > 30
    for page, text in blocks:
        whole = text if "[data]" in text else f'[data]\nfrom = "rows.csv"\n{text}'
        try:
            accepted(parse(whole), page)
        except EngramError as refused:
            pytest.fail(f"{page}: {refused}\n{text}")
        named = parse(whole).evaluate.metrics + tuple(parse(whole).keep.conditions)
        assert page == "CONTRIBUTING.md" or set(named) <= set(METRICS.names()), page


def accepted(pipeline, page):
    """Ask the owners of the options, which the parser leaves to them; the page of a source speaks of that source."""
    source = pipeline.data.source[0]
    kind = pipeline.data.kind or ("sklearn" if source.startswith("sklearn:") else "")
    kind = kind or (
        Path(page).stem if page.startswith("docs/data/") else "images" if source.endswith(".zip") else "csv"
    )
    options(DATA.take(kind).Options, pipeline.data.options, "data")
    if pipeline.model.kind and ".py:" not in pipeline.model.kind:
        options(ARCHITECTURES.take(pipeline.model.kind).Options, pipeline.model.options, "model")
    if pipeline.model.kind == "layers":
        layered(pipeline.model.options["layers"])
    optimizer_for(pipeline.train.optimizer, torch.nn.Linear(2, 2))
    rate_for(pipeline.train.schedule, steps=10, epoch=1)
    options(Rule, pipeline.train.stop, "train.stop")
    options(Often, pipeline.train.checkpoint, "train.checkpoint")
    for name, table in pipeline.columns.items():
        columned(name, table)
    for metric, condition in pipeline.keep.conditions.items():
        parse_condition(metric, condition)


def layered(layers):
    for layer in layers:
        options(TYPES[layer["type"]], {k: v for k, v in layer.items() if k != "type"}, "model.layers")
        layered(layer.get("layers", ()))


def columned(name, table):
    """A table is right if it is right for its kind, or for any where it does not say."""
    if isinstance(table, str):
        assert table in {*KINDS, "ignore"}
        return
    refused = None
    for kind in [table["kind"]] if "kind" in table else KINDS:
        try:
            parse_column(Column(name, kind), table, name)
        except EngramError as wrong:
            refused = refused or wrong
        else:
            return
    raise refused


def test_every_command_line_is_one_that_exists(fenced):
    seen = set()
    for page, text in [*fenced("console"), *fenced("text"), *fenced("")]:
        for line in re.sub(r"\\\n", " ", text).splitlines():
            found = re.match(r"\$ (?:[A-Z_]+=\S+ )*(engram .*)", line)
            for part in re.split(r" (?:&&|\||&)(?: |$)", found[1]) if found else ():
                words = shlex.split(part)
                assert words[1] in GROUP.commands, f"{page}: {line}"
                GROUP.commands[words[1]].make_context(words[1], words[2:])
                seen.add(words[1])
    assert seen == set(GROUP.commands)


def test_no_page_speaks_of_a_command_that_is_not_there(pages):
    for page, text in pages.items():
        for word in re.findall(r"`engram ([a-z]+)\b", text):
            assert word in GROUP.commands, f"{page}: engram {word}"


def test_every_make_word_exists(pages, root):
    known = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page, text in pages.items():
        assert set(re.findall(r"\bmake ([a-z]+)`", text)) <= known, page


def test_every_block_of_python_is_python(fenced):
    for page, text in fenced("python"):
        if "…" not in text and not re.match(r"[\w.]+\(", text):
            ast.parse(text, page)


@pytest.fixture(scope="module")
def flowers(fenced, tmp_path_factory):
    """The folder in which the README's example was run, and what it printed."""
    folder = tmp_path_factory.mktemp("readme")
    (_, example), *_ = fenced("python", "README.md")
    assert len([line for line in example.splitlines() if line and not line.startswith(("import", "from"))]) <= 10
    (folder / "example.py").write_text(example, encoding="utf-8")
    done = run([sys.executable, "example.py"], folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_example_of_the_readme_runs(flowers):
    folder, printed = flowers
    first, difference = printed.splitlines()
    reference, accuracy, label = first.split()
    assert (reference, label) == ("iris:1", "setosa")
    assert float(accuracy) > 0.8
    assert float(difference) < 1e-5
    assert (folder / "iris.onnx.certificate.json").exists()


def test_the_exported_file_answers_without_us_as_its_page_says(flowers, fenced):
    folder, _ = flowers
    ((_, example),) = fenced("python", "docs/formats/onnx.md")
    done = run([sys.executable, "-c", f"{example}\nprint(label[0], probabilities.shape)"], folder)
    assert done.stdout.strip() == "setosa (1, 3)", done.stderr


def test_the_question_of_the_python_page_is_answered_as_it_says(flowers, fenced):
    folder, _ = flowers
    (example,) = [text for _, text in fenced("python", "docs/python.md") if text.startswith("answer = ")]
    code = f"import engram\nmodel = engram.open().load('iris')\n{example}\nprint(list(answer.labels))"
    done = run([sys.executable, "-c", code], folder)
    assert done.stdout.strip() == "['setosa']", done.stderr


def test_the_layers_that_a_person_wrote_by_hand_are_a_network(fenced, tmp_path):
    ((_, example),) = fenced("json", "docs/formats/json.md")
    (tmp_path / "drawn.json").write_text(example, encoding="utf-8")
    model = engram.read(tmp_path / "drawn.json")
    answer = model.predict(np.array([[2.0, -3.0], [1.0, 4.0]], dtype=np.float32))
    (output,) = answer.outputs.values()
    assert output.ravel().tolist() == [2.0, 5.0]


def test_the_network_of_a_users_own_can_be_made(fenced):
    (example,) = [text for _, text in fenced("python", "docs/pipeline.md") if "def make_network" in text]
    made = {}
    exec(example, made)
    signature = Signature(
        (TensorSpec("features", "float32", ("batch", 7)),),
        (TensorSpec("answer.logits", "float32", ("batch", 3), kind="logits"),),
    )
    assert made["make_network"](signature, width=4)(torch.zeros(2, 7)).shape == (2, 3)


@pytest.fixture
def distribution(fenced, tmp_path):
    """The worked example of CONTRIBUTING as an installed distribution with an entry point."""
    ((_, source),) = fenced("python", "CONTRIBUTING.md")
    (entry,) = [text for _, text in fenced("toml", "CONTRIBUTING.md") if text.startswith(OTHER_FILE)]
    group = re.search(r'entry-points\."([\w.]+)"', entry)[1]
    name, module = re.search(r'^(\w+) = "([\w.]+)"', entry, re.MULTILINE).groups()
    place = tmp_path / Path(*module.split(".")).with_suffix(".py")
    place.parent.mkdir()
    (place.parent / "__init__.py").write_text("")
    place.write_text(source, encoding="utf-8")
    facts = tmp_path / "my_metrics-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: my-metrics\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}\n")
    return tmp_path


def test_the_worked_example_keeps_the_promises_of_its_shelf(distribution, root):
    words = ["-m", "pytest", "tests/evaluation/test_metrics.py", "-k", "median_error", "-p", "no:cacheprovider"]
    done = run([sys.executable, *words], root, PYTHONPATH=str(distribution))
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 6


def test_the_worked_example_is_a_metric_like_any_other(distribution):
    truth, said = [1.0, 2.0, 10.0, 4.0], [1.5, 2.0, 3.0, 8.0]
    code = (
        "import numpy as np\nfrom engram.evaluation.metrics import SHELF\n"
        f"print('median_error' in SHELF.names(), SHELF.take('median_error').score(np.array({truth}), np.array({said})))"
    )
    done = run([sys.executable, "-c", code], distribution, PYTHONPATH=str(distribution))
    listed, score = done.stdout.split()
    assert listed == "True"
    assert float(score) == median_absolute_error(truth, said)
