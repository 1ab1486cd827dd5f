"""What goes into a model and what comes out, described without holding any of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DTYPES", "Signature", "TensorSpec"]

DTYPES = frozenset(
    {
        "bool", "string", "float16", "bfloat16", "float32", "float64",
        "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor: its name, type, shape and meaning.

    Attributes:
        name: as in the graph.
        dtype: one of ``DTYPES``; numpy's names, plus ``string``.
        shape: a length or the name of a free axis per dimension; the first is ``"batch"`` for a model's inputs.
        unit: what one unit of the values is (``"years"``, ``"seconds since 1970-01-01T00:00Z"``); empty if unknown.
        kind: what the values mean. Inputs: ``number``, ``boolean``, ``category``, ``date``, ``text``, ``image`` or
            ``tensor``. Outputs: ``logits`` (one column a class), ``logit`` (one column, the second of two classes),
            ``probabilities``, ``probability``, ``value`` or ``tensor``.
        gaps: whether a number may be missing (NaN); None where nobody said so: a column may then, a tensor may not.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    unit: str = ""
    kind: str = "tensor"
    gaps: bool | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"tensor {self.name!r}: dtype {self.dtype!r} is not one of {', '.join(sorted(DTYPES))}")

    @property
    def takes_gaps(self) -> bool:
        """Whether a value may be missing, said or as usual for what it means."""
        return self.kind not in {"tensor", "image"} if self.gaps is None else self.gaps

    def as_json(self) -> dict[str, object]:
        """The spec as plain JSON values; ``from_json(spec.as_json()) == spec``."""
        said = {} if self.gaps is None else {"gaps": self.gaps}
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "unit": self.unit,
            "kind": self.kind,
            **said,
        }

    @staticmethod
    def from_json(data: dict[str, object]) -> TensorSpec:
        """The spec that ``as_json`` wrote."""
        shape = data["shape"]
        assert isinstance(shape, list)
        return TensorSpec(
            str(data["name"]),
            str(data["dtype"]),
            tuple(shape),
            str(data.get("unit", "")),
            str(data.get("kind", "tensor")),
            None if data.get("gaps") is None else bool(data["gaps"]),
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of a model, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def as_json(self) -> dict[str, object]:
        """The signature as plain JSON values; ``from_json(signature.as_json()) == signature``."""
        return {"inputs": [s.as_json() for s in self.inputs], "outputs": [s.as_json() for s in self.outputs]}

    @staticmethod
    def from_json(data: dict[str, list[dict[str, object]]]) -> Signature:
        """The signature that ``as_json`` wrote."""
        return Signature(
            tuple(TensorSpec.from_json(s) for s in data["inputs"]),
            tuple(TensorSpec.from_json(s) for s in data["outputs"]),
        )
