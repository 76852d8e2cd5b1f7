"""`jsma data check`: what it prints and how it ends."""
import gzip
import shutil

import pytest

from data.mnist import SHA256, SHIPPED
from scripts.__main__ import main


def test_the_shipped_files_are_mnist(capsys):
    assert main(["data", "check"]) == 0
    *rows, verdict = capsys.readouterr().out.splitlines()
    assert len(rows) == 4 and verdict == "all four files are MNIST's"
    for row, (name, digest) in zip(rows, SHA256.items()):
        assert name in row and digest in row and row.endswith("  MNIST")


@pytest.mark.parametrize("words, status", [([], 1), (["--any-set"], 0)])
def test_another_set_is_well_formed(tmp_path, small_set, capsys, words, status):
    assert main(["data", "check", str(small_set(tmp_path)), *words]) == status
    *rows, verdict = capsys.readouterr().out.splitlines()
    assert verdict == "well formed, but not MNIST's bytes"
    assert [row.endswith("  not MNIST") for row in rows] == [True] * 4 and "13 x 3 x 2" in rows[0]


def test_one_changed_pixel_is_no_longer_mnist(tmp_path, capsys):
    for file in SHIPPED.glob("*.gz"):
        shutil.copyfile(file, tmp_path / file.name)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.unlink()
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(content)
    assert main(["data", "check", str(tmp_path)]) == 1
    rows = capsys.readouterr().out.splitlines()[:4]
    assert [row.endswith("  not MNIST") for row in rows] == [False, False, True, False]


@pytest.mark.parametrize("words", [[], ["--any-set"]])
def test_a_damaged_or_missing_file_is_an_error_in_one_line(tmp_path, small_set, capsys, words):
    path = small_set(tmp_path) / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["data", "check", str(tmp_path), *words]) == 2
    damaged = capsys.readouterr()
    path.unlink()
    assert main(["data", "check", str(tmp_path), *words]) == 2
    missing = capsys.readouterr()
    assert damaged.out == missing.out == ""
    assert damaged.err.startswith(f"jsma: error: {path}: body too short")
    assert damaged.err.count("\n") == 1
    assert missing.err.startswith(f"jsma: error: {tmp_path}: no t10k labels")
    assert missing.err.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["look"], ["check", "a", "b"]])
def test_wrong_words_are_an_error_in_one_line(capsys, words):
    assert main(["data", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jsma: error: ") and "--help" in error and error.count("\n") == 1
