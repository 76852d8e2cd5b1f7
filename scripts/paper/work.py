"""All experiments at once, so that no core waits: each in a thread of this process, which asks the
worker processes for whatever takes long.

In: functions. Out: what they return, as it comes. With one job all is done here, one after the
other. How far the whole is, the threads tell a `Whole`.
"""
import threading
import time
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

from attack import processes
from nn import Network
from scripts.terminal.progress import duration

FIRST = 10  # seconds from which on the pace of this machine counts more than the table's


class Workers:
    """`jobs` worker processes (none for one job) and threads that ask them; used in a `with` block.

    A block that ends by an error ends the processes at once, and the threads wait for nothing more.
    """

    def __init__(self, jobs):
        self.jobs = jobs
        self.executor = None
        self._stopped = threading.Event()
        self._open = ExitStack()

    def __enter__(self):
        if self.jobs > 1:
            self._threads = ThreadPoolExecutor(2 * self.jobs, "experiment")
            self._open.callback(self._threads.shutdown, cancel_futures=True)
            self.executor = self._open.enter_context(processes(self.jobs))
            self._open.callback(self._stopped.set)
        return self

    def __exit__(self, *error):
        return self._open.__exit__(*error)

    def go_on(self):
        """KeyboardInterrupt where the block has ended; long work in a thread asks now and then."""
        if self._stopped.is_set():
            raise KeyboardInterrupt

    def later(self, function, *args, **options):
        """A `Future` of function(*args, **options), in a worker process or done here and now."""
        if self.executor is not None:
            return self.executor.submit(_alone, function, *args, **options)
        future = Future()
        future.set_result(function(*args, **options))
        return future

    def all(self, functions, tick):
        """Yields (name, result) of functions {name: function} as they come.

        `tick` is called every half second meanwhile.
        """
        if self.executor is None:
            for name, function in functions.items():
                yield name, function()
            return
        waiting = {self._threads.submit(function): name for name, function in functions.items()}
        while waiting:
            for future in wait(waiting, 0.5, "FIRST_COMPLETED").done:
                yield waiting.pop(future), result(future)
            tick()


def result(future):
    """What a `Future` holds; ChildProcessError where its process has died."""
    try:
        return future.result()
    except BrokenExecutor as error:
        raise ChildProcessError("a process ended before its work was done (killed, or out of "
                                "memory)") from error


def _alone(function, *args, **options):
    """In a worker: the other cores have workers of their own."""
    with Network.alone():
        return function(*args, **options)


class Whole:
    """How far all experiments together are, and how long they will still take.

    Args:
        line: a `Line` to show it on.
        titles: {name: title}.
        seconds: {name: what it takes on one core, about}.
        jobs: how many cores work on it.
    """

    def __init__(self, line, titles, seconds, jobs):
        self.line = line
        self.titles = titles
        self.seconds = seconds
        self.jobs = jobs
        self.started = time.monotonic()
        self.shares = dict.fromkeys(titles, 0.0)
        self._here = threading.local()

    def run(self, name, function, stages):
        """function(), the experiment `name`: what `tell` hears from this thread is its share.

        `stages`: how many pieces of work, one after the other, tell of themselves.
        """
        self._here.name = name
        self._here.stages = stages
        self._here.stage = -1
        value = function()
        self.shares[name] = 1.0
        return value

    def begin(self):
        """The next stage of this thread's experiment begins."""
        self._here.stage = getattr(self._here, "stage", -1) + 1

    def tell(self, done, total):
        """How much of its present stage this thread's experiment has done."""
        name = getattr(self._here, "name", None)
        if name in self.shares and total:
            share = (max(self._here.stage, 0) + done / total) / self._here.stages
            self.shares[name] = max(self.shares[name], min(share, 0.99))
        self.show()

    def show(self, now=False):
        """Write the line."""
        left = [name for name in self.titles if self.shares[name] < 1]
        if left:
            number = len(self.titles) - len(left) + 1
            self.line.write(f"experiment {number} of {len(self.titles)}, about "
                            f"{duration(self.left())} left: {self.titles[left[0]]}", now)

    def left(self):
        """The seconds that are still to come: by the table at first, then by the pace so far."""
        done = sum(self.seconds[name] * share for name, share in self.shares.items())
        passed = time.monotonic() - self.started
        pace = (done + FIRST * self.jobs) / (passed + FIRST)
        return (sum(self.seconds.values()) - done) / pace
