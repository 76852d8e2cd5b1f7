"""The IDX format against bytes put together by hand."""
import errno
import gzip
import io
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

import data.idx
from data import IdxError, read_idx, write_idx

# type code, letter of `struct`, numpy's type, values at the type's ends
TYPES = [
    (0x08, "B", np.uint8, [0, 1, 127, 128, 254, 255]),
    (0x09, "b", np.int8, [0, 1, 127, -128, -2, -1]),
    (0x0B, "h", np.int16, [0, 1, 32767, -32768, 258, -1]),
    (0x0C, "i", np.int32, [0, 1, 2**31 - 1, -2**31, 16909060, -1]),
    (0x0D, "f", np.float32, [0.0, 1.5, -0.1875, float("inf"), 2.0**-149, -3e38]),
    (0x0E, "d", np.float64, [0.0, 1.5, -0.1, float("-inf"), 5e-324, 1e308]),
]
SHAPES = [(), (6,), (2, 3), (1, 3, 2), (3, 1, 2, 1)]
SIX_BYTES = struct.pack(">4B2I", 0, 0, 8, 2, 2, 3) + bytes([9, 8, 7, 6, 5, 4])


def by_hand(code, letter, shape, values):
    return struct.pack(f">4B{len(shape)}I{len(values)}{letter}", 0, 0, code, len(shape), *shape,
                       *values)


def zipped(content):
    return gzip.compress(content, mtime=0)


def saved(tmp_path, content, name="file"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def refusal(path, kind=IdxError):
    """The one line with which reading `path` is refused."""
    message = refusal_of(path, kind)
    assert str(path) in message
    return message


def refusal_of(file, kind=IdxError):
    """The same of an open file, which may have no name."""
    with pytest.raises(kind) as caught:
        read_idx(file)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("code, letter, dtype, values", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pack", [bytes, zipped])
def test_read_every_type_and_rank(tmp_path, code, letter, dtype, values, shape, pack):
    values = values[-1:] if shape == () else values
    array = read_idx(saved(tmp_path, pack(by_hand(code, letter, shape, values))))
    assert array.dtype == dtype and array.dtype.isnative and array.shape == shape
    assert array.ravel().tolist() == np.array(values, dtype).tolist()
    assert array.flags.writeable and array.flags.c_contiguous


@pytest.mark.parametrize("code, letter, dtype, values", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", ["a.idx", "a.gz"])
def test_write_every_type_rank_and_byte_order(tmp_path, code, letter, dtype, values, shape, order,
                                              name):
    values = values[-1:] if shape == () else values
    array = np.array(values, dtype).astype(np.dtype(dtype).newbyteorder(order)).reshape(shape)
    write_idx(tmp_path / name, array)
    content = (tmp_path / name).read_bytes()
    content = gzip.decompress(content) if name == "a.gz" else content
    assert content == by_hand(code, letter, shape, values)
    again = read_idx(tmp_path / name)
    assert again.dtype == dtype and again.shape == shape
    assert again.tobytes() == np.array(values, dtype).tobytes()


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 28, 28)])
@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_empty_arrays_keep_their_shape(tmp_path, shape, name):
    write_idx(tmp_path / name, np.empty(shape, np.int16))
    assert read_idx(tmp_path / name).shape == shape


def test_write_takes_the_array_as_it_is_indexed_not_as_it_is_stored(tmp_path):
    array = np.arange(24, dtype=np.int32).reshape(4, 6)
    for view in (array.T, array[::2, ::-1], np.asfortranarray(array)):
        write_idx(tmp_path / "a", view)
        values = [int(v) for row in view for v in row]
        assert (tmp_path / "a").read_bytes() == by_hand(0x0C, "i", view.shape, values)


@pytest.mark.parametrize(("dtype", "code", "letter"), [("u1", 8, "B"), (">i4", 12, "i")])
def test_write_takes_a_column(tmp_path, dtype, code, letter):
    """A view whose numbers lie apart and need no other byte order."""
    array = np.arange(24, dtype=dtype).reshape(4, 6)
    for view in (array[:, 0], array[::2, 1], array[0, ::-1], array[2, 3]):
        write_idx(tmp_path / "a", view)
        assert (tmp_path / "a").read_bytes() == by_hand(code, letter, view.shape,
                                                        view.ravel().tolist())


def test_the_first_bytes_tell_gzip_not_the_name(tmp_path):
    for path in (saved(tmp_path, zipped(SIX_BYTES), "plain-name"),
                 saved(tmp_path, SIX_BYTES, "name.gz")):
        assert read_idx(str(path)).tolist() == [[9, 8, 7], [6, 5, 4]]


