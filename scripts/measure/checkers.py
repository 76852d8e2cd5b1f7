"""The checkers of other libraries: torch's `gradcheck`, jax's and autograd's `check_grads`.

In: a `ClaimedDerivative`, with a derivative written by hand as a user of the library would hand it
over, in float64. Out: whether the library accepts it, by its own tolerances. ImportError where it
is missing.
"""
from functools import partial

import numpy as np


def torch_gradcheck(claim, fast=False):
    """Does `torch.autograd.gradcheck` accept it? `fast`: both sides projected on one direction."""
    import torch

    class Claimed(torch.autograd.Function):
        """The claim as a user would hand it to torch."""
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.from_numpy(claim.function(x.detach().numpy()))

        @staticmethod
        def backward(ctx, v):
            return v @ torch.from_numpy(claim.jacobian(ctx.saved_tensors[0].detach().numpy()))

    point = torch.from_numpy(claim.point.copy()).requires_grad_()
    return torch.autograd.gradcheck(Claimed.apply, (point,), fast_mode=fast, raise_exception=False)


def jax_check_grads(claim, step_size=None):
    """Does `jax.test_util.check_grads` accept it, both ways? Its own step size is 1e-4."""
    import jax
    from jax.test_util import check_grads

    def call(function, x):
        shape = jax.eval_shape(lambda: function(claim.point))
        return jax.pure_callback(lambda x: function(np.asarray(x)), shape, x)

    with _double(jax):
        function = jax.custom_jvp(partial(call, claim.function))
        function.defjvp(lambda x, t: (function(*x), call(claim.jacobian, *x) @ t[0]))
        return _accepts(partial(check_grads, function, (claim.point,), order=1, eps=step_size))


def _double(jax):
    """A block in which jax computes in float64."""
    try:
        return jax.enable_x64(True)
    except AttributeError:  # before jax 0.8
        from jax.experimental import enable_x64
        return enable_x64(True)


def autograd_check_grads(claim):
    """Does `autograd.test_util.check_grads` accept it, in reverse, in a direction of seed 0?"""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads
    function = primitive(claim.function)
    defvjp(function, lambda y, x: lambda v: v @ claim.jacobian(x))
    state = np.random.get_state()
    np.random.seed(0)
    try:
        return _accepts(partial(check_grads(function, modes=["rev"], order=1), claim.point))
    finally:
        np.random.set_state(state)


def _accepts(check):
    try:
        check()
    except AssertionError:
        return False
    return True


CHECKERS = {"torch gradcheck": torch_gradcheck,
            "torch gradcheck, fast": partial(torch_gradcheck, fast=True),
            "jax check_grads": jax_check_grads,
            "jax check_grads, eps=1e-6": partial(jax_check_grads, step_size=1e-6),
            "autograd check_grads": autograd_check_grads}
