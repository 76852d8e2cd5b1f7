"""A picture of one's own, `explain --image` and `craft --image`: any size, dark on light or light
on dark, PNG or JPEG; what was done to it is said in one line, and what is wrong as well.
"""
import base64
import csv
import json
import re

import numpy as np
import pytest
from browser import Browser
from matplotlib.image import imread, imsave

from attack import craft
from data import load_mnist, read_idx, read_image
from nn import LeNet
from scripts.__main__ import main
from scripts.craft import FILES

FEW = ("--target", "3", "--max-distortion", "0.5")  # one iteration: only the image matters


def seven(height=900, width=600):
    """A dark 7 on white: (height, width) in [0, 1]."""
    picture = np.ones((height, width))
    top, bar = height // 9, height // 15
    picture[top:top + bar, width // 6:5 * width // 6] = 0
    for row in range(top + bar, 8 * height // 9):
        middle = 5 * width // 6 - bar // 2 - (row - top - bar) * width // (2 * height)
        picture[row, middle - bar // 2:middle + bar // 2 + 1] = 0
    return picture


def save(path, picture, **options):
    """8 bits in three equal channels."""
    imsave(path, np.repeat(np.rint(255 * picture).astype(np.uint8)[..., None], 3, 2), **options)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started_with(path):
    """The image that a page opens with."""
    data = re.search(r"id='data'>(.*)</script>", path.read_text("utf-8"))[1]
    image = base64.b64decode(json.loads(data)["start"]["image"])
    return np.frombuffer(image, "<f4").reshape(28, 28)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a picture.dat"])
def test_both_commands_read_a_picture_alike(name, folder, capsys):
    save(folder / name, seven(), format="png" if name == "a.png" else "jpg")
    assert main(["explain", "--image", name, "--out", "p.html"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line == (f"{name}: 600 × 900 pixels, scaled to 28 × 28 with the ink centred, dark on "
                    "light turned into light on dark")
    assert main(["craft", "--image", name, "--target", "8", "--out", "o"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [line, "the network reads a 7"]
    original = np.load("o/crafted.npz")["original"]
    np.testing.assert_array_equal(original, started_with(folder / "p.html")[None])
    np.testing.assert_array_equal(original[0], read_image(name, imread))
    assert LeNet.pretrained().predict(original)[0] == 7


def test_light_on_dark_is_not_turned_and_words_overrule(folder, capsys):
    save("dark.png", seven())
    save("light.png", 1 - seven())
    images = {}
    for words in (["dark.png"], ["light.png"], ["dark.png", "--invert"],
                  ["dark.png", "--no-invert"], ["light.png", "--invert"]):
        assert main(["craft", "--image", *words, *FEW, "--out", "o"]) == 0
        said = capsys.readouterr().out.splitlines()[0]
        assert ("turned" in said) == ("--invert" in words or words == ["dark.png"])
        images["".join(words)] = np.load("o/crafted.npz")["original"][0]
    seen = images.pop("dark.png")
    for words in ("light.png", "dark.png--invert"):
        np.testing.assert_array_equal(images[words], seen)
    np.testing.assert_array_equal(images["dark.png--no-invert"], images["light.png--invert"])
    assert images["dark.png--no-invert"].mean() > 2 * seen.mean()


def test_a_digit_of_28_by_28_is_read_as_it_is(folder, capsys):
    digit = load_mnist("test")[0][4]
    save("light.png", digit)
    save("dark.png", 1 - digit)
    np.save("array.npy", digit)
    np.save("turned.npy", 1 - digit)
    for words, said in ((["light.png"], ""), (["dark.png"], "dark.png: dark on light turned into "
                        "light on dark\n"), (["array.npy"], ""),
                        (["turned.npy", "--invert"], "turned.npy: inverted\n")):
        assert main(["craft", "--image", *words, *FEW, "--out", "o"]) == 0
        assert capsys.readouterr().out.startswith(said + "the network reads a 4\n")
        np.testing.assert_allclose(np.load("o/crafted.npz")["original"][0], digit, atol=1e-6)


def test_craft_writes_the_same_files_without_a_label(folder, capsys):
    save("seven.jpg", seven())
    assert main(["craft", "--image", "seven.jpg", "--out", "o"]) == 0
    assert "9 of 9 samples reach their goal" in capsys.readouterr().out
    assert sorted(path.name for path in (folder / "o").iterdir()) == sorted(FILES)
    lines = list(csv.DictReader((folder / "o" / "crafted.csv").read_text().splitlines()))
    assert {(line["index"], line["label"]) for line in lines} == {("", "")}
    assert [int(line["target"]) for line in lines] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    arrays = np.load("o/crafted.npz")
    assert set(arrays["label"]) == set(arrays["index"]) == {-1}
    assert set(read_idx(folder / "o" / "adversarial-labels-idx1-ubyte")) == {255}
    alone = craft(LeNet.pretrained(), np.repeat(read_image("seven.jpg", imread)[None], 9, 0),
                  arrays["target"], derivative="backward")
    np.testing.assert_array_equal(arrays["adversarial"], alone.adversarial)


def test_craft_with_a_label(folder, capsys):
    save("seven.png", seven())
    assert main(["craft", "--image", "seven.png", "--label", "7", "--target", "8", "--out",
                 "o"]) == 0
    (line,) = csv.DictReader((folder / "o" / "crafted.csv").read_text().splitlines())
    assert (line["index"], line["label"], line["success"]) == ("", "7", "1")
    capsys.readouterr()
    assert main(["craft", "--image", "seven.png", "--label", "1", "--target", "8", "--out",
                 "o"]) == 0
    assert "1 that the network misreads from the start" in capsys.readouterr().out
    assert main(["craft", "--image", "seven.png", "--target", "7", "--out", "o"]) == 0
    assert "in their target class from the start" in capsys.readouterr().out
    (line,) = csv.DictReader((folder / "o" / "crafted.csv").read_text().splitlines())
    assert (line["success"], line["reason"]) == ("0", "already_target")
    assert main(["craft", "--image", "seven.png", "--goal", "misclassification", "--out",
                 "o"]) == 0
    assert "1 of 1 samples reach" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "said"), [
    (["--image", "none.png"], ["none.png: No such file"]),
    (["--image", "blank.png"], ["blank.png", "no ink"]),
    (["--image", "cut.jpg"], ["cut.jpg", "JPEG"]),
    (["--image", "seven.gif"], ["seven.gif", "GIF", "PNG"]),
    (["--image", "seven.webp"], ["seven.webp", "WebP"]),
    (["--image", "seven.png", "--index", "1"], ["not allowed"]),
    (["--image", "seven.png", "--split", "test"], ["--split would be ignored with --image"]),
    (["--image", "seven.png", "--data", "."], ["--data would be ignored with --image"]),
    (["--image", "seven.png", "--label", "10"], ["--label", "0 to 9", "10"]),
    (["--label", "7"], ["--label would be ignored without --image"]),
    (["--index", "7", "--invert"], ["--invert would be ignored without --image"]),
])
def test_a_mistake_gets_one_line_and_loses_nothing(words, said, folder, capsys):
    save("seven.png", seven(90, 60))
    save("blank.png", np.ones((40, 40)))
    save("seven.jpg", seven())
    with open("cut.jpg", "wb") as file:
        file.write((folder / "seven.jpg").read_bytes()[:400])
    (folder / "seven.gif").write_bytes(b"GIF89a" + bytes(20))
    (folder / "seven.webp").write_bytes(b"RIFF\x24\0\0\0WEBPVP8 " + bytes(20))
    (folder / "o").mkdir()
    (folder / "o" / "crafted.csv").write_text("index,label,target,\n")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["craft", *words, "--out", "o"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("jsma: error: ") and printed.err.count("\n") == 1
    assert all(word in printed.err for word in said), printed.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_the_page_centres_a_picture_as_the_commands_do(folder):
    """To 8 bits where the page does not reduce it first, as its browser does above 280 pixels."""
    assert main(["explain", "--out", "p.html"]) == 0
    with Browser() as browser:
        browser.open(folder / "p.html", 1000)
        field = browser._ask("Runtime.evaluate", expression="document.querySelector('#file')")
        for size, tolerance in (((90, 60), 0), ((200, 280), 0), ((900, 600), 0.08)):
            name = f"{size[0]}.png"
            save(name, seven(*size))
            browser._ask("DOM.setFileInputFiles", files=[str(folder / name)],
                         objectId=field["result"]["objectId"])
            page = browser.evaluate(f"""new Promise((done, fail) => {{
                const end = Date.now() + 10000;
                const look = () => $("#pad-said").textContent.includes("{size[1]} × {size[0]}") ?
                    done([...pad.ink]) : Date.now() > end ? fail("none") : setTimeout(look, 20);
                look();
            }})""")
            far = np.abs(np.reshape(page, (28, 28)) - read_image(name, imread)).max()
            assert far <= 0.5001 / 255 + tolerance
