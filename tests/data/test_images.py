import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from engram.data import _classes, images
from engram.errors import DataError, UsageError
from engram.runtime._images import SUFFIXES


def encoded(pixels, suffix=".png", **more):
    stream = io.BytesIO()
    picture = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    picture.save(stream, {".jpg": "JPEG"}.get(suffix, suffix[1:].upper()), **more)
    return stream.getvalue()


def grey(value, height=4, width=4):
    return np.full((height, width), value, dtype=np.uint8)


def files(count=2):
    return {
        f"{label}/{i}.png": encoded(grey((10 * i + shift) % 256))
        for shift, label in enumerate(["cat", "dog"])
        for i in range(count)
    }


@pytest.fixture(params=["folder", "zip"])
def place(request, tmp_path):
    """Writes files into a folder or a zip of it; images must be read alike from both."""

    def write(contents, name="pets"):
        if request.param == "folder":
            for file, content in contents.items():
                path = tmp_path / name / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            return str(tmp_path / name)
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file, content in contents.items():
                archive.writestr(file, content)
        return str(tmp_path / f"{name}.zip")

    return write


def opened(place, **options):
    return images.open((place,), (), images.Options(**options))


def everything(dataset, part="all"):
    return dataset.parts[part].take(np.arange(len(dataset.parts[part])))


def test_the_folder_of_an_image_is_its_label(place):
    found = opened(place(files()))
    taken = everything(found)
    assert taken["label"].tolist() == ["cat", "cat", "dog", "dog"]
    assert taken["image"].shape == (4, 4, 4, 1)
    assert taken["image"][:, 0, 0, 0].tolist() == [0, 10, 1, 11]
    assert found.column("image").shape == (4, 4, 1)
    assert found.target == "label"


@pytest.mark.parametrize("suffix", [".png", ".gif", ".bmp", ".webp"])
def test_every_lossless_format_gives_its_pixels(place, suffix):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    more = {"lossless": True} if suffix == ".webp" else {}
    wanted = np.asarray(Image.open(io.BytesIO(encoded(pixels, suffix, **more))).convert("RGB"))
    found = opened(
        place({f"a/1{suffix}": encoded(pixels, suffix, **more), f"b/2{suffix}": encoded(pixels, suffix, **more)})
    )
    np.testing.assert_array_equal(everything(found)["image"][0], wanted)
    if suffix != ".gif":
        np.testing.assert_array_equal(wanted, pixels)


def test_train_and_test_folders_are_the_official_split(place):
    contents = {f"{part}/{name}": data for part in ("train", "test", "val") for name, data in files().items()}
    found = opened(place(contents))
    assert {name: len(part) for name, part in found.parts.items()} == {"all": 4, "test": 4, "validation": 4}


def test_a_common_folder_around_everything_is_looked_through(place):
    found = opened(
        place({f"pets/images/{name}": data for name, data in files().items()} | {"pets/README.md": b"hello"})
    )
    assert everything(found)["label"].tolist() == ["cat", "cat", "dog", "dog"]
    assert found.notes == ()


def test_images_of_several_sizes_come_one_by_one(place):
    found = opened(place(files() | {"cat/9.png": encoded(grey(7, 6, 5))}))
    assert found.column("image").shape == (0, 0, 1)
    taken = everything(found)["image"]
    assert taken.dtype == object
    assert {image.shape for image in taken} == {(4, 4, 1), (6, 5, 1)}


def test_one_image_in_color_makes_all_of_them_color(place):
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[..., 0] = 200
    taken = everything(opened(place(files() | {"cat/9.png": encoded(red)})))["image"]
    assert taken.shape == (5, 4, 4, 3)
    assert taken[2, 0, 0].tolist() == [200, 0, 0]
    assert taken[1, 0, 0].tolist() == [10, 10, 10]


def test_color_can_be_made_grey_by_the_weights_of_the_standard(place):
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[..., 0] = 200
    taken = everything(opened(place(files() | {"cat/9.png": encoded(red)}), color=False))["image"]
    assert taken.shape[-1] == 1
    assert abs(int(taken[2, 0, 0, 0]) - 0.299 * 200) <= 1


