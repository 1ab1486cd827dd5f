import hashlib

from engram.data import _digest


def test_the_digest_of_a_file_is_what_sha256sum_says(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert _digest.files([tmp_path / "a"]) == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_order_in_which_files_are_named_does_not_matter(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    both = [_digest.files([tmp_path / x, tmp_path / y]) for x, y in ("ab", "ba")]
    assert both == [f"sha256:{hashlib.sha256(b'ab').hexdigest()}"] * 2


def test_the_name_of_a_class_folder_is_in_the_digest(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label / label).mkdir(parents=True)
        (tmp_path / label / label / "1").write_bytes(b"same")
    assert _digest.files([tmp_path / "cat"]) != _digest.files([tmp_path / "dog"])
