"""Where the files of a set lie: the folders and names that people have them in.

In: a folder, a zip archive of IDX files or Keras' `mnist.npz`. Out: the paths of the images and the
labels of one part, or one line that says where it was looked for and what lies there instead.
"""
import re
from collections import defaultdict
from itertools import islice
from pathlib import PurePosixPath

from data.kinds import TEXT, looks_like
from data.sources import IdxError, as_path, is_archive, members, opened

FIRST = ("", "raw", "MNIST/raw")  # the first of them that holds the part
OTHERS = ("FashionMNIST/raw", "KMNIST/raw", "QMNIST/raw", "EMNIST/raw", "gzip", "raw/gzip",
          "EMNIST/raw/gzip")  # the only one of them
NAME = re.compile(r"(?P<set>(.+[-_])?)(?P<part>train|t10k|test)[-_](?P<kind>images|labels)"
                  r"(?P<dot>[-_.])idx[1-4]-(ubyte|int)(?P<end>|\.gz|\.zip)", re.IGNORECASE)
PARTS = {"train": "train", "t10k": "t10k", "test": "t10k"}
KERAS = {"train": ("x_train.npy", "y_train.npy"), "t10k": ("x_test.npy", "y_test.npy")}
LOOKED_AT = 100  # files, when none of a set's is there


def find_pair(directory, part, prefix=""):
    """Paths of the images and the labels of `part` ("train" or "t10k"), both in one folder.

    prefix: what stands before the names, as "emnist-letters-"; "" also takes the files of another
    set that are alone there. FileNotFoundError or `IdxError`, which name what was looked for.
    """
    directory = as_path(directory)
    if is_archive(directory):
        names = members(directory)
        if names and all(name.endswith(".npy") for name in names):
            return _keras_pair(directory, names, part)
        first, places = (), _places_in_archive(directory, names)
    elif directory.is_dir():
        first, places = FIRST, {place: _files(directory / place) for place in FIRST + OTHERS}
    elif directory.is_file():
        raise IdxError(f"{directory}: expected the folder of a set's files, a zip archive of them "
                       f"or Keras' mnist.npz, found one file{_what(directory)}")
    else:
        raise FileNotFoundError(f"{directory}: no such folder "
                                f"(looked there for {prefix}{part}-images-idx3-ubyte)")
    sets = {place: _sets(paths, part) for place, paths in places.items()}
    pairs = {place: pair for place, there in sets.items()
             if len(pair := _chosen(there, prefix)) == 2}
    for place in first:
        if place in pairs:
            return pairs[place]["images"], pairs[place]["labels"]
    if len(pairs) > 1:
        raise IdxError(f"{directory}: expected one set, found {len(pairs)}, in "
                       f"{', '.join(pairs)}: name the folder of one")
    for pair in pairs.values():
        return pair["images"], pair["labels"]
    if (directory / "mnist.npz").is_file() and not prefix:
        return find_pair(directory / "mnist.npz", part)
    raise FileNotFoundError(_missing(directory, part, prefix, sets))


def _files(folder):
    """The files in `folder`, and those in a folder of their own name, as Kaggle unpacks them."""
    if not folder.is_dir():
        return []
    paths = [path / path.name if path.is_dir() else path for path in sorted(folder.iterdir())]
    return [path for path in paths if path.is_file()]


def _places_in_archive(archive, names):
    """{folder in the archive: the paths of its files}; a folder of a file's own name is none."""
    places = defaultdict(list)
    for name in names:
        inside = PurePosixPath(name)
        folder = inside.parent.parent if inside.parent.name == inside.name else inside.parent
        places[str(folder)].append(archive / name)
    return places


def _sets(paths, part):
    """{what stands before the names: {"images": path, "labels": path}}, each in the plainest
    spelling there is."""
    sets = defaultdict(dict)
    for path in paths:
        name = NAME.fullmatch(path.name)
        if name is not None and PARTS[name["part"].lower()] == part:
            order = (name["part"].lower() != part, "-._".index(name["dot"]), name["end"].lower(),
                     path.name)
            spellings = sets[name["set"].lower()].setdefault(name["kind"].lower(), {})
            spellings[order] = path
    return {prefix: {kind: spellings[min(spellings)] for kind, spellings in pair.items()}
            for prefix, pair in sets.items()}


def _chosen(sets, prefix):
    """The files of the set `prefix`, for "" also those of the only other one, which is not
    EMNIST's; {} for none."""
    others = [pair for name, pair in sets.items() if not name.startswith("emnist-")]
    return sets.get(prefix) or (others[0] if len(others) == 1 and not prefix else {})


def _keras_pair(archive, names, part):
    if not set(KERAS[part]) <= set(names):
        raise IdxError(f"{archive}: expected the arrays x_train, y_train, x_test and y_test, as "
                       f"Keras' mnist.npz has them; found "
                       f"{', '.join(name.removesuffix('.npy') for name in names[:9])} (numpy.load "
                       "reads them, data.write_idx makes IDX files of them)")
    return tuple(archive / name for name in KERAS[part])


def _missing(directory, part, prefix, sets):
    """The line that says what is not there, where it was looked for, and what is there."""
    has_images = any("images" in there.get(prefix, {}) for there in sets.values())
    kind, rank = (("images", "idx3"), ("labels", "idx1"))[has_images]
    names = [f"{prefix}{part}-{kind}{dot}{rank}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    line = f"{directory}: no {prefix}{part} {kind}: looked for {', '.join(names)} in "
    if is_archive(directory):
        line += "this archive"
    else:
        line += f"{', '.join(str(directory / place) for place in FIRST)} ({', '.join(OTHERS)})"
    return line + _instead(directory, sorted({name for there in sets.values() for name in there}))


def _instead(directory, prefixes):
    """What lies in a folder or archive where no file of the set does, with the way to read it."""
    emnist = [name for name in prefixes if name.startswith("emnist-")]
    if emnist:
        kind = emnist[0].split("-")[1]
        return (f"; there is EMNIST ({', '.join(emnist)}): "
                f'data.load_emnist(split, directory, "{kind}") reads it')
    if len(prefixes) > 1:
        return f"; there are several sets ({', '.join(prefixes)}): put one into a folder of its own"
    others = (path for path in _files(directory) if not NAME.fullmatch(path.name))
    for path in islice(others, LOOKED_AT):
        if what := _what(path):
            return f"; there is {path.name}{what}"
    return ""


def _what(path):
    """", which looks like …" of a file, or ""."""
    try:
        with opened(path) as source:
            look = looks_like(source.stream.read(512))
    except (ValueError, OSError):
        return ""
    if look == TEXT and path.suffix.lower() not in (".csv", ".txt"):
        return ""
    return look and f", which looks like {look}"
