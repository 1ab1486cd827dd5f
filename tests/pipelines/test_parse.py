from dataclasses import replace

import pytest

from engram.errors import UnknownName, UsageError
from engram.pipelines.lock import dump
from engram.pipelines.parse import parse, read
from engram.records import Pipeline

SMALLEST = '[data]\nfrom = "a.csv"\ntarget = "y"\n\n[model]\nkind = "mlp"\n'


def refusal(text: str, tmp_path) -> str:
    path = tmp_path / "income.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read(path)
    return str(refused.value)


def test_three_lines_are_a_pipeline():
    pipeline = parse(SMALLEST)
    assert pipeline.data.source == ("a.csv",)
    assert pipeline.data.target == "y"
    assert pipeline.model.kind == "mlp"


def test_options_of_a_plug_in_travel_unchecked():
    pipeline = parse(SMALLEST + "layers = [64, 32]\n")
    assert pipeline.model.options == {"layers": [64, 32]}


def test_a_misspelled_key_is_named_with_its_line_and_the_nearest(tmp_path):
    message = refusal(SMALLEST + "\n[train]\nepochs = 3\nbatchsize = 3\n", tmp_path)
    assert message.startswith("income.toml:10: ")
    assert "did you mean 'batch'" in message


def test_a_misspelled_section_is_named_with_its_line_and_the_nearest(tmp_path):
    message = refusal(SMALLEST + "\n[trian]\nepochs = 3\n", tmp_path)
    assert message.startswith("income.toml:8: ")
    assert "did you mean 'train'" in message


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('epochs = "many"', "'many'"),
        ("epochs = 0", "at least 1"),
        ("threads = 257", "at most 256"),
        ("epochs = 2.5", "2.5"),
        ('batch = "32"', "'32'"),
        ("l2 = -1.0", "must not be negative"),
        ("ema = 1.0", "below 1"),
        ("seed = true", "True"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_named_with_its_line(tmp_path, line, says):
    message = refusal(SMALLEST + "\n[train]\n" + line + "\n", tmp_path)
    assert message.startswith("income.toml:9: ")
    assert says in message


def test_a_share_outside_its_range_is_refused(tmp_path):
    assert "share from 0 to below 1" in refusal(SMALLEST.replace("\n\n", "\ntest = 1.5\n\n"), tmp_path)


def test_a_bare_decimal_point_gets_a_translated_message(tmp_path):
    assert "write 0.1 for .1" in refusal(SMALLEST.replace("\n\n", "\ntest = .1\n\n"), tmp_path)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(UsageError, match="engram new"):
        read(tmp_path / "absent.toml")


def test_a_file_without_data_says_what_it_needs(tmp_path):
    assert "[data] is missing" in refusal("[model]\nkind = 'mlp'\n", tmp_path)


def test_a_key_outside_a_section_is_refused(tmp_path):
    assert "outside a section" in refusal("data = 3\n", tmp_path)


def test_keep_knows_its_three_words():
    pipeline = parse(SMALLEST + '\n[keep]\nname = "x"\nif = { accuracy = ">= 0.85" }\n')
    assert pipeline.keep.conditions == {"accuracy": ">= 0.85"}
    with pytest.raises(UnknownName, match="did you mean 'alias'"):
        parse(SMALLEST + '\n[keep]\nalais = "x"\n')


def test_a_lock_file_reads_back_as_the_same_pipeline():
    text = SMALLEST + (
        "layers = [64, 32]\n\n[columns]\n'capital-*' = { scale = 'log' }\nfnlwgt = 'ignore'\n\n"
        "[train]\nepochs = 3\nlearn = 1\n".replace("learn = 1\n", "optimizer = { name = 'adamw', lr = 1e-3 }\n")
        + "\n[keep]\nif = { accuracy = '>= 0.8' }\n"
    )
    pipeline = parse(text, name="income")
    lock = dump(pipeline, {"train.epochs": "enough for 1,000 rows"}, {"data": "sha256:0", "engram": "0.1.0"})
    assert "# enough for 1,000 rows" in lock
    again = parse(lock, name="income")
    assert plain(replace(again, lock={})) == plain(pipeline)
    assert again.lock["data"] == "sha256:0"


def plain(pipeline: Pipeline) -> str:
    """Lists and tuples say the same in TOML."""
    return repr(pipeline).replace("(", "[").replace(")", "]").replace(",]", "]")
