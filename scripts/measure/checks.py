"""What finds a wrong derivative: our check beside those of torch, jax and autograd, measured in one run.

In: images, the first of which is the digit. Out: a row a case, right code and every one of `nn.verify.mistakes`, and what
each checker says of it (`table`), as text. Each of the others gets the network as its
user would hand it over: a function with a derivative written by hand, in float64, with the checker's own tolerances.
Ours is asked at the digit itself; the others, which refuse right code there, at the digit moved off its ties.
"""
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import numpy as np

from nn import Conv2d, Flatten, LeNet, Linear, Network, ReLU
from nn.verify.mistakes import AT_TIES, FORWARD, GRADIENT, MISTAKES

OURS = "ours"
NUDGE = 0.1


class Claim(NamedTuple):
    """`jacobian` (M,) → (N, M) is said to be the derivative of `function` (M,) → (N,) at `point` (M,)."""
    function: Callable
    jacobian: Callable
    point: np.ndarray


class Case(NamedTuple):
    """`network`, wrong in `part` of `layer` unless that is empty; the others are asked at `moved`, not at `image`."""
    what: str
    network: Network
    image: np.ndarray
    moved: np.ndarray
    layer: str = ""
    part: str = FORWARD


class Cell(NamedTuple):
    """What a checker says of a case, and how long it took."""
    said: str
    seconds: float


class Row(NamedTuple):
    """A case and what each checker says of it, {checker: Cell}."""
    what: str
    layer: str
    cells: dict


def table(images):
    """Every case put to every checker; about four minutes on two cores.

    Args:
        images: (n, 28, 28) in [0, 1]; the first is taken.

    Returns:
        A list of `Row`. A cell says of right code "passes" or "false alarm", of wrong code "caught, layer named",
        "caught", "missed" or, where a checker refuses the right code at the same place just as well, "cannot tell";
        "unchecked" where ours gives no verdict; "not installed" where the checker's package is missing.
    """
    right, known = LeNet.pretrained(), {}
    right.load({name: array.astype(np.float64) for name, array in right.parameters().items()})
    return [Row(case.what, case.layer, {OURS: _ours(case), **{name: _theirs(name, case, right, known)
                                                            for name in CHECKERS}})
            for case in _cases(right, np.asarray(images[0], np.float64))]


LEGEND = """passes, false alarm: right code; caught, missed: wrong code; cannot tell: right code is refused there too.
Ours is asked at the digit itself, the others, which refuse right code there, at the digit moved off its ties
(except where the mistake shows at ties only)."""


