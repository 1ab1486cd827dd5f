import pytest

from engram.data._places import resolve
from engram.errors import DataError


def test_the_first_folder_that_has_the_file_wins(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "two" / "a.csv").touch()
    assert resolve(["a.csv"], [tmp_path / "one", tmp_path / "two"]) == (str(tmp_path / "two" / "a.csv"),)


def test_a_pattern_is_all_files_it_matches_in_order(tmp_path):
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).touch()
    assert resolve(["*.csv"], [tmp_path]) == (str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))


def test_a_name_with_brackets_is_a_name_before_it_is_a_pattern(tmp_path):
    (tmp_path / "a[1].csv").touch()
    assert resolve(["a[1].csv"], [tmp_path]) == (str(tmp_path / "a[1].csv"),)


def test_a_scheme_is_handed_on():
    assert resolve(["sklearn:digits"], []) == ("sklearn:digits",)


@pytest.mark.parametrize("name", ["incme.csv", "*.parquet"])
def test_what_is_missing_is_said_with_the_places_looked_at(tmp_path, name):
    (tmp_path / "income.csv").touch()
    with pytest.raises(DataError) as caught:
        resolve([name], [tmp_path])
    assert str(tmp_path) in str(caught.value)
    assert ("'income.csv'" in str(caught.value)) == (name == "incme.csv")
