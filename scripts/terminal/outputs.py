"""Where a command writes: told before the work begins, and nothing is lost that it did not make.

In: a path from the command line. Out: the path, or one line that says why nothing can be written
there: no such folder, not writable, or a file that jsma did not make (--overwrite replaces it).
"""
import os
from pathlib import Path

MARK = b"jsma"  # stands near the beginning of every page and JSON file that we write
HEAD = 4096     # bytes that are looked at


def overwrite_option(parser):
    """The option --overwrite."""
    parser.add_argument("--overwrite", action="store_true",
                        help="replace files that jsma did not make")


def output_file(path, option="--out", overwrite=False):
    """`path`; ValueError where no file can be written there, or one is there that is not ours."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir():
        raise ValueError(f"{option} must be a file in a folder that exists; got {path}")
    _check_writable(folder, option)
    if not overwrite:
        check_ours(path, MARK, option)
    return path


def output_folder(path, files=(), told_by=None, overwrite=False):
    """`path`, where `files` are going to be written; it need not be there yet.

    Args:
        path: the folder.
        files: names of what is going to be written there.
        told_by: (name, bytes), the file that says whose those are, and what it begins with.
        overwrite: replace them, whoever made them.

    Raises:
        ValueError: it is a file, cannot be written, or holds `files` that are not ours.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise ValueError(f"--out must be a folder; {path} is a file")
    first = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not first.is_dir():
        raise ValueError(f"--out must be a folder; {first} is a file")
    _check_writable(first, "--out")
    there = [path / name for name in files if (path / name).exists()]
    if there and not overwrite:
        name, mark = told_by
        check_ours(path / name if (path / name).exists() else there[0], mark, "--out")
    return path


def check_ours(path, mark, option):
    """ValueError where a file is there whose beginning lacks `mark`."""
    if not path.exists():
        return
    with open(path, "rb") as file:
        ours = mark in file.read(HEAD)
    if not ours:
        raise ValueError(f"{option}: {path} is there and jsma did not make it: name another, or "
                         "say --overwrite")


def _check_writable(folder, option):
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{option}: the folder {folder} cannot be written")
