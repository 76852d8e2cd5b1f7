"""Where the bytes of a file come from: a path, a place in a zip archive or an open file.

In: a path, as text or bytes, that may lead into an archive (`digits.zip/train-images-idx3-ubyte`),
or an open binary file. Out: a stream of uncompressed bytes whose size is bounded before any is
read, or one line that says what is wrong. Archives are checked so that they cannot ask for memory.
"""
import gzip
import os
import stat
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

GZIP = b"\x1f\x8b"
ZIP = b"PK"
RATIO = 1032  # deflate spends at least two bits on a run of 258 bytes
MOST_ZIP = 1 << 30  # bytes of an archive at most
MOST_MEMBERS = 1000  # of an archive
CHUNK = 1 << 20  # bytes
ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError,
                  RuntimeError, UnicodeDecodeError)


class IdxError(ValueError):
    """An unsound file: one line with the file, the offset, what was expected, what was found."""


class Source(NamedTuple):
    """Bytes to read: `stream` gives `size` of them, or, `zipped`, unpacks a gzip file of `size`."""

    name: str
    stream: Any
    size: int
    zipped: bool


def as_path(path):
    """A path of any kind, bytes among them, as a `Path`; ValueError for what is none."""
    text = os.fsdecode(path)
    if "\0" in text:
        raise ValueError("a path has no zero byte; bytes of a file are read from io.BytesIO(bytes)")
    return Path(text)


def is_archive(path):
    """Is `path` a file that begins as a zip archive does?"""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return _begins(file, ZIP)


def members(path):
    """The names of the files in the zip archive `path`, in its order; `IdxError` if unsound."""
    with open(path, "rb") as file, opened_zip(file, path) as archive:
        return [entry.filename for entry in _files(archive)]


@contextmanager
def opened(source):
    """The bytes of a path or an open file as a `Source`.

    A zip archive of one file stands for that file. FileNotFoundError where there is none,
    `IdxError` where it cannot be read.
    """
    with ExitStack() as stack:
        name, file, inside = _file(source, stack)
        start = file.tell()
        size = bound = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        if _begins(file, ZIP):
            archive = stack.enter_context(opened_zip(file, name))
            entry = _entry(archive, name, inside)
            if entry is not None:
                _check_entry(name, entry, size)
                size, bound = entry.file_size, min(entry.file_size, entry.compress_size)
                name = f"{name}/{entry.filename}"
                file, start = stack.enter_context(archive.open(entry)), 0
            file.seek(start)
        if _begins(file, GZIP):
            stack.enter_context(_whole_gzip(name))
            yield Source(name, gzip.GzipFile(fileobj=file, mode="rb"), bound, True)
        else:
            yield Source(name, file, size, False)


@contextmanager
def opened_zip(file, name, kind="zip archive"):
    """The zip archive in the open file `file`, checked so that it cannot ask for memory or a hang.

    Stored and deflated members only. `IdxError` for anything else, and for what goes wrong while
    it is read; `kind` says in it what was expected.
    """
    size = file.seek(0, os.SEEK_END)
    if size > MOST_ZIP:
        raise IdxError(f"{name}: expected {MOST_ZIP:,} bytes at most; found {size:,}")
    file.seek(0)
    # Counted before it is opened: in memory a member takes ten times its entry in the table
    if sum(part.count(b"PK\1\2") for part in iter(lambda: file.read(CHUNK), b"")) > MOST_MEMBERS:
        raise IdxError(f"{name}: expected {MOST_MEMBERS} members at most; found more")
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise IdxError(f"{name}: {entry.filename!r} must be stored or deflated; "
                                   f"got the method {entry.compress_type}")
            yield archive
    except ARCHIVE_ERRORS as error:
        raise IdxError(f"{name}: not a readable {kind} ({error})") from None


def _file(source, stack):
    """(name, open file, path in the archive that this is or None) of a path or an open file."""
    if hasattr(source, "read"):
        name = str(getattr(source, "name", "the open file"))
        if isinstance(source.read(0), str):
            raise IdxError(f"{name}: expected a file opened for bytes, found text: open it as 'rb'")
        if not source.seekable():
            raise IdxError(f"{name}: expected a file that can seek, found a stream: read it into "
                           "io.BytesIO(stream.read())")
        return name, source, None
    path, inside = as_path(source), None
    if not path.exists():
        archive = next((parent for parent in path.parents if is_archive(parent)), path)
        path, inside = archive, path.relative_to(archive).as_posix() if archive != path else None
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "folder" if stat.S_ISDIR(mode) else "device or pipe"
        raise IdxError(f"{path}: expected a file, found a {kind}")
    return str(path), stack.enter_context(open(path, "rb")), inside


def _begins(file, start):
    """Does the rest of an open file begin with the bytes `start`? Its place stays."""
    place = file.tell()
    same = file.read(len(start)) == start
    file.seek(place)
    return same


def _files(archive):
    """The files of an archive whose names can be told in one line; Mac OS adds some of its own."""
    return [entry for entry in archive.infolist()
            if entry.filename.isprintable() and not entry.filename.endswith("/")
            and entry.filename.strip("/") and not entry.filename.startswith("__MACOSX/")]


def _entry(archive, name, inside):
    """The entry `inside`, or for None the only one; None where there are several or NumPy's."""
    entries = _files(archive)
    if inside is None:
        only = len(entries) == 1 and not entries[0].filename.endswith(".npy")
        return entries[0] if only else None
    for entry in entries:
        if entry.filename == inside:
            return entry
    raise IdxError(f"{name}: no {inside} in this archive")


def _check_entry(name, entry, size):
    """Hold what an entry claims against the size of its archive."""
    ratio = 1 if entry.compress_type == zipfile.ZIP_STORED else RATIO
    if entry.compress_size > size or entry.file_size > ratio * entry.compress_size:
        raise IdxError(f"{name}: not a readable zip archive ({entry.filename} claims to hold "
                       f"{entry.file_size:,} bytes in {entry.compress_size:,})")


@contextmanager
def _whole_gzip(name):
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise IdxError(f"{name}: damaged or truncated gzip stream: expected it whole, "
                       f"found: {error}") from error