def test_gzip_members_in_a_row_are_one_file(tmp_path):
    path = saved(tmp_path, zipped(SIX_BYTES[:7]) + zipped(SIX_BYTES[7:]))
    assert read_idx(path).tolist() == [[9, 8, 7], [6, 5, 4]]


def test_the_densest_gzip_is_still_believed(tmp_path):
    content = by_hand(8, "B", (1 << 24,), []) + bytes(1 << 24)
    path = saved(tmp_path, gzip.compress(content, 9))
    assert path.stat().st_size * 1000 < len(content)
    assert not read_idx(path).any()


def numpy_bytes(save):
    file = io.BytesIO()
    save(file, np.arange(3))
    return file.getvalue()


def zip_bytes(*names, content=SIX_BYTES):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
HTML = b"<!DOCTYPE html>\n<html><body>404</body></html>"
LITTLE_ENDIAN = struct.pack("<2I", 0x0801, 1) + b"x"
UNSOUND = {
    "empty": (b"", ["empty"]),
    "html": (HTML, ["wrong magic", "offset 0", "3c 21 44 4f", "HTML page"]),
    "html-after-space": (b"\xef\xbb\xbf\r\n <HTML>", ["HTML page"]),
    "zip": (zip_bytes("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
            ["wrong magic", "a zip archive"]),
    "zip-of-none": (zip_bytes(), ["a zip archive"]),
    "npz": (numpy_bytes(np.savez), ["wrong magic", ".npz archive"]),
    "npy": (numpy_bytes(np.save), ["wrong magic", ".npy array"]),
    "lfs": (LFS, ["wrong magic", "Git LFS pointer", "git lfs pull"]),
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ["wrong magic", "PNG picture"]),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF", ["wrong magic", "JPEG picture"]),
    "little-endian": (LITTLE_ENDIAN, ["wrong magic", "little-endian", "byte order swapped"]),
    "text": (b"5, 0, 4, 1\n", ["wrong magic", "plain text"]),
    "one-letter": (b"5", ["wrong magic", "found 35", "plain text"]),
    "noise": (b"\x01\x02\x03\x04\x05", ["wrong magic", "found 01 02 03 04"]),
    "short-magic": (b"\0\0\x08", ["shorter than its header", "expected 4 bytes", "found 3"]),
    "short-dimensions": (SIX_BYTES[:9],
                         ["shorter than its header", "offset 4", "2 dimensions", "found 5"]),
    "type-code": (b"\0\0\x0a\x01\0\0\0\0", ["unknown type code", "0x0B", "offset 2", "found 0x0A"]),
    "rank": (b"\0\0\x08\xff" + bytes(4 * 255), ["rank", "32", "offset 3", "found 255"]),
    "short-body": (SIX_BYTES[:-1], ["body too short", "2 x 3 uint8 from offset 12 to 18", "17"]),
    "long-body": (SIX_BYTES + b"\0", ["body too long", "2 x 3 uint8 from offset 12 to 18"]),
    "terabytes": (b"\0\0\x0e\x03" + b"\xff" * 12,
                  ["body too short", f"to {16 + 8 * (2**32 - 1)**3}"]),
    "too-wide-for-numpy": (b"\0\0\x08\x05" + bytes(4) + b"\xff" * 16, ["no memory"]),
}


@pytest.mark.parametrize("content, words", UNSOUND.values(), ids=UNSOUND)
@pytest.mark.parametrize("pack", [bytes, zipped])
def test_unsound_files_are_refused_in_one_line(tmp_path, content, words, pack):
    message = refusal(saved(tmp_path, pack(content)))
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("pack", [bytes, zipped])
def test_a_zip_archive_of_one_file_is_that_file(tmp_path, pack):
    path = saved(tmp_path, zip_bytes("folder/", "folder/images", content=pack(SIX_BYTES)), "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/folder/._images", b"from Mac OS X")
    for place in (path, path / "folder" / "images", bytes(path)):
        assert read_idx(place).tolist() == [[9, 8, 7], [6, 5, 4]]
    assert "a zip archive" in refusal(saved(tmp_path, zipped(path.read_bytes())))
    refusal(saved(tmp_path, zip_bytes("a", content=pack(SIX_BYTES[:-1])), "short.zip"))
    refusal(saved(tmp_path, zip_bytes("a", content=pack(SIX_BYTES + b"1")), "long.zip"))
    assert "not a zip archive" not in refusal(saved(tmp_path, path.read_bytes()[:-9], "cut.zip"))


