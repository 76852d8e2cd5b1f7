"""`check_torch`: backward steps written by hand for torch, right and wrong, at ties too.

What is wrong is known here from how it was made; that it is wrong, and that the right ones are
right, is also asked of `torch.autograd.gradcheck` where there are no kinks.
"""
import builtins

import numpy as np
import pytest

import nn
from nn.verify.frameworks import MissingReferee

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'jsma[referees]')")
RNG = np.random.default_rng(0)


def tensor(*shape):
    return torch.tensor(np.random.default_rng(len(shape)).normal(size=shape))


class Linear(torch.autograd.Function):
    """x Wᵀ + b, old style."""
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.T + bias

    @staticmethod
    def backward(ctx, dout):
        x, weight = ctx.saved_tensors
        return dout @ weight, dout.T @ x, dout.sum(0)


class NewLinear(torch.autograd.Function):
    """The same, new style."""
    @staticmethod
    def forward(x, weight, bias=None):
        return x @ weight.T + (0 if bias is None else bias)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx, dout):
        x, weight = ctx.saved_tensors
        return dout @ weight, dout.T @ x, dout.sum(0) if ctx.needs_input_grad[2] else None


class Tanh(torch.autograd.Function):
    """Of 2 x."""
    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(2 * x)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, dout):
        _, y = ctx.saved_tensors
        return 2 * dout * (1 - y * y)


class ReLU(torch.autograd.Function):
    """With the derivative 0 at 0."""
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, dout):
        return dout * (ctx.saved_tensors[0] > 0)


class RowMax(torch.autograd.Function):
    """The largest entry of each row; of equal ones the last."""
    @staticmethod
    def forward(ctx, x):
        ctx.index, ctx.shape = x.shape[1] - 1 - x.flip(1).argmax(1), x.shape
        return x.max(1).values

    @staticmethod
    def backward(ctx, dout):
        dx = dout.new_zeros(ctx.shape)
        return dx.scatter(1, ctx.index[:, None], dout[:, None])


class NumpySine(torch.autograd.Function):
    """Nothing that torch could differentiate."""
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(np.sin(x.detach().numpy()))

    @staticmethod
    def backward(ctx, dout):
        return dout * torch.cos(ctx.saved_tensors[0])


def with_backward(base, backward):
    """`base` with another backward step."""
    return type(f"Wrong{base.__name__}", (base,), {"backward": staticmethod(backward)})


def changed(base, *factors):
    """`base` with gradients changed by `factors`, functions or None for no gradient."""
    def backward(ctx, dout):
        gradients = base.backward(ctx, dout)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        changed = tuple(change and change(gradient)
                        for change, gradient in zip(factors, gradients))
        return changed if len(changed) > 1 else changed[0]
    return with_backward(base, backward)


def same(gradient):
    return gradient


LINEAR = tensor(4, 3), torch.tensor(RNG.normal(size=(3, 3))), tensor(3)
TIED = torch.tensor([[0., 1, -1, 0], [2, 2, -3, 0], [0, 0, 0, 0]], dtype=torch.float64)
RIGHT = {
    "old style": (Linear, LINEAR), "new style": (NewLinear, LINEAR), "tanh": (Tanh, tensor(3, 4)),
    "its apply": (Linear.apply, LINEAR), "by name": (Linear, dict(zip(("bias", "x", "weight"),
                                                                  (LINEAR[2], *LINEAR[:2])))),
    "a default left out": (NewLinear, dict(zip(("x", "weight"), LINEAR))),
    "relu at 0": (ReLU, TIED), "max at ties": (RowMax, TIED), "numpy inside": (NumpySine, TIED),
    "NumPy arrays": (Linear, [each.numpy() for each in LINEAR]),
    "float32 input": (Tanh, tensor(3, 4).float())}


@pytest.mark.parametrize("name", RIGHT)
def test_right_ones_are_right(name):
    function, inputs = RIGHT[name]
    report = nn.check_torch(function, inputs)
    assert report, report
    assert "numpy" not in name or "torch cannot differentiate" in report.missing[
        "torch's own derivative"]
    assert name != "float32 input" or report.rows[0].largest < 1e-12


