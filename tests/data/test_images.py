"""One image from files of every kind.

Wrong files, one of each kind, are in tests/scripts/test_explain.py, as the command says what is
wrong with them; damaged and hostile ones in tests/trust/test_fuzz_images.py.
"""
import numpy as np
import pytest
from matplotlib.image import imread, imsave

from data import load_mnist, read_image, write_idx


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