@pytest.mark.parametrize("pack", [bytes, zipped])
def test_bytes_as_a_path_and_open_files(tmp_path, pack):
    path = saved(tmp_path, pack(SIX_BYTES))
    expected = [[9, 8, 7], [6, 5, 4]]
    assert read_idx(bytes(path)).tolist() == expected
    with open(path, "rb") as file:
        assert read_idx(file).tolist() == expected and not file.closed
    assert read_idx(io.BytesIO(pack(SIX_BYTES))).tolist() == expected
    behind = io.BytesIO(b"PK one line\n" + pack(SIX_BYTES))
    behind.readline()
    assert read_idx(behind).tolist() == expected
    with gzip.open(saved(tmp_path, zipped(pack(SIX_BYTES)), "twice")) as file:
        assert read_idx(file).tolist() == expected
    write_idx(bytes(tmp_path / "written.GZ"), np.array(expected, np.uint8))
    assert (tmp_path / "written.GZ").read_bytes()[:2] == b"\x1f\x8b"
    assert read_idx(tmp_path / "written.GZ").tolist() == expected


def test_open_files_that_are_refused(tmp_path):
    path = saved(tmp_path, b"5, 0, 4, 1")
    with open(path, "rb") as file:
        message = refusal_of(file)
        assert str(path) in message and "plain text" in message
    with open(path, encoding="ascii") as file:
        assert "open it as 'rb'" in refusal_of(file)
    reading, writing = os.pipe()
    with open(reading, "rb") as file, open(writing, "wb"):
        assert "io.BytesIO(stream.read())" in refusal_of(file)
    assert "the open file: body too short" in refusal_of(io.BytesIO(SIX_BYTES[:-1]))
    with pytest.raises(ValueError, match="io.BytesIO"):
        read_idx(SIX_BYTES)


def test_a_gzip_file_inside_a_gzip_file_is_named(tmp_path):
    assert "a gzip file inside a gzip file" in refusal(saved(tmp_path, zipped(zipped(SIX_BYTES))))


def test_only_sure_guesses_are_made(tmp_path):
    for content in (UNSOUND["noise"][0], b"\xe4\xff\xf0\x90"):
        assert "looks like" not in refusal(saved(tmp_path, content))
    assert "looks like" in refusal(saved(tmp_path, UNSOUND["text"][0]))


def test_missing_file_and_folder(tmp_path):
    assert "No such file" in refusal(tmp_path / "nowhere", FileNotFoundError)
    assert "folder" in refusal(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "pipe" in refusal(tmp_path / "pipe")


@pytest.mark.parametrize("pack", [bytes, zipped])
def test_every_truncation_is_noticed(tmp_path, pack):
    whole = pack(by_hand(0x0B, "h", (2, 3), [1, 2, 3, 4, 5, 6]))
    for length in range(len(whole)):
        refusal(saved(tmp_path, whole[:length]))
    assert read_idx(saved(tmp_path, whole)).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("tail", [b"\0", b"junk", zipped(b"\0")])
@pytest.mark.parametrize("pack", [bytes, zipped])
def test_bytes_behind_the_end_are_noticed(tmp_path, pack, tail):
    if (pack, tail) == (zipped, b"\0"):
        # zeros may pad a gzip file
        assert read_idx(saved(tmp_path, pack(SIX_BYTES) + tail)).shape == (2, 3)
        return
    message = refusal(saved(tmp_path, pack(SIX_BYTES) + tail))
    assert pack is zipped or f"a file of {18 + len(tail)} bytes" in message


@pytest.mark.parametrize("code, letter, dtype, values", TYPES)
def test_every_flipped_bit_of_a_header(tmp_path, code, letter, dtype, values):
    """Only a change between types of one size leaves a sound file, read as what it says."""
    whole = bytearray(by_hand(code, letter, (2, 3), values))
    sound = {}
    for bit in range(8 * 12):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path = saved(tmp_path, flipped)
        try:
            sound[flipped[2]] = read_idx(path)
        except IdxError as error:
            assert str(path) in str(error)
    twin = {0x08: "i1", 0x09: "u1", 0x0C: "f4", 0x0D: "i4"}
    assert {flipped_code: array.dtype.str[1:] for flipped_code, array in sound.items()} == (
        {code ^ 1: twin[code]} if code in twin else {})
    assert all(array.astype(array.dtype.newbyteorder(">")).tobytes() == whole[12:]
               for array in sound.values())


def test_every_flipped_bit_of_a_gzip_file(tmp_path):
    whole = zipped(SIX_BYTES)
    refused = 0
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert read_idx(saved(tmp_path, flipped)).tolist() == [[9, 8, 7], [6, 5, 4]]
        except IdxError:
            refused += 1
    # every bit behind gzip's own header, which has a date and the like
    assert refused >= 8 * (len(whole) - 10)


def peak_of(action):
    tracemalloc.start()
    try:
        result = action()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [bytes, zipped])
