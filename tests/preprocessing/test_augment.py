"""Training rows varied."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engram.errors import UsageError
from engram.preprocessing import _augment
from engram.records.pipeline import AugmentSection

ALL = AugmentSection(flip=True, shift=3, rotate=15, noise=0.1, cutout=4, mixup=0.4)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _images(batch=64, channels=3, height=12, width=10):
    return torch.randn(batch, channels, height, width, generator=_generator(9))


def _classes(batch=64):
    return torch.nn.functional.one_hot(torch.arange(batch) % 5, 5).float()


def test_the_same_generator_gives_the_same_batch():
    once = _augment.augment(_images(), _classes(), ALL, _generator(3))
    again = _augment.augment(_images(), _classes(), ALL, _generator(3))
    other = _augment.augment(_images(), _classes(), ALL, _generator(4))
    assert torch.equal(once[0], again[0])
    assert torch.equal(once[1], again[1])
    assert not torch.equal(once[0], other[0])


def test_what_is_off_draws_nothing_and_changes_nothing():
    generator = _generator()
    before = generator.get_state()
    inputs, targets = _images(), _classes()
    made = _augment.augment(inputs, targets, AugmentSection(), generator)
    assert made == (inputs, targets)
    assert torch.equal(generator.get_state(), before)


def test_the_batch_that_is_given_stays_as_it_was():
    inputs, targets = _images(), _classes()
    kept = inputs.clone(), targets.clone()
    _augment.augment(inputs, targets, ALL, _generator())
    assert torch.equal(inputs, kept[0])
    assert torch.equal(targets, kept[1])


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_small_batches_go_through(batch):
    made, targets = _augment.augment(_images(batch), _classes(batch), ALL, _generator())
    assert made.shape == _images(batch).shape
    assert targets.shape == (batch, 5)


def test_about_half_of_the_pictures_are_mirrored():
    images = _images(400)
    made = _augment.flip(images, _generator())
    mirrored = sum(torch.equal(a, b.flip(2)) for a, b in zip(made, images, strict=True))
    same = sum(torch.equal(a, b) for a, b in zip(made, images, strict=True))
    assert mirrored + same == 400
    assert 150 < mirrored < 250  # five standard deviations about 200


@given(st.integers(1, 6), st.integers(0, 1000))
def test_a_shifted_picture_is_a_crop_of_the_padded_one(most, seed):
    images = _images(8)
    made = _augment.shift(images, most, _generator(seed))
    padded = np.pad(images.numpy(), [(0, 0), (0, 0), (most, most), (most, most)])
    for row in range(8):
        crops = np.lib.stride_tricks.sliding_window_view(padded[row], (12, 10), axis=(1, 2))
        found = (crops.transpose(1, 2, 0, 3, 4) == made[row].numpy()).all(axis=(2, 3, 4))
        assert found.any()


def test_every_shift_happens():
    images = torch.zeros(2000, 1, 9, 9)
    images[:, :, 4, 4] = 1
    places = _augment.shift(images, 2, _generator())[:, 0].nonzero()[:, 1:]
    assert {tuple(place) for place in places.tolist()} == {
        (row, column) for row in range(2, 7) for column in range(2, 7)
    }


def test_a_shift_also_works_on_a_batch_that_is_stored_channels_last():
    images = _images()
    stored = images.to(memory_format=torch.channels_last)
    assert torch.equal(_augment.shift(stored, 2, _generator()), _augment.shift(images, 2, _generator()))


def test_a_disk_stays_a_disk_when_an_oblong_picture_is_turned():
    height, width = 40, 60
    row, column = torch.meshgrid(torch.arange(height) - 19.5, torch.arange(width) - 29.5, indexing="ij")
    disk = torch.exp(-(row**2 + column**2) / 50).expand(16, 1, height, width)
    made = _augment.rotate(disk.contiguous(), 180, _generator())
    assert (made - disk).abs().max() < 0.01


def test_a_turn_is_the_turn_that_was_drawn():
    image = torch.zeros(200, 1, 41, 61)
    image[:, :, 20, 50] = 1  # 20 pixels right of the center
    made = _augment.rotate(image, 30, _generator())
    place = made[:, 0].flatten(1).argmax(1)
    row, column = place // 61 - 20, place % 61 - 30
    angle = torch.rad2deg(torch.atan2(row.float(), column.float()))
    assert angle.abs().max() <= 32  # a pixel is three degrees wide there
    assert angle.min() < -20
    assert angle.max() > 20
    assert ((row**2 + column**2).float().sqrt() - 20).abs().max() < 1.5


def test_a_square_is_blanked_and_nothing_else():
    images = torch.ones(300, 2, 16, 16)
    blank = (_augment.cutout(images, 6, _generator()) == 0).all(1)
    for picture in blank:
        rows, columns = picture.any(1).nonzero(), picture.any(0).nonzero()
        assert picture.sum() == len(rows) * len(columns)
        assert 3 <= len(rows) <= 6
        assert 3 <= len(columns) <= 6
    assert blank.any(0).all()


def test_noise_has_the_deviation_that_was_asked_for():
    made = _augment.noise(torch.zeros(200, 500), 0.3, _generator())
    assert made.std().item() == pytest.approx(0.3, rel=0.02)
    assert made.mean().item() == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("targets", [_classes(), torch.arange(64.0), torch.arange(64.0)[:, None]])
def test_inputs_and_targets_are_mixed_by_the_same_shares(targets):
    inputs = targets.reshape(64, -1).repeat(1, 3)  # a row tells its own target
    made, mixed = _augment.mixup(inputs, targets, 0.5, _generator())
    torch.testing.assert_close(made, mixed.reshape(64, -1).repeat(1, 3))
    assert mixed.shape == targets.shape
    assert not torch.equal(mixed, targets)


def test_mixed_classes_are_still_chances():
    _, mixed = _augment.mixup(_images(), _classes(), 0.5, _generator())
    torch.testing.assert_close(mixed.sum(1), torch.ones(64))
    assert mixed.min() >= 0


def test_rows_of_a_table_know_noise_and_mixup():
    rows = torch.randn(10, 4)
    made, _ = _augment.augment(rows, torch.arange(10.0), AugmentSection(noise=0.1, mixup=0.2), _generator())
    assert made.shape == rows.shape


@pytest.mark.parametrize("section", [AugmentSection(flip=True), AugmentSection(shift=1), AugmentSection(noise=-1.0)])
def test_what_a_table_does_not_have_is_refused(section):
    with pytest.raises(UsageError, match=r"\[augment\]") as refused:
        _augment.augment(torch.zeros(3, 4), torch.zeros(3), section, _generator())
    assert refused.value.place.startswith("augment.")
