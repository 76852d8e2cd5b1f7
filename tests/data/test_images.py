"""One image from files of every kind.

Wrong files, one of each kind, are in tests/scripts/test_explain.py, as the command says what is
wrong with them; damaged and hostile ones in tests/trust/test_fuzz_images.py.
"""
import io

import numpy as np
import pytest
from matplotlib.image import imread, imsave
from PIL import Image, ImageOps

from data import load_mnist, read_image, write_idx
from data.pictures import centred


def test_images_from_every_kind_of_file(tmp_path):
    images = load_mnist("test")[0]
    image = images[4]
    np.save(tmp_path / "array.npy", images[4:7])
    np.savez(tmp_path / "several", first=image, second=images[5])
    write_idx(tmp_path / "images", np.round(255 * images[4:6]).astype(np.uint8))
    write_idx(tmp_path / "floats.gz", image)
    imsave(tmp_path / "grey.png", np.repeat(np.round(255 * image).astype(np.uint8)[..., None], 3,
                                            axis=2))
    (tmp_path / "png called.idx").write_bytes((tmp_path / "grey.png").read_bytes())
    for path in tmp_path.iterdir():
        np.testing.assert_allclose(read_image(path, imread), image, atol=1e-6, err_msg=path.name)


def test_a_png_without_a_decoder_is_refused_in_one_line(tmp_path):
    imsave(tmp_path / "a.png", np.zeros((28, 28)))
    with pytest.raises(ValueError, match=r"^[^\n]*a\.png: a PNG[^\n]*\(decode\)[^\n]*$"):
        read_image(tmp_path / "a.png")


def blots(height, width):
    """A light picture with a dark bar in one corner and a dot in another: no turn leaves it."""
    picture = np.full((height, width), 255, np.uint8)
    picture[10:20, 10:width - 30] = 0
    picture[height - 30:height - 14, 12:30] = 60
    return picture


def mass(image):
    """The centre of mass (row, column)."""
    return np.array([(image.sum(1 - axis) @ np.arange(28)) / image.sum() for axis in (0, 1)])


def test_mnists_digits_are_centred_as_we_centre_pictures():
    digits = load_mnist("test")[0][:2000]
    assert np.abs(np.mean([mass(digit) for digit in digits], axis=0) - 14).max() < 0.05
    for digit in digits[:50]:
        large = np.zeros((260, 300))
        large[13:237, 50:274] = np.kron(digit, np.ones((8, 8)))
        image = centred(large)
        assert np.abs(mass(image) - 14).max() < 0.1
        # as it was, but for a shift by a part of a pixel and the ink's faint edge
        assert np.corrcoef(image.ravel(), digit.ravel())[0, 1] > 0.85
        inked = [np.flatnonzero((image > 0.3).any(axis)) for axis in (0, 1)]
        assert 18 <= max(np.ptp(places) + 1 for places in inked) <= 21


@pytest.mark.parametrize("shape", [(100, 70), (70, 100), (10, 90), (90, 10), (5, 5), (29, 28),
                                   (1000, 40), (563, 561)])
def test_ink_keeps_its_proportions_at_any_size(shape, tmp_path):
    height, width = shape
    picture = np.zeros((3 * height, 3 * width))
    picture[height:2 * height, width:2 * width] = 1
    image = centred(picture)
    tall, wide = (image.max(axis).sum() / image.max() for axis in (1, 0))
    long = max(shape)
    np.testing.assert_allclose([tall, wide], [20 * height / long, max(1, 20 * width / long)],
                               atol=1.2)
    np.testing.assert_allclose(image.sum(), 400 * height * width / long ** 2, rtol=0.02)
    imsave(tmp_path / "a.png", picture, cmap="gray")
    read = read_image(tmp_path / "a.png", imread)
    assert read.shape == (28, 28) and read.dtype == np.float32 and read.max() >= 0.9
    assert np.abs(mass(read) - mass(image)).max() < 0.2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_stands_as_its_camera_stood(orientation, tmp_path):
    """Against Pillow's own reading of Exif."""
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif[0x0112] = orientation
    for name, size in (("a.jpg", (120, 90)), ("large.jpg", (640, 480))):
        Image.fromarray(blots(*size)).save(tmp_path / name, exif=exif, quality=95)
        with Image.open(tmp_path / name) as photograph:
            ImageOps.exif_transpose(photograph).save(tmp_path / "upright.png")
        said = []
        image = read_image(tmp_path / name, imread, tell=said.append)
        np.testing.assert_allclose(image, read_image(tmp_path / "upright.png", imread,
                                                     tell=said.append), atol=0.005)
        assert said[0] == said[1]


def test_colours_become_grey_and_what_is_transparent_white(tmp_path):
    grey = blots(60, 60)
    colours = np.stack([grey, grey, grey, 255 - grey], axis=2)
    colours[..., :3] = 0  # all ink: only its opacity tells where
    Image.fromarray(colours).save(tmp_path / "clear.png")
    Image.fromarray(grey).save(tmp_path / "opaque.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(grey).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    opaque = read_image(tmp_path / "opaque.png", imread)
    for name in ("clear.png", "palette.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name, imread), opaque)
    np.testing.assert_allclose(read_image(tmp_path / "cmyk.jpg", imread), opaque, atol=0.03)
    blue = np.full((60, 60, 3), 255, np.uint8)
    blue[20:40, 20:30] = 0, 0, 255
    imsave(tmp_path / "blue.png", blue)
    assert read_image(tmp_path / "blue.png", imread).max() == 1


def test_grey_ink_on_grey_paper_in_uneven_light(tmp_path):
    clean = blots(200, 160) / 255
    light = np.linspace(0.85, 1.1, 160)
    noise = np.random.default_rng(0).normal(0, 0.01, clean.shape)
    photograph = (0.3 + 0.4 * clean) * light + noise
    imsave(tmp_path / "clean.png", clean, cmap="gray", vmin=0, vmax=1)
    imsave(tmp_path / "photograph.jpg", photograph, cmap="gray", vmin=0, vmax=1)
    seen, image = (read_image(tmp_path / name, imread) for name in ("clean.png", "photograph.jpg"))
    assert image.max() >= 0.9 and np.median(image) < 0.02
    assert np.corrcoef(image.ravel(), seen.ravel())[0, 1] > 0.97


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def test_a_picture_tells_its_size_once_and_not_too_large(tmp_path):
    path, sound = tmp_path / "a.jpg", jpeg(blots(60, 60))
    frame = sound.index(b"\xff\xc0")
    large = sound[:frame + 5] + b"\xff\xff\xff\xff" + sound[frame + 9:]
    twice = sound[:frame] + sound[frame:frame + 13] + sound[frame:]
    for content, said in ((large, "65,535 × 65,535"), (twice, "damaged"), (sound[:3], "cut short"),
                          (sound[:frame] + sound[sound.index(b"\xff\xda"):], "no size"),
                          (sound[:len(sound) // 2], "readable JPEG")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^[^\n]*a\.jpg: [^\n]*{said}[^\n]*$"):
            read_image(path, imread)


def test_a_thin_line_is_no_fainter(tmp_path):
    """A 7 whose lines are a quarter of a pixel wide once it is scaled."""
    picture = np.ones((600, 800))
    picture[100:103, 250:501] = 0
    for row in range(100, 500):
        column = 500 - (row - 100) // 2
        picture[row, column:column + 3] = 0
    imsave(tmp_path / "thin.png", picture, cmap="gray")
    image = read_image(tmp_path / "thin.png", imread)
    assert image.max() == 1 and np.abs(mass(image) - 14).max() < 0.1
