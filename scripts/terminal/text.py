"""Text and numbers on their way out: what a terminal, a log, a page and a JSON file can take.

In: errors, names of files, results with NaN among them. Out: one printable line; strict JSON.
"""
import json
import math

LONGEST = 2000  # characters of an error's line


def visible(text):
    """`text` (or a path) with all that does not print escaped, line breaks and broken UTF-8 too."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def one_line(error):
    """What an exception says, in one printable line.

    The file it names comes first; a long line loses its middle.
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = " ".join(str(error).split()) or type(error).__name__
    return _short(visible(_short(text)))


def _short(text):
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]} … {text[-half:]}"


def as_json(value):
    """Dicts, lists, text and numbers as JSON that every reader takes: null for NaN and infinity."""
    text = json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