WRONG = {  # (Function, inputs, what is wrong, a word of the cause)
    "sign": (changed(Linear, same, torch.neg, same), LINEAR, "weight", "sign"),
    "factor": (changed(Linear, lambda dx: 2 * dx, same, same), LINEAR, "x", "factor 2 too much"),
    "f' forgotten": (with_backward(Tanh, lambda ctx, dout: dout), tensor(3, 4), "x", "missing"),
    "f' of x, not y": (with_backward(Tanh, lambda ctx, dout: 2 * dout * (
        1 - ctx.saved_tensors[0] ** 2)), tensor(3, 4), "x", ""),
    "not summed over the batch": (with_backward(Linear, lambda ctx, dout: (
        *Linear.backward(ctx, dout)[:2], dout[0])), LINEAR, "bias", ""),
    "averaged over the batch": (changed(Linear, same, same, lambda db: db / 4), LINEAR, "bias",
                                "averaged"),
    "transposed weight": (with_backward(NewLinear, lambda ctx, dout: (
        dout @ ctx.saved_tensors[1].T, *NewLinear.backward(ctx, dout)[1:])), LINEAR, "x", ""),
    "transposed gradient": (changed(Linear, same, torch.t, same), LINEAR, "weight", "transposed"),
    "None": (changed(Linear, same, None, same), LINEAR, "weight", "no gradient is claimed"),
    "gradient of another": (changed(Linear, same, same, lambda db: 0 * db), LINEAR, "bias", "zero"),
    "another shape": (changed(Linear, same, same, torch.sum), LINEAR, "bias", "its shape is ()"),
    "mask forgotten, at ties": (with_backward(ReLU, lambda ctx, dout: dout), TIED, "x", "missing"),
    "max at ties, to all": (with_backward(RowMax, lambda ctx, dout: dout[:, None].expand(
        ctx.shape)), TIED, "x", ""),
    "numpy inside": (changed(NumpySine, lambda dx: -dx), TIED, "x", "sign"),
    "one entry by a percent": (changed(Tanh, lambda dx: dx * (1 + 0.01 * (torch.arange(
        dx.numel()) == 5)).reshape(dx.shape)), tensor(3, 4), "x", "one entry")}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_named(name):
    function, inputs, what, cause = WRONG[name]
    report = nn.check_torch(function, inputs)
    assert report.verdict == "wrong"
    assert {finding.name for finding in report.findings} == {what}, report
    assert cause in report.cause


@pytest.mark.parametrize("cases", [RIGHT, WRONG], ids=["right", "wrong"])
def test_gradcheck_says_the_same_where_it_can(cases):
    for name, (function, inputs, *_) in cases.items():
        if name in ("another shape", "by name", "float32 input", "NumPy arrays",
                    "a default left out") or inputs is TIED:
            continue
        inputs = [inputs] if isinstance(inputs, torch.Tensor) else inputs
        inputs = [each.clone().requires_grad_() for each in inputs]
        apply = getattr(function, "apply", function)
        says = torch.autograd.gradcheck(apply, inputs, raise_exception=False)
        assert says == (cases is RIGHT), name


def test_exchanged_gradients_are_both_named():
    exchanged = with_backward(Linear, lambda ctx, dout: (
        Linear.backward(ctx, dout)[0], Linear.backward(ctx, dout)[2],
        Linear.backward(ctx, dout)[1]))
    square = tensor(1, 1), tensor(1, 1), tensor(1)
    assert nn.check_torch(exchanged, square).verdict == "wrong"