def text(rows):
    """The rows as an aligned table with the sums, the median of the seconds a check took, and a legend."""
    lines = list(_lines(rows))
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join([*("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines), LEGEND])


def _lines(rows):
    yield ["case", "layer", *rows[0].cells]
    for row in rows:
        yield [row.what, row.layer, *(cell.said for cell in row.cells.values())]
    columns = list(zip(*(row.cells.values() for row in rows)))
    for what, wanted, wrong in (("right code passed", "passes", False), ("wrong code caught", "caught", True),
                                ("… and the layer named", "caught, layer named", True)):
        asked = [number for number, row in enumerate(rows) if bool(row.layer) == wrong]
        yield [what, "", *(f"{sum(column[n].said.startswith(wanted) for n in asked)} of {len(asked)}"
                           for column in columns)]
    yield ["seconds a check, median", "", *(f"{statistics.median(cell.seconds for cell in column):.2g}"
                                            for column in columns)]


# The cases

def _cases(right, digit):
    moved, black = digit + NUDGE * np.random.default_rng(0).uniform(size=digit.shape), np.zeros_like(digit)
    yield Case("right code: a real digit", right, digit, digit)
    yield Case("right code: the digit off its ties", right, moved, moved)
    yield Case("right code: a black image", right, black, black)
    yield Case("right code: ReLU at exactly 0, a real digit", _rectified(), digit, digit)
    for mistake in MISTAKES.values():
        yield Case(mistake.name, mistake.make(right), digit, digit if mistake.name in AT_TIES else moved,
                   mistake.layer, mistake.part)


def _rectified():
    """A network without a bias: wherever the image is black its rectifiers sit on 0."""
    return Network({"conv": Conv2d(1, 4, 5, bias=False), "relu": ReLU(), "flatten": Flatten(),
                    "fc": Linear(4 * 24 * 24, 10)}, (28, 28))


def claims(network, image, part=FORWARD, of="logits", parameter=None):
    """What `network` claims at one image (28, 28): ∂`of`/∂x by its `part`, or ∂logits/∂`parameter` for gradients."""
    if part == GRADIENT:
        return _claimed_gradient(network, image, parameter)
    value = network.logits if of == "logits" else network.probabilities
    derivative = network.forward_derivative if part == FORWARD else network.backward_derivative
    return Claim(lambda x: value(x[None])[0], lambda x: derivative(x[None], of=of)[0], image.reshape(-1))


def _claimed_gradient(network, image, parameter):
    network = deepcopy(network)
    layer, key = parameter.rsplit(".", 1)
    own = network.layers[layer].parameters
    shape, start = own[key].shape, own[key].astype(np.float64).reshape(-1)

    def forward(values):
        own[key] = values.reshape(shape)
        return network.forward(image[None])

    def jacobian(values):
        """What the network claims, (N, size of the parameter): a gradient for each logit."""
        saved = forward(values)[1]
        return np.stack([network.gradients(unit[None], saved)[parameter].reshape(-1)
                         for unit in np.eye(network.classes)])

    return Claim(lambda values: forward(values)[0][0], jacobian, start)


def wrong_parameter(wrong, right, image):
    """The name of the first parameter whose gradients differ at one image (28, 28), None where all agree."""
    found = []
    for network in (wrong, right):
        logits, saved = network.forward(image[None])
        found.append(network.gradients(np.arange(1.0, logits.size + 1)[None], saved))
    return next((name for name in found[1] if not np.array_equal(found[0][name], found[1][name])), None)


# The checkers

def _ours(case):
    from nn import check_network
    begun = time.perf_counter()
    report = check_network(case.network, case.image[None])
    return Cell(_said_by_ours(report, case), time.perf_counter() - begun)


def _said_by_ours(report, case):
    if report.verdict == "unchecked":
        return "unchecked"
    if not case.layer:
        return "passes" if report.verdict == "right" else "false alarm"
    if report.verdict == "right":
        return "missed"
    return "caught, layer named" if report.layer == case.layer else "caught"


def _theirs(name, case, right, known):
    """What the checker `name` says of a case; `known` keeps whether it accepts right code, {what was asked: bool}."""
    of = "probabilities" if case.layer == list(case.network.layers)[-1] else "logits"
    parameter = wrong_parameter(case.network, right, case.moved) if case.part == GRADIENT else None
    begun = time.perf_counter()
    try:
        accepted = CHECKERS[name](claims(case.network, case.moved, case.part, of, parameter))
    except ImportError:
        return Cell("not installed", 0.0)
    seconds = time.perf_counter() - begun
    if not case.layer:
        return Cell("passes" if accepted else "false alarm", seconds)
    if accepted:
        return Cell("missed", seconds)
    asked = (name, of, parameter, case.moved.tobytes())
    if asked not in known:
        known[asked] = CHECKERS[name](claims(right, case.moved, case.part, of, parameter))
    return Cell("caught" if known[asked] else "cannot tell", seconds)


def torch_gradcheck(claim, fast=False):
    """Does `torch.autograd.gradcheck` accept the claim? `fast`: both sides projected on a random direction."""
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


def jax_check_grads(claim, step=None):
    """Does `jax.test_util.check_grads` accept the claim, forward and reverse? `step`: its own is 1e-4."""
    import jax
    from jax.test_util import check_grads

    def call(function, x):
        shape = jax.eval_shape(lambda: function(claim.point))
        return jax.pure_callback(lambda x: function(np.asarray(x)), shape, x)

    with _double(jax):
        function = jax.custom_jvp(partial(call, claim.function))
        function.defjvp(lambda x, t: (function(*x), call(claim.jacobian, *x) @ t[0]))
        return _accepts(partial(check_grads, function, (claim.point,), order=1, eps=step))


def _double(jax):
    """A block in which jax computes in float64."""
    try:
        return jax.enable_x64(True)
    except AttributeError:  # before jax 0.8
        from jax.experimental import enable_x64
        return enable_x64(True)


def autograd_check_grads(claim):
    """Does `autograd.test_util.check_grads` accept the claim, in reverse? Its random direction is drawn from seed 0."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads
    function, state = primitive(claim.function), np.random.get_state()
    defvjp(function, lambda y, x: lambda v: v @ claim.jacobian(x))
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


CHECKERS = {"torch gradcheck": torch_gradcheck, "torch gradcheck, fast": partial(torch_gradcheck, fast=True),
            "jax check_grads": jax_check_grads, "jax check_grads, eps=1e-6": partial(jax_check_grads, step=1e-6),
            "autograd check_grads": autograd_check_grads}
