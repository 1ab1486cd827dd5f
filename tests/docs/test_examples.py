"""The examples that walk a long way run, and what they print is so."""

import re
import subprocess
import sys

import pytest

import engram


@pytest.mark.long
def test_a_network_of_keras_is_tuned_in_torch_and_leaves_with_proof(root, tmp_path):
    done = subprocess.run(
        [sys.executable, root / "examples" / "fine_tune.py", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = {
        words: float(number) for words, number in re.findall(r"^  (\S.*?) {2,}([\d.e+-]+)", done.stdout, re.MULTILINE)
    }
    assert said["the optimizer goes on"] < 1e-5
    assert said["the optimizer is new"] > 1e-2
    assert 0.8 < said["before"] < said["after"]
    for name in ("digits.tflite", "digits.tfjs", "digits.pt"):
        assert said[name] < 1e-4
        assert (tmp_path / f"{name}.certificate.json").is_file()
    store = engram.open(tmp_path / "engrams")
    first, second = (store.version(f"digits-cnn:{number}") for number in (1, 2))
    assert second.parents == (first.digest,)
    assert [store.state(version.reference).step for version in (first, second)] == [8 * 23, 2 * 8 * 23]