class Net(torch.nn.Module):
    """Linear, batch statistics, an activation by hand, Linear."""
    def __init__(self, activation, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = torch.nn.Linear(5, 6), torch.nn.Linear(6, 2)
        self.norm = torch.nn.BatchNorm1d(6)
        self.activation = activation
        self.to(dtype)

    def forward(self, x):
        return self.last(self.activation(self.norm(self.first(x))))


SAMPLES = torch.tensor(RNG.normal(size=(4, 5)), dtype=torch.float32)


@pytest.mark.parametrize("bound", [True, False], ids=["apply bound before", "apply asked for"])
def test_a_module_with_a_function_inside(bound):
    """In float64, on a copy: weights, buffers and mode are as before."""
    right = Net(ReLU.apply if bound else lambda h: ReLU.apply(h))
    before = {name: value.clone() for name, value in right.state_dict().items()}
    report = nn.check_torch(right, SAMPLES)
    assert report, report
    assert {row.name for row in report.rows} == {"x", *dict(right.named_parameters())}
    assert all(torch.equal(value, before[name]) and value.dtype == before[name].dtype
               for name, value in right.state_dict().items())
    assert right.training and all(each.grad is None for each in right.parameters())
    wrong = with_backward(ReLU, lambda ctx, dout: dout)
    report = nn.check_torch(Net(wrong.apply if bound else lambda h: wrong.apply(h)), SAMPLES)
    assert {"x", "first.weight", "norm.weight"} <= {finding.name for finding in report.findings}
    assert not {"last.weight", "last.bias"} & {finding.name for finding in report.findings}
    assert report.finding.referee == "torch's own derivative"


def test_a_backward_hook_of_a_module_and_one_of_a_tensor():
    net = Net(torch.tanh)
    net.last.register_full_backward_hook(lambda module, dx, dout: (3 * dx[0],))
    report = nn.check_torch(net, SAMPLES)
    assert report.finding.name == "x" and "scaled by 3" in report.cause, report

    def doubled(h):
        h = h * 1
        h.register_hook(lambda dout: 2 * dout)
        return h
    report = nn.check_torch(Net(doubled), {"x": SAMPLES})
    assert report.finding.name == "x" and "a factor 2 too much" in report.cause, report


def test_dropout_in_training_is_not_judged():
    net = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Dropout(0.5))
    state = torch.random.get_rng_state()
    report = nn.check_torch(net, SAMPLES)
    assert report.verdict == "not judged" and "different values" in report.unjudged
    assert torch.equal(state, torch.random.get_rng_state())
    assert nn.check_torch(net.eval(), SAMPLES)


class SingleOnly(ReLU):
    """As kernels are that were written for float32."""
    @staticmethod
    def forward(ctx, x):
        if x.dtype != torch.float32:
            raise RuntimeError("expected scalar type Float but found Double")
        return ReLU.forward(ctx, x)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow)
                                       for seed in range(1, 5))])
def test_what_insists_on_float32_is_checked_in_float32(seed):
    x = torch.tensor(np.random.default_rng(seed).normal(size=(3, 4)), dtype=torch.float32)
    for inputs in (x, x.numpy(), x.double().numpy()):
        report = nn.check_torch(SingleOnly, inputs)
        assert report, report
        assert "float32" in "".join(report.notes)
    assert nn.check_torch(Net(SingleOnly.apply), SAMPLES).verdict != "wrong"
    wrong = with_backward(SingleOnly, lambda ctx, dout: 1.1 * ReLU.backward(ctx, dout))
    assert nn.check_torch(wrong, x).verdict == "wrong"


@pytest.mark.parametrize("size", [pytest.param(1e-30, marks=pytest.mark.slow), 1, 255])
def test_one_entry_of_many_in_float32(size):
    """Where differences along a direction cannot see it, torch's own derivative shows where to
    look; at 1e-30 differences cannot tell, and nothing is called right."""
    x = torch.tensor(size * np.random.default_rng(0).normal(size=(5, 40)), dtype=torch.float32)
    assert nn.check_torch(SingleOnly, x).verdict != "wrong"
    x[2, 3] = size
    wrong = changed(SingleOnly, lambda dx: dx * (1 + 0.05 * (torch.arange(200) == 83)).reshape(
        x.shape))
    report = nn.check_torch(wrong, x)
    assert report.verdict == ("wrong" if size > 1e-30 else "not judged"), report
    assert size == 1e-30 or report.finding.entry == "x[2, 3]"


def test_half_precision_is_refused():
    class Half(ReLU):
        """Computes in float16."""
        @staticmethod
        def forward(ctx, x):
            return ReLU.forward(ctx, x.half())
    with pytest.raises(ValueError, match="float16"):
        nn.check_torch(Half, tensor(3))


def test_a_large_array_with_ties_costs_few_calls():
    """A thousand zeros under a rule that is not torch's, and one wrong entry among them."""
    calls = []

    class One(torch.autograd.Function):
        """ReLU with the derivative ½ at 0."""
        @staticmethod
        def forward(ctx, x):
            calls.append(1)
            ctx.save_for_backward(x)
            return torch.relu(x)

        @staticmethod
        def backward(ctx, dout):
            x, = ctx.saved_tensors
            return dout * torch.heaviside(x, torch.tensor(0.5, dtype=x.dtype))

    x = torch.tensor(np.random.default_rng(1).normal(size=(100, 40)))
    x[0, ::3] = 0
    report = nn.check_torch(One, x)
    assert report, report
    assert len(calls) < 3000
    wrong = changed(One, lambda dx: dx * (1 + 0.01 * (torch.arange(4000) == 2345)).reshape(x.shape))
    x[58, 25] = 1.0
    report = nn.check_torch(wrong, x)
    assert report.verdict == "wrong" and report.finding.entry == "x[58, 25]"