def test_a_palette_and_sixteen_bits_become_eight_bits_a_channel(place):
    palette = io.BytesIO()
    Image.fromarray(grey(90)).convert("P").save(palette, "PNG")
    deep = io.BytesIO()
    Image.fromarray(np.full((4, 4), 90 * 257, dtype=np.uint16)).save(deep, "PNG")
    taken = everything(opened(place({"a/1.png": palette.getvalue(), "b/2.png": deep.getvalue()})))["image"]
    assert taken.shape == (2, 4, 4, 3)
    assert (taken == 90).all()


def test_an_orientation_written_by_a_camera_is_applied(place):
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn clockwise, EXIF 2.3, table 4
    content = encoded(grey(9, 2, 6), ".jpg", exif=turned)
    assert opened(place({"a/1.jpg": content, "b/1.jpg": content})).column("image").shape == (6, 2, 1)


def test_a_truncated_image_is_named_and_left_out(place):
    contents = files(60)
    contents["cat/7.png"] = contents["cat/7.png"][:-20]
    found = opened(place(contents))
    assert len(found.parts["all"]) == 119
    assert "1 of 120 images cannot be read and were left out (cat/7.png is damaged" in found.notes[0]


def test_too_many_damaged_images_are_refused_by_name(place):
    contents = files() | {"cat/0.png": b"not an image", "dog/1.png": b""}
    with pytest.raises(DataError, match=r"2 of 4 images cannot be read, more than damaged = 0\.01 allows \(cat/0\.png"):
        opened(place(contents))


def test_an_image_that_claims_to_be_huge_is_refused_before_it_is_decoded(place):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(DataError, match="pixels"):
        opened(place({"cat/1.png": bomb, "dog/1.png": bomb}))


def test_images_outside_class_folders_are_left_out_with_a_note(place):
    found = opened(place(files() | {"stray.png": encoded(grey(0))}))
    assert len(found.parts["all"]) == 4
    assert "stray.png" in found.notes[0]


@pytest.mark.parametrize("contents", [{"README.md": b"hi"}, {"1.png": b"x", "2.png": b"x"}])
def test_a_place_without_class_folders_is_refused_with_how_to_make_them(place, contents):
    with pytest.raises(DataError, match=r"such as cat/1\.png"):
        opened(place(contents))


def test_rows_are_taken_in_the_order_asked_for(place):
    part = opened(place(files())).parts["all"]
    taken = part.take(np.array([3, 0, 3]))
    assert taken["image"][:, 0, 0, 0].tolist() == [11, 0, 11]
    assert taken["label"].tolist() == ["dog", "cat", "dog"]


def test_images_that_do_not_fit_in_memory_are_decoded_when_taken(place):
    where = place(files())
    kept = everything(opened(where))["image"]
    shelf = images.open_place(images.Path(where))
    entries, _ = _classes.entries("pets", shelf.names(), SUFFIXES, "image")
    lazy = images._lazy(shelf, entries, images.Options())["all"]
    assert lazy.pixels is None
    np.testing.assert_array_equal(np.stack(list(lazy.take(np.arange(4))["image"])), kept)


def test_an_image_that_turns_out_damaged_when_taken_is_named(place):
    shelf = images.open_place(images.Path(place(files() | {"cat/1.png": b"\x89PNG but not for long"})))
    entries, _ = _classes.entries("pets", shelf.names(), SUFFIXES, "image")
    lazy = images._lazy(shelf, entries, images.Options())["all"]
    with pytest.raises(DataError, match=r"image cat/1\.png is"):
        lazy.take(np.arange(4))


def test_two_places_or_names_are_refused():
    with pytest.raises(UsageError, match="one folder or zip"):
        images.open(("a", "b"))


def test_mnist_has_its_sixty_thousand_digits(real_data):
    found = opened(str(real_data("mnist.zip")))
    assert {name: len(part) for name, part in found.parts.items()} == {"all": 60_000, "test": 10_000}
    labels, counts = np.unique(found.parts["test"].column("label").astype(str), return_counts=True)
    # counts of the test set in LeCun's files
    assert dict(zip(labels, counts.tolist(), strict=True)) == dict(
        zip("0123456789", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], strict=True)
    )
    pixels = found.parts["all"].take(np.arange(60_000))["image"]
    assert pixels.mean() / 255 == pytest.approx(0.1307, abs=5e-5)  # the mean that everyone normalizes MNIST with