def test_reading_takes_little_memory_beside_the_result(tmp_path, pack):
    numbers = np.random.default_rng(0).integers(-2**31, 2**31, 4 << 20, dtype=np.int32)
    path = saved(tmp_path,
                 pack(by_hand(0x0C, "i", (4 << 20,), []) + numbers.astype(">i4").tobytes()))
    array, peak = peak_of(lambda: read_idx(path))
    assert np.array_equal(array, numbers)
    assert array.nbytes <= peak <= 1.25 * array.nbytes


@pytest.mark.parametrize("pack", [bytes, zipped])
@pytest.mark.parametrize("count", [1 << 28, 2**32 - 1])
def test_nothing_is_allocated_for_a_header_that_cannot_be_true(tmp_path, pack, count):
    path = saved(tmp_path, pack(by_hand(8, "B", (count,), [])))
    message, peak = peak_of(lambda: refusal(path))
    assert "too short" in message and str(count + 8) in message
    assert f"{path.stat().st_size} bytes" in message
    assert peak < 4 << 20


def test_no_memory_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise MemoryError("Unable to allocate")
    monkeypatch.setattr(data.idx.np, "empty", full)
    assert "no memory" in refusal(saved(tmp_path, SIX_BYTES))


@pytest.mark.parametrize("array", [np.arange(3), np.zeros(2, bool), np.zeros(2, np.uint16),
                                   np.zeros(2, complex), np.array(["5"]), [1, 2],
                                   np.zeros(2, np.float16), np.zeros(1, [("a", "u1")])])
def test_write_refuses_other_types(tmp_path, array):
    with pytest.raises(TypeError, match="uint8, int8, int16, int32, float32, float64"):
        write_idx(tmp_path / "a", array)
    assert not list(tmp_path.iterdir())


def test_write_refuses_shapes_beyond_the_format(tmp_path):
    with pytest.raises(ValueError, match="4294967296"):
        write_idx(tmp_path / "a", np.empty((2**32, 0), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0",
                    reason="numpy 1 has no arrays of rank 33")
def test_write_refuses_a_rank_that_could_not_be_read(tmp_path):
    write_idx(tmp_path / "a", np.ones((1,) * 32, np.uint8))
    assert read_idx(tmp_path / "a").ndim == 32
    with pytest.raises(ValueError, match="IDX allows rank 32"):
        write_idx(tmp_path / "b", np.ones((1,) * 33, np.uint8))
    assert os.listdir(tmp_path) == ["a"]


def test_compressed_files_are_the_same_every_time(tmp_path):
    array = np.arange(100, dtype=np.uint8)
    write_idx(tmp_path / "a.gz", array)
    write_idx(tmp_path / "another.gz", array)
    content = (tmp_path / "a.gz").read_bytes()
    assert content == (tmp_path / "another.gz").read_bytes()
    assert content[:8] == b"\x1f\x8b\x08\x00" + bytes(4)  # no name, no date


@pytest.mark.parametrize("name", ["a", "a.gz"])
@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error",
                         [OSError(errno.ENOSPC, "No space left"), OSError("odd"),
                          KeyboardInterrupt()])
def test_a_failed_write_loses_nothing_and_leaves_nothing(tmp_path, monkeypatch, name, step, error):
    path = saved(tmp_path, b"the old file", name)

    def fail(*_):
        raise error
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)) as caught:
        write_idx(path, np.arange(3, dtype=np.uint8))
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"the old file"
    if isinstance(error, OSError):
        assert caught.value.filename == str(path) and caught.value.errno == error.errno
        assert (error.strerror or "odd") in str(caught.value)


def test_write_is_on_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    steps = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda number: steps.append(os.fstat(number).st_size))
    monkeypatch.setattr(os, "replace", lambda old, new: (steps.append(new), replace(old, new)))
    write_idx(tmp_path / "a", np.arange(3, dtype=np.uint8))
    assert steps == [8 + 3, tmp_path / "a"] and os.listdir(tmp_path) == ["a"]


def test_write_into_a_missing_folder_or_onto_a_folder(tmp_path):
    for parent in (tmp_path / "nowhere", saved(tmp_path, b"a file")):
        with pytest.raises(FileNotFoundError) as caught:
            write_idx(parent / "a", np.arange(3, dtype=np.uint8))
        assert str(caught.value) == f"{parent / 'a'}: no folder {parent} to write into"
    (tmp_path / "file").unlink()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as caught:
        write_idx(tmp_path / "folder", np.arange(3, dtype=np.uint8))
    assert caught.value.filename == str(tmp_path / "folder") and os.listdir(tmp_path) == ["folder"]
