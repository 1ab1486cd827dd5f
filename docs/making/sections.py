"""The pipeline file, section by section and key by key."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from engram.architectures import SHELF as ARCHITECTURES
from engram.architectures._parts import ACTIVATIONS
from engram.data import SHELF as DATA
from engram.preprocessing import SHELF as STEPS_SHELF
from engram.preprocessing._columns import STEPS
from engram.records.dataset import KINDS
from engram.records.pipeline import (
    AugmentSection,
    DataSection,
    EvaluateSection,
    KeepSection,
    ModelSection,
    Pipeline,
    TrainSection,
)
from engram.training.loop import Often
from engram.training.losses import LOSSES
from engram.training.optimizers import OPTIMIZERS, SCHEDULES, Schedule
from engram.training.stopping import Rule
from making.docstrings import first_sentence, parse
from making.markdown import code, fragment, page, prose, table
from making.records import keys

__all__ = ["SECTIONS", "write"]

SECTIONS = ("data", "columns", "model", "augment", "train", "evaluate", "keep", "lock")


def write() -> dict[str, str]:
    """``docs/pipeline.md``."""
    sections = [_data(), _columns(), _model(), _plain("augment", AugmentSection), *_train()]
    sections += [_plain("evaluate", EvaluateSection), _keep(), _lock()]
    contents = "\n".join(f"- [`[{name}]`](#{name})" for name in SECTIONS)
    return {"pipeline.md": page("The pipeline file", fragment("pipeline", "_before.md"), contents, *sections)}


def _plain(name: str, record: type[Any], table_of_keys: str = "") -> str:
    said = prose(parse(record.__doc__).prose.replace('None and ``""`` mean found', "what is left out is found"))
    blocks = [f"## {name}", said, table_of_keys or keys(record), fragment("pipeline", f"{name}.md")]
    return "\n\n".join(block.strip("\n") for block in blocks if block)


def _data() -> str:
    known = keys(
        DataSection, rename={"source": "from"}, skip=("options",), types_as={"source": "text or list of texts"}
    )
    return f"{_plain('data', DataSection, known)}\n\n{_plug_ins('data', DATA, 'Further keys belong to the source')}"


def _columns() -> str:
    meaning = parse(Pipeline.__doc__).items["Attributes"]["columns"]
    rows = []
    for kind in KINDS:
        steps = ", ".join(f"[`{step}`](preprocessing/{step}.md)" for step in STEPS[kind])
        rows.append([code(kind), steps])
    mains = [[f"[`{name}`](preprocessing/{name}.md)", code(_main(name))] for name in STEPS_SHELF.names() if _main(name)]
    blocks = ["## columns", f"{prose(meaning[0].upper() + meaning[1:])}", table(["kind", "steps, in order"], rows)]
    blocks += [fragment("pipeline", "columns.md").strip("\n"), table(["step", "a bare value is its"], mains)]
    return "\n\n".join(block for block in blocks if block)


def _main(name: str) -> str:
    return str(getattr(STEPS_SHELF.take(name), "MAIN", ""))


def _model() -> str:
    plug_ins = _plug_ins("architectures", ARCHITECTURES, "Every other key belongs to the architecture")
    activations = f"Activations: {', '.join(code(name) for name in ACTIVATIONS)}."
    known = table(["key", "type", "default", "meaning"], [["`kind`", "text", "–", "which network"]])
    return f"{_plain('model', ModelSection, known)}\n\n{plug_ins}\n\n{activations}"


def _plug_ins(folder: str, shelf: Any, sentence: str) -> str:  # noqa: ANN401 - a Shelf
    names = ", ".join(f"[`{name}`]({folder}/{name}.md)" for name in shelf.names())
    return f"{sentence}: {names}."


def _train() -> list[str]:
    blocks = [_plain("train", TrainSection), "### Losses", fragment("pipeline", "loss.md").strip("\n")]
    blocks.append(
        table(["`loss`", "for targets that are"], [[code(n), ", ".join(kinds)] for n, kinds in LOSSES.items()])
    )
    blocks += ["### Optimizers", fragment("pipeline", "optimizer.md").strip("\n")]
    for name, record in OPTIMIZERS.items():
        said = prose(parse(record.__doc__).prose).partition(": ")[2]
        blocks.append(f"#### {name}\n\n{said[0].upper()}{said[1:]}\n\n{keys(record)}")
    blocks += ["### Schedules", fragment("pipeline", "schedule.md").strip("\n"), keys(Schedule)]
    head = ["`name`", *(code(each.name) for each in fields(Schedule))]
    rows = [[code(n), *(f"{getattr(s, f.name):g}" for f in fields(Schedule))] for n, s in SCHEDULES.items()]
    blocks += ["What each schedule takes where nothing is said:", table(head, rows)]
    blocks += ["### Stopping", fragment("pipeline", "stop.md").strip("\n"), keys(Rule)]
    blocks += ["### Checkpoints", prose(parse(Often.__doc__).prose), keys(Often)]
    return [block for block in blocks if block]


def _keep() -> str:
    return _plain("keep", KeepSection, keys(KeepSection, rename={"conditions": "if"}))


def _lock() -> str:
    meaning = first_sentence(parse(Pipeline.__doc__).items["Attributes"]["lock"])
    return f"## lock\n\n{prose(meaning)}\n\n{fragment('pipeline', 'lock.md')}".strip()
