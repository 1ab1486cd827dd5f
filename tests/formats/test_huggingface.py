"""Folders as the hub of Hugging Face has them."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from engram.errors import FormatError
from engram.formats._convert import read, write
from engram.records import Model


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder of another program's: weights, and the name of an architecture whose code lies elsewhere."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    save_file({"classifier.weight": np.ones((2, 3), np.float32)}, folder / "model.safetensors", {"format": "pt"})
    config = {
        "architectures": ["BertForSequenceClassification"], "model_type": "bert", "id2label": {"0": "no", "1": "yes"},
        "auto_map": {"AutoModel": "evil.py--Model"},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("open('hacked', 'w')")
    return folder


def test_a_foreign_folder_is_weights_with_what_the_configuration_says(theirs: Path):
    found = read(theirs)
    assert found.graph == b""
    assert list(found.weights) == ["classifier.weight"]
    assert found.labels == ("no", "yes")
    assert found.source["config"]["model_type"] == "bert"
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    ("labels", "wanted"), [({"0": "a", "2": "b"}, ()), ([], ()), ({"0": 1}, ()), ({"1": "b", "0": "a"}, ("a", "b"))]
)
def test_labels_are_taken_only_as_a_whole_list(theirs: Path, labels: object, wanted: tuple[str, ...]):
    (theirs / "config.json").write_text(json.dumps({"id2label": labels}))
    assert read(theirs).labels == wanted


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', ""])
def test_a_configuration_that_is_no_plain_object_is_refused(theirs: Path, text: str):
    (theirs / "config.json").write_text(text)
    with pytest.raises(FormatError):
        read(theirs)


def test_the_configuration_says_what_readers_of_the_hub_look_for(models: dict[str, Model], tmp_path: Path):
    write(models["pictures"], tmp_path / "ours", to="huggingface")
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert config["id2label"] == {"0": "cat", "1": "dog", "2": "naïve 東京"}
    assert config["label2id"] == {"cat": 0, "dog": 1, "naïve 東京": 2}
    assert config["torch_dtype"] == "float32"
    assert (tmp_path / "ours" / "README.md").read_text().startswith("---\nlibrary_name: engram\n---\n")
