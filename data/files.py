"""Files that appear whole or not at all.

In: a path. Out: a new file that takes its place when all is written, or an OSError that names it.
"""
import contextlib
import os
import uuid


@contextlib.contextmanager
def replacing(path):
    """A new file that takes the place of `path` when the block ends well, else vanishes."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: no folder {path.parent} to write into")
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
