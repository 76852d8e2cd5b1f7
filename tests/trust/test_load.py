"""Load: a file of 60,000 images, and a million tiny samples from disk to disk in memory that does
not grow.

Fewer samples under tracemalloc are in tests/attack/test_runs.py.
"""
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from fuzz import count

from data import read_idx, write_idx
from data.mnist import SHIPPED

ROOT = Path(__file__).parent.parent.parent
CODE = """
import sys
import numpy as np
from attack import craft_run
from test_fuzz_runs import Flat
count, folder = int(sys.argv[1]), sys.argv[2]
images = np.memmap(folder + "/images", np.float32, "w+", shape=(count, 2))
rng = np.random.default_rng(0)
for start in range(0, count, 10_000):
    images[start:start + 10_000] = rng.random((len(images[start:start + 10_000]), 2))
run = craft_run(Flat(), images, 0, folder + "/run", shard_size=4096, batch_size=1024,
                max_distortion=None)
done = sum(len(run.load(shard)["success"]) for shard in range(len(run)))
print(done, next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("zipped", [False, True])
def test_sixty_thousand_images_in_half_a_second(zipped, tmp_path):
    """… and at most 1.5 times their size in memory; the zipped file is the shipped one."""
    path = SHIPPED / "train-images-idx3-ubyte.gz"
    if not zipped:
        path = tmp_path / "images"
        write_idx(path, np.random.default_rng(0).integers(0, 256, (60_000, 28, 28), np.uint8))
    seconds = []
    for _ in range(3):
        start_time = time.perf_counter()
        images = read_idx(path)
        seconds.append(time.perf_counter() - start_time)
    assert images.shape == (60_000, 28, 28) and min(seconds) < 0.5
    del images
    tracemalloc.start()
    images = read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * images.nbytes
    count("60,000 images read in 0.5 s", "right")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(),
                    reason="needs /proc to see the most memory")
def test_a_million_tiny_samples_in_constant_memory(tmp_path):
    """Ten times the samples take 10 % more memory at most, less than their images would add."""
    peaks = []
    for number in (100_000, 1_000_000):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = subprocess.run([sys.executable, "-c", CODE, str(number), str(folder)], cwd=ROOT,
                              capture_output=True, text=True,
                              env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'trust'}",
                                   "OPENBLAS_NUM_THREADS": "1"})
        assert not done.stderr, done.stderr
        samples, peak = map(int, done.stdout.split())
        assert samples == number
        peaks.append(peak / 1024)
        count(f"{number:,} samples crafted in {peak / 1024:.0f} MB", "right")
    assert peaks[1] < 1.1 * peaks[0], peaks
