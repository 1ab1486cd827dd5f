"""Two people who sign, each with a pair of key files."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from signers import CURVES, written


@pytest.fixture
def pair(tmp_path):
    return written(tmp_path / "key", ec.generate_private_key(CURVES["P-256"]))


@pytest.fixture
def other(tmp_path):
    return written(tmp_path / "other", ec.generate_private_key(CURVES["P-256"]))