def test_a_straight_through_estimator_is_not_called_wrong_nor_right():
    class Rounded(torch.autograd.Function):
        """Its forward step says by a detach that the slope shall be 1."""
        @staticmethod
        def forward(ctx, x):
            return x + (torch.round(x) - x).detach()

        @staticmethod
        def backward(ctx, dout):
            return dout
    report = nn.check_torch(Rounded, torch.tensor([0.2, 1.3, -0.7]))
    assert report.verdict == "not judged", report
    assert any("detach" in why for why in report.missing.values())
    reversed_ = with_backward(Rounded, lambda ctx, dout: -dout)
    assert nn.check_torch(reversed_, torch.tensor([0.2, 1.3, -0.7])).verdict == "wrong"


def test_several_outputs_integers_and_what_requires_no_gradient():
    class Pick(torch.autograd.Function):
        """Rows of a table, twice, and their numbers."""
        @staticmethod
        def forward(ctx, table, index, scale):
            ctx.save_for_backward(index)
            ctx.rows, ctx.scale = len(table), scale
            return table[index], scale * table.sum(0), index

        @staticmethod
        def backward(ctx, dout, dsum, _):
            index, = ctx.saved_tensors
            dtable = (ctx.scale * dsum).expand(ctx.rows, -1).clone()
            return dtable.index_add_(0, index, dout), None, None

    inputs = tensor(5, 3), torch.tensor([0, 2, 2]), 0.5
    report = nn.check_torch(Pick, inputs)
    assert report and [row.name for row in report.rows] == ["table"], report

    def last_wins(ctx, dout, dsum, _):
        dtable = (ctx.scale * dsum).expand(ctx.rows, -1).clone()
        dtable[ctx.saved_tensors[0]] += dout
        return dtable, None, None
    report = nn.check_torch(with_backward(Pick, last_wins), inputs)
    assert report.finding.name == "table" and "index" in report.cause, report
    x, weight, bias = LINEAR
    without = changed(Linear, same, same, None)
    report = nn.check_torch(without, [x.clone().requires_grad_(), weight.clone().requires_grad_(),
                                      bias])
    assert report and {row.name for row in report.rows} == {"x", "weight"}


def test_a_function_that_writes_to_its_input_is_told_so():
    class InPlace(torch.autograd.Function):
        """Doubles its input where it is."""
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx, dout):
            return 2 * dout
    x = tensor(4)
    before = x.clone()
    report = nn.check_torch(InPlace, x)
    assert report and any("changes its argument x" in note for note in report.notes), report
    assert torch.equal(x, before)


@pytest.mark.parametrize(("function", "inputs", "error"), [
    (3, [1.0], TypeError), (Tanh, [torch.arange(3)], ValueError), (Tanh, [], ValueError),
    (lambda x: None, tensor(3), ValueError), (lambda x: x.long(), tensor(3), ValueError),
    (Tanh, {"z": tensor(3)}, TypeError)])
def test_what_cannot_be_checked_raises(function, inputs, error):
    with pytest.raises(error):
        nn.check_torch(function, inputs)


def test_the_users_own_error_is_raised_as_it_is():
    def broken(ctx, dout):
        raise KeyError("my own")
    with pytest.raises(KeyError, match="my own"):
        nn.check_torch(with_backward(Tanh, broken), tensor(3))


@pytest.mark.parametrize("threads", [1, 2])
def test_torch_is_as_before(threads):
    """Its threads, `apply`, hooks and gradient mode, after an error too."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    base = torch.autograd.Function.__mro__[1]
    try:
        hooks, kept = torch.Tensor.register_hook, dict(vars(base))
        with torch.no_grad():
            assert nn.check_torch(Tanh, tensor(3))
            assert not torch.is_grad_enabled()
        with pytest.raises(ValueError):
            nn.check_torch(Tanh, [])
        assert torch.get_num_threads() == threads and torch.Tensor.register_hook is hooks
        assert dict(vars(base)) == kept
    finally:
        torch.set_num_threads(before)


def test_without_torch_one_line_says_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "torch":
            raise ImportError("No module named 'torch'")
        return real(name, *args, **kwargs)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingReferee, match=r"torch cannot be imported.*jsma\[referees\]"):
        nn.check_torch(Tanh, [np.zeros(3)])
