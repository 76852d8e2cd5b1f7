"""Settings of all tests: one BLAS thread, and one of torch, since they multiply many small matrices
and the machine may be shared, and freed memory is kept, as by the command; what many tests ask of
the shipped network and digits; and a small image set in MNIST's form, its bytes put together by
hand.
"""
import gc
import gzip
import os
import struct

import pytest

from scripts.__main__ import keep_memory

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's
keep_memory()


def pytest_sessionstart(session):
    """Without pytest's ear for log lines, of which we write none.

    It hangs a handler on each of the fifty loggers of torch and jax, three times a test.
    """
    plugin = session.config.pluginmanager.get_plugin("logging-plugin")
    if plugin:
        session.config.pluginmanager.unregister(plugin)
        plugin.log_file_handler.close()


def pytest_collection_finish():
    """What the imports made stays: the search for garbage need not look through it again."""
    gc.freeze()


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture(scope="session", autouse=True)
def shipped_files_are_read_once():
    """The bytes of the shipped MNIST; each caller of `load_mnist` gets arrays of its own."""
    from data import mnist  # NumPy comes after the number of threads

    read_pair, pairs = mnist._read_pair, {}

    def once(images_path, labels_path):
        """`_read_pair`."""
        if images_path.parent != mnist.SHIPPED:
            return read_pair(images_path, labels_path)
        if images_path not in pairs:
            pairs[images_path] = read_pair(images_path, labels_path)
            for array in pairs[images_path]:
                array.flags.writeable = False
        return pairs[images_path]

    mnist._read_pair = once
    yield
    mnist._read_pair = read_pair


@pytest.fixture(scope="session")
def shipped_accuracy():
    """In percent, of the shipped LeNet on the 10,000 test digits."""
    from data import load_mnist
    from nn import LeNet
    from nn.training import accuracy

    return accuracy(LeNet.pretrained(), *load_mnist("test"))


@pytest.fixture
def small_set():
    """A function that writes 13 training and 4 test images, and their labels, into a folder.

    Pixel (y, x) of image i is 10 i + 2 y + x; label i is i % 10, in both parts.
    """
    def write(folder, dot="-", end=""):
        for part, count in (("train", 13), ("t10k", 4)):
            pixels = bytes(10 * i + k for i in range(count) for k in range(6))
            labels = bytes(i % 10 for i in range(count))
            images_header = struct.pack(">4B3I", 0, 0, 8, 3, count, 3, 2)
            labels_header = struct.pack(">4BI", 0, 0, 8, 1, count)
            _write(folder / f"{part}-images{dot}idx3-ubyte{end}", images_header + pixels)
            _write(folder / f"{part}-labels{dot}idx1-ubyte{end}", labels_header + labels)
        return folder
    return write
