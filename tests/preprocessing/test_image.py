"""Pictures into tensors, measured against torch and PIL."""

import io
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engram.graphs.build import Builder
from engram.preprocessing import image
from engram.preprocessing._resample import resample
from engram.records import TensorSpec

LENGTH = st.integers(1, 70)


def _pictures(rows, height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, height, width, channels), dtype=np.uint8)


def _mixed(*shapes):
    made = np.empty(len(shapes), dtype=object)
    made[:] = [_pictures(1, height, width, seed=height)[0] for height, width in shapes]
    return made


def _made(fitted, values, run):
    builder = Builder([TensorSpec("raw", "uint8", ("batch", "height", "width", values.shape[-1]))])
    builder.node("Identity", image.nodes(fitted, builder, "raw"), name="made")
    graph = builder.finish([TensorSpec("made", "float32", ("batch", *fitted.shape))])
    return run(graph, {"raw": values})["made"]


@given(LENGTH, LENGTH, LENGTH, LENGTH)
def test_resizing_is_that_of_torch_with_antialias(height, width, made_height, made_width):
    pixels = _pictures(1, height, width).transpose(0, 3, 1, 2).astype(np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(pixels), size=(made_height, made_width), mode="bilinear", antialias=True
    )
    np.testing.assert_allclose(resample(pixels, (made_height, made_width)), theirs.numpy(), atol=2e-3)


@given(LENGTH, LENGTH, LENGTH, LENGTH)
def test_resizing_is_that_of_pil_but_for_its_rounding(height, width, made_height, made_width):
    picture = _pictures(1, height, width)[0]
    theirs = np.asarray(Image.fromarray(picture).resize((made_width, made_height), Image.Resampling.BILINEAR))
    ours = resample(picture.transpose(2, 0, 1)[None].astype(np.float32), (made_height, made_width))[0]
    assert np.abs(ours.transpose(1, 2, 0) - theirs).max() <= 1.1  # PIL rounds to whole levels twice


@pytest.mark.parametrize("resize", [8, (8, 12), 40])
@pytest.mark.parametrize("size", [(30, 41), (16, 9), (8, 12), (100, 100)])
def test_the_graph_resizes_and_cuts_as_the_fit_does(resize, size, run):
    values = _pictures(3, *size)
    fitted = image.fit(values, image.Options(resize=resize, crop=7))
    assert fitted.shape == (3, 7, 7)
    np.testing.assert_allclose(_made(fitted, values, run), image.transform(values, fitted), atol=1e-4)


def test_a_picture_of_the_right_size_is_only_scaled(run):
    values = _pictures(5, 12, 12, channels=1)
    fitted = image.fit(values, image.Options(resize=12, normalize="unit"))
    expected = values.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(_made(fitted, values, run), expected)


def test_the_central_square_is_what_is_left_of_an_oblong_picture():
    values = _pictures(1, 10, 30)
    made = image.transform(values, image.fit(values, image.Options(resize=10, normalize="unit")))
    np.testing.assert_allclose(made[0].transpose(1, 2, 0) * 255, values[0][:, 10:20], atol=1e-4)


def test_standard_gives_each_channel_mean_zero_and_deviation_one():
    values = _pictures(20, 8, 8)
    values[..., 1] //= 4
    made = image.transform(values, image.fit(values, image.Options()))
    np.testing.assert_allclose(made.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(made.std(axis=(0, 2, 3)), 1, atol=1e-5)


def test_a_channel_of_one_color_stays_finite():
    values = np.full((2, 4, 4, 1), 7, np.uint8)
    made = image.transform(values, image.fit(values, image.Options()))
    np.testing.assert_allclose(made, 0, atol=1e-6)


def test_fixed_scales_by_the_numbers_given():
    values = _pictures(2, 4, 4)
    options = image.Options(normalize="fixed", mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    expected = (values.transpose(0, 3, 1, 2) / 255 - np.reshape(options.mean, (3, 1, 1))) / np.reshape(
        options.std, (3, 1, 1)
    )
    np.testing.assert_allclose(image.transform(values, image.fit(values, options)), expected, atol=1e-6)


def test_sums_over_pieces_are_those_of_the_whole():
    values = _pictures(10, 9, 9)
    options = image.Options(resize=6)
    pieces = image.measure(values[:3], options) + image.measure(values[3:], options)
    whole = image.measure(values, options)
    np.testing.assert_allclose(pieces.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(pieces.std, whole.std, rtol=1e-12)
    made = image.transform(values, image.settle(whole, image.Options(resize=6, normalize="unit")))
    np.testing.assert_allclose(whole.mean, made.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(whole.std, made.std(axis=(0, 2, 3)), rtol=1e-5)


def test_pictures_of_many_sizes_keep_their_order():
    values = _mixed((9, 9), (20, 14), (9, 9), (5, 40))
    fitted = image.fit(values, image.Options(resize=6))
    made = image.transform(values, fitted)
    for row, picture in enumerate(values):
        np.testing.assert_array_equal(made[row], image.transform(picture[None], fitted)[0])


@pytest.mark.parametrize(
    ("sizes", "found"),
    [([(28, 28)], 28), ([(20, 30)], (20, 30)), ([(480, 640)], 64), ([(9, 50), (20, 12), (30, 31)], 12)],
)
def test_the_size_found_fits_the_pictures(sizes, found):
    assert image.side([height for height, _ in sizes], [width for _, width in sizes]) == found


@pytest.mark.parametrize(("archive", "channels"), [("mnist.zip", 1), ("cifar10.zip", 3)])
def test_real_pictures_come_out_of_the_graph_as_out_of_the_fit(archive, channels, real_data, run):
    with zipfile.ZipFile(real_data(archive)) as opened:
        names = [name for name in opened.namelist() if name.startswith("test/") and not name.endswith("/")][::200]
        read = [np.asarray(Image.open(io.BytesIO(opened.read(name)))) for name in names]
    values = np.stack(read).reshape(len(read), *read[0].shape[:2], channels)
    for options in (image.Options(), image.Options(resize=20, crop=16)):
        fitted = image.fit(values, options)
        np.testing.assert_allclose(_made(fitted, values, run), image.transform(values, fitted), atol=1e-5)
