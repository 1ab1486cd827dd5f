"""Training rows are varied, so that a network learns what does not matter.

A whole batch at a time, each row by its own draw, and every draw from the generator that is passed, so that a resumed
run varies its rows as the uninterrupted one would have. Zeros fill what comes into view at a border or is blanked: they
are the mean gray of pictures that were scaled by ``standard``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from engram.errors import UsageError
from engram.records.pipeline import AugmentSection

__all__ = ["augment", "cutout", "flip", "mixup", "noise", "rotate", "shift"]


def augment(inputs: Tensor, targets: Tensor, section: AugmentSection, generator: Generator) -> tuple[Tensor, Tensor]:
    """A batch varied as ``[augment]`` says; what is off there costs nothing and draws nothing.

    Args:
        inputs: pictures (batch, channels, height, width), or a table (batch, width) that knows noise and mixup alone.
        targets: float, (batch,), (batch, 1) or, for classes, (batch, classes) with a 1 for the right one; ``mixup``
            makes convex combinations of rows, so that targets of classes become chances.
        section: ``[augment]`` of the pipeline file.
        generator: all randomness; its state is what a checkpoint has to keep.

    Raises:
        UsageError: the section asks for something that a table does not have, or a value is out of range.
    """
    _check(inputs, section)
    if section.flip:
        inputs = flip(inputs, generator)
    if section.rotate:
        inputs = rotate(inputs, section.rotate, generator)
    if section.shift:
        inputs = shift(inputs, section.shift, generator)
    if section.cutout:
        inputs = cutout(inputs, section.cutout, generator)
    if section.noise:
        inputs = noise(inputs, section.noise, generator)
    return mixup(inputs, targets, section.mixup, generator) if section.mixup else (inputs, targets)


def flip(images: Tensor, generator: Generator) -> Tensor:
    """Half of the pictures mirrored left to right."""
    mirrored = _uniform(len(images), images, generator) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def shift(images: Tensor, most: int, generator: Generator) -> Tensor:
    """Each picture moved by up to so many pixels up or down and left or right: a random crop of the padded picture."""
    batch, channels, height, width = images.shape
    padded = functional.pad(images, (most, most, most, most))
    ways = 2 * most + 1
    row, column = (torch.randint(ways, (batch,), generator=generator, device=generator.device) for _ in range(2))
    # Every crop there is, as a view: picking one a picture copies whole lines instead of single pixels.
    every = padded.as_strided((batch, ways, ways, channels, height, width), _crop_strides(padded))
    return every[torch.arange(batch, device=images.device), row.to(images.device), column.to(images.device)]


def rotate(images: Tensor, degrees: float, generator: Generator) -> Tensor:
    """Each picture turned about its center by up to so many degrees either way, linear between pixels."""
    batch, _, height, width = images.shape
    if not batch:
        return images
    angle = (_uniform(batch, images, generator) * 2 - 1) * math.radians(degrees)
    cosine, sine, still = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # affine_grid counts both axes from -1 to 1, so that a turn of an oblong picture has to be stretched back.
    first = torch.stack([cosine, -sine * (height / width), still], 1)
    second = torch.stack([sine * (width / height), cosine, still], 1)
    grid = functional.affine_grid(torch.stack([first, second], 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid.to(images.dtype), padding_mode="zeros", align_corners=False)


def cutout(images: Tensor, side: int, generator: Generator) -> Tensor:
    """Each picture with a square of this side blanked; its center lies anywhere in the picture.

    Source: DeVries and Taylor 2017, Improved Regularization of Convolutional Neural Networks with Cutout.
    """
    batch, _, height, width = images.shape
    row = (_uniform(batch, images, generator) * height).floor()
    column = (_uniform(batch, images, generator) * width).floor()
    inside_rows = _within(torch.arange(height, device=images.device), row, side)
    inside_columns = _within(torch.arange(width, device=images.device), column, side)
    return images.masked_fill((inside_rows[:, :, None] & inside_columns[:, None, :])[:, None], 0.0)


def noise(inputs: Tensor, spread: float, generator: Generator) -> Tensor:
    """Normal noise of this standard deviation added, in the unit of the scaled inputs."""
    drawn = torch.randn(inputs.shape, generator=generator, device=generator.device, dtype=torch.float32)
    return inputs + drawn.to(inputs.device, inputs.dtype) * spread


def mixup(inputs: Tensor, targets: Tensor, alpha: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Each row mixed with another one of the batch, and its target by the same share.

    Args:
        inputs: (batch, …).
        targets: float, (batch,) or (batch, columns).
        alpha: of the Beta distribution of the shares, one drawn a row; small means that most rows stay nearly pure.
        generator: all randomness.

    Source: Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization.
    """
    batch = len(inputs)
    other = torch.randperm(batch, generator=generator, device=generator.device).to(inputs.device)
    seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)  # torch's own Beta takes none
    drawn = torch.from_numpy(np.random.default_rng(int(seed)).beta(alpha, alpha, batch))
    share = drawn.to(inputs.device, inputs.dtype)
    mixed = torch.lerp(inputs[other], inputs, share.view(-1, *[1] * (inputs.dim() - 1)))
    share = drawn.to(targets.device, targets.dtype)
    return mixed, torch.lerp(targets[other], targets, share.view(-1, *[1] * (targets.dim() - 1)))


def _check(inputs: Tensor, section: AugmentSection) -> None:
    for name in ("flip", "shift", "rotate", "cutout", "noise", "mixup"):
        value = getattr(section, name)
        if value < 0:
            raise UsageError(f"[augment] {name} = {value} is refused: it must not be negative", place=f"augment.{name}")
        if value and inputs.dim() != 4 and name not in {"noise", "mixup"}:
            raise UsageError(
                f"[augment] {name} = {value} is refused: rows of a table have noise and mixup only; leave {name} out",
                place=f"augment.{name}",
            )


def _crop_strides(padded: Tensor) -> tuple[int, ...]:
    batch, channel, row, column = padded.stride()
    return batch, row, column, channel, row, column


def _uniform(count: int, like: Tensor, generator: Generator) -> Tensor:
    """So many draws from 0 to 1, where the generator lives and then moved to the pictures."""
    return torch.rand(count, generator=generator, device=generator.device).to(like.device)


def _within(places: Tensor, center: Tensor, side: int) -> Tensor:
    """Which places lie in a stretch of this length around each center, (batch, places)."""
    start = center[:, None] - side // 2
    return (places >= start) & (places < start + side)
