"""Folders of texts: class folders as labels, official parts, and what is no text."""

import pytest

from engram.data import images, text
from engram.data._describe import look
from engram.errors import DataError


@pytest.fixture
def mails(tmp_path):
    def make(files):
        for name, content in files.items():
            path = tmp_path / "mails" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path / "mails")

    return make


def test_the_folder_of_a_text_is_its_label(mails):
    place = mails({"spam/1.txt": "buy now", "ham/1.txt": "grüße\nan alle", "ham/2.txt": "\ufeffhello"})
    dataset = look(place)
    part = dataset.parts["all"]
    assert dataset.target == "label"
    assert [c.kind for c in dataset.columns] == ["text", "category"]
    assert part.column("text").tolist() == ["grüße\nan alle", "hello", "buy now"]
    assert part.column("label").tolist() == ["ham", "ham", "spam"]
    assert not images.recognizes(place)


def test_folders_called_train_and_test_are_parts(mails):
    dataset = look(mails({f"{part}/{label}/1.txt": part for part in ("train", "test") for label in ("a", "b")}))
    assert set(dataset.parts["all"].column("text")) == {"train"}
    assert set(dataset.parts["test"].column("text")) == {"test"}


def test_what_is_not_utf8_is_named_by_file_and_line(mails):
    place = mails({"a/1.txt": b"fine\nna\xefve\n", "a/2.txt": "x", "b/1.txt": "  \n"})
    with pytest.raises(
        DataError, match=r"2 of 3 texts cannot be read.*a/1\.txt: line 2 is not UTF-8.*b/1\.txt is empty"
    ):
        look(place)
    dataset = text.open((place,), (), text.Options(damaged=0.7))
    assert len(dataset.parts["all"]) == 1
    assert "2 of 3 texts were left out" in dataset.notes[0]


def test_texts_outside_of_class_folders_are_refused(mails):
    with pytest.raises(DataError, match="has no text in a class folder"):
        look(mails({"1.txt": "x", "2.txt": "y"}))
