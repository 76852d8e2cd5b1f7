"""The parts of a batch in several threads: the same results, the caller's own settings and errors,
and no thread where it would not help."""
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from small import narrow_lenet

from nn import LeNet, Network, get_num_threads, set_num_threads
from nn.layers.linear import Linear
from nn.threads import BLAS_THREADS, _controller, alone, in_threads, one_blas_thread


@pytest.fixture
def two_threads():
    set_num_threads(2)
    yield
    set_num_threads(None)


def meet(_, barrier):
    """Comes back only if as many threads as the barrier has seats are here at once."""
    barrier.wait(timeout=20)
    return threading.get_ident()


def test_parts_run_at_once_and_come_back_in_order(two_threads):
    barrier = threading.Barrier(2)
    assert len(set(in_threads(lambda part: meet(part, barrier), range(2)))) == 2
    assert in_threads(lambda part: part ** 2, range(50)) == [part ** 2 for part in range(50)]
    assert in_threads(lambda part: part, []) == []


def test_a_part_is_computed_alone(two_threads):
    """A part does not split its own work again, nor does a block that asks for it."""
    assert get_num_threads() == 2
    assert in_threads(lambda part: get_num_threads(), range(4)) == [1] * 4
    with alone():
        assert get_num_threads() == 1
        here = threading.get_ident()
        assert in_threads(lambda part: threading.get_ident(), range(3)) == [here] * 3
    assert get_num_threads() == 2


def test_an_error_of_a_part_is_raised_and_the_rest_is_not_begun(two_threads):
    started = []

    def fail(part):
        started.append(part)
        raise ZeroDivisionError(f"part {part}")

    with pytest.raises(ZeroDivisionError, match="part 0"):
        in_threads(fail, range(1000))
    assert len(started) <= 2
    assert in_threads(str, range(3)) == ["0", "1", "2"]  # and the threads go on


def test_numpys_error_state_is_that_of_the_caller(two_threads):
    with np.errstate(divide="raise"):
        states = in_threads(lambda part: np.geterr()["divide"], range(2))
    if int(np.__version__.split(".")[0]) >= 2:  # before, it belonged to the thread
        assert states == ["raise", "raise"]


@pytest.mark.parametrize("number", [0, -1, 1.5, "2"])
def test_a_wrong_number_is_refused(number):
    with pytest.raises(ValueError, match=r"number must be a whole number of at least 1"):
        set_num_threads(number)


@pytest.mark.parametrize("count", [1, 2, 3, 17, 33])
def test_a_network_gives_the_same_in_two_threads(count, two_threads, monkeypatch):
    """Against one sample at a time in one thread, in float64; many samples by a narrow LeNet."""
    monkeypatch.setattr("nn.threads.LARGE", 0)
    network = LeNet(0) if count <= 3 else narrow_lenet()
    assert network.num_threads == 2
    x = np.random.default_rng(count).random((count, 28, 28))
    results = [function(x) for function in (
        network.logits, network.forward_derivative, network.backward_derivative)]
    with alone():
        for function, result in zip((network.logits, network.forward_derivative,
                                     network.backward_derivative), results):
            one_by_one = np.concatenate([function(sample[None]) for sample in x])
            np.testing.assert_allclose(result, one_by_one, rtol=1e-10, atol=1e-12)


def test_a_small_network_starts_no_thread(two_threads):
    small = Network([Linear(6, 4), Linear(4, 2)], (6,))
    here = threading.get_ident()
    assert small.num_threads == 1
    assert small.in_threads(lambda part: threading.get_ident(), range(3)) == [here] * 3
    assert LeNet(0).num_threads == 2


@pytest.mark.parametrize("environment, threads", [
    ({}, 1), ({"OPENBLAS_NUM_THREADS": "1"}, "cores"), ({"OMP_NUM_THREADS": "1"}, "cores"),
    ({"OPENBLAS_NUM_THREADS": "2"}, 1), ({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "4"}, 1),
])
def test_without_threadpoolctl_the_environment_decides(environment, threads, monkeypatch):
    monkeypatch.setattr("nn.threads._controller", lambda: None)
    for name in BLAS_THREADS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert get_num_threads() == (cores if threads == "cores" else threads)
    assert one_blas_thread() == (threads == "cores")


def test_threadpoolctl_holds_blas_to_one_thread_meanwhile(two_threads):
    threadpoolctl = pytest.importorskip("threadpoolctl")

    libraries = {pool["filepath"] for pool in _controller().info()}  # NumPy's, not a later one

    def blas_threads(_=None):
        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info()
                if pool["filepath"] in libraries}

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert in_threads(blas_threads, range(2)) == [{1}, {1}]
        with pytest.raises(ZeroDivisionError):
            in_threads(lambda part: 1 / 0, range(2))
        assert blas_threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_has_threads_of_its_own():
    code = ("import os, nn.threads as t\n"
            "t.set_num_threads(2)\n"
            "assert t.in_threads(str, range(4)) == list('0123')\n"
            "child = os.fork()\n"
            "if not child:\n"
            "    os._exit(0 if t.in_threads(str, range(4)) == list('0123') else 1)\n"
            "assert os.waitpid(child, 0)[1] == 0\n")
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
