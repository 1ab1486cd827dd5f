"""Layers that prepare pictures: sizes are changed, and what chance changes in training is left alone.

A graph answers; it does not train on its own. So every layer that draws at random hands its input on, which is what
Keras does outside of training.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engram.formats._keras.kind import Drawn, Kind, Task
from engram.formats._keras.layers_convolution import back, first

__all__ = ["KINDS"]

_RANDOM = """
AugMix CutMix MixUp RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast
RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight RandomHue RandomInvert
RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation
RandomWidth RandomZoom
"""
_MODES: Mapping[str, Mapping[str, object]] = {
    "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    "nearest": {
        "mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil",
    },
}  # fmt: skip
"""Interpolation → the attributes of ONNX that say the same."""


def _left_alone(task: Task) -> Drawn:
    dtype = task.sheet.dtype(task.value)
    return task.value if dtype.startswith("float") else task.sheet.cast(task.value, "float32")


def _lengths(task: Task, value: str) -> tuple[int, int]:
    """Height and width, of pictures whose channels are second."""
    if task.sheet.rank(value) != 4:
        raise task.refused("takes one picture without a batch, which is not read")
    high, wide = task.sheet.shape(value)[2:]
    if high is None or wide is None:
        raise task.refused("cuts pictures whose size is not known beforehand")
    return high, wide


def _resized(task: Task, value: str, high: int, wide: int) -> str:
    word = task.text("interpolation", "bilinear", tuple(_MODES))
    sheet, (_, _, tall, broad) = task.sheet, task.sheet.shape(value)
    if tall and broad:
        scales = np.nextafter(np.array([1, 1, high / tall, wide / broad], np.float32), np.inf, dtype=np.float32)
        scales[:2] = 1  # the others a hair above, for what comes out is rounded down
        return sheet.node("Resize", value, "", sheet.constant(scales), **_MODES[word])
    # onnxruntime loses the sizes of a Resize with axes behind a Transpose, so all four are said
    sizes = sheet.node("Concat", sheet.node("Shape", value, end=2), sheet.constant([high, wide], "int64"), axis=0)
    made = sheet.node("Resize", value, "", "", sizes, **_MODES[word])
    return sheet.told(made, [*sheet.shape(value)[:2], high, wide])


def _resizing(task: Task) -> Drawn:
    if task.truth("antialias"):
        raise task.refused("smooths before it makes pictures smaller (antialias), which is not read")
    high, wide = (task.whole(key, 1)[0] for key in ("height", "width"))
    value = first(task, _left_alone_text(task))
    if task.sheet.rank(value) != 4:
        raise task.refused("takes one picture without a batch, which is not read")
    if task.truth("crop_to_aspect_ratio"):
        value = _cut_to_ratio(task, value, high, wide)
    elif task.truth("pad_to_aspect_ratio"):
        raise task.refused("puts edges around pictures (pad_to_aspect_ratio), which is not read; pad them beforehand")
    return back(task, _resized(task, value, high, wide))


def _left_alone_text(task: Task) -> str:
    made = _left_alone(task)
    assert isinstance(made, str)
    return made


def _cut_to_ratio(task: Task, value: str, high: int, wide: int) -> str:
    """The largest middle of the picture that has the ratio of what it becomes."""
    tall, broad = _lengths(task, value)
    inner = min(tall, int(broad * high / wide)) or tall, min(broad, int(tall * wide / high)) or broad
    begins = int((tall - inner[0]) / 2), int((broad - inner[1]) / 2)
    for axis, begin, length in zip((2, 3), begins, inner, strict=True):
        value = task.sheet.cut(value, axis, begin, begin + length)
    return value


def _center_crop(task: Task) -> Drawn:
    value = first(task, _left_alone_text(task))
    high, wide = (task.whole(key, 1)[0] for key in ("height", "width"))
    tall, broad = _lengths(task, value)
    if tall < high or broad < wide:
        raise task.refused(f"cuts {high} x {wide} out of pictures of {tall} x {broad}, which are smaller")
    for axis, length, whole in ((2, high, tall), (3, wide, broad)):
        begin = (whole - length) // 2
        value = task.sheet.cut(value, axis, begin, begin + length)
    return back(task, value)


KINDS: Mapping[str, Kind] = {
    **{name: Kind(_left_alone) for name in _RANDOM.split()},
    "CenterCrop": Kind(_center_crop, masks="ends"),
    "Resizing": Kind(_resizing, masks="ends"),
}
