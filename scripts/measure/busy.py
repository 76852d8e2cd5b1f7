"""A busy machine, for `jsma bench`: a process with a loop of pure Python on each core, of the same
priority as our own.

In: how many loops. Out: a block in which they run. However the block ends they end too; where this
process is killed they see that it is gone and stop on their own.
"""
import os
import subprocess
import sys
import time
from contextlib import contextmanager

# A million rounds take some 20 ms; then a look whether the parent is still there.
LOOP = """
import os, sys
print("running", flush=True)
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""


@contextmanager
def busy(count):
    """A block in which `count` loops run.

    Yields:
        A list; after the block it holds the share of a core's time that a loop had on average.

    Raises:
        ChildProcessError: a loop could not start, or ended before the block did.
    """
    loops = []
    shares = []
    try:
        for _ in range(count):
            loops.append(_loop())
        if not all(loop.stdout.readline() for loop in loops):
            raise ChildProcessError("a busy loop did not start")
        start = time.perf_counter()
        yield shares
        seconds = time.perf_counter() - start
        if any(loop.poll() is not None for loop in loops):
            raise ChildProcessError("a busy loop ended before the work beside it")
        shares.append(_ended(loops) / (count * seconds))
    finally:
        _ended(loops)


def _loop():
    return subprocess.Popen([sys.executable, "-c", LOOP, str(os.getpid())],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL)


def _ended(loops):
    """End the loops; returns the processor time in seconds that those had which ended only now."""
    before = os.times()
    for loop in loops:
        loop.kill()
    for loop in loops:
        loop.wait()
        loop.stdout.close()
    after = os.times()  # the children that were waited for in between: the loops
    return (after.children_user + after.children_system
            - before.children_user - before.children_system)
