"""Random modules of functions, as they might be written: what `from_torch` takes has torch's own
values and derivatives, and what it does not take is refused in one line."""
import numpy as np
import pytest

from nn.convert.torch import from_torch

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'jsma[referees]')")
f = torch.nn.functional
SHAPES = [(3,), (2, 4, 6), (1, 7, 6), (12,)]  # unlike the number of samples


class Drawn(torch.nn.Module):
    """A few functions, drawn from a seed, each of one of the last three values.

    What a value's shape does not allow is left out, so a number of samples decides nothing.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def forward(self, x):
        rng = np.random.default_rng(self.seed)
        values = [x]
        for _ in range(int(rng.integers(2, 9))):
            h = values[int(rng.integers(max(0, len(values) - 3), len(values)))]
            other = values[int(rng.integers(len(values)))]
            function = FUNCTIONS[int(rng.integers(len(FUNCTIONS)))]
            seed = int(rng.integers(10**6))

            def constant(*shape, seed=seed):
                """The same at every call."""
                return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))

            try:
                values.append(function(h, other, constant))
            except (RuntimeError, IndexError):
                continue
        return values[-1]


FUNCTIONS = [
    lambda h, other, c: h * c(*h.shape[1:]), lambda h, other, c: (h - 0.3) / 1.7,
    lambda h, other, c: 2 - h, lambda h, other, c: -h, lambda h, other, c: h.clone().mul_(1.5),
    lambda h, other, c: c(*h.shape[2:]) - h,
    lambda h, other, c: h / c(h.shape[1], *[1] * (h.dim() - 2)), lambda h, other, c: h + other,
    lambda h, other, c: h - other, lambda h, other, c: torch.sub(h, other, alpha=0.5),
    lambda h, other, c: torch.cat([h, other], 1), lambda h, other, c: h.flatten(1),
    lambda h, other, c: h.reshape(len(h), -1), lambda h, other, c: h.unsqueeze(1),
    lambda h, other, c: h.squeeze(-1), lambda h, other, c: h.view(len(h), h.shape[1], -1),
    lambda h, other, c: h.view(len(h), -1, 2, 3), lambda h, other, c: h.flatten(2),
    lambda h, other, c: h[:, :, None], lambda h, other, c: h.flatten(1).view(h.shape),
    lambda h, other, c: h.permute(0, -1, 1), lambda h, other, c: h.transpose(1, -1),
    lambda h, other, c: h.mean((2, 3)), lambda h, other, c: h.mean((-2, -1), keepdim=True),
    lambda h, other, c: h.mean(-1), lambda h, other, c: h.repeat(1, 2, 1, 1),
    lambda h, other, c: h.expand(-1, 3, -1, -1), lambda h, other, c: torch.tanh(h),
    lambda h, other, c: f.elu(h, 0.7), lambda h, other, c: f.relu(h),
    lambda h, other, c: h.clamp(min=0), lambda h, other, c: torch.sigmoid(h).add(1.0, alpha=2),
    lambda h, other, c: f.conv2d(h, c(2, h.shape[1], 2, 2), padding=1),
    lambda h, other, c: f.linear(h, c(6, h.shape[1]), c(6)),
    lambda h, other, c: h @ c(h.shape[-1], 4), lambda h, other, c: f.max_pool2d(h, 2, 1),
    lambda h, other, c: f.avg_pool2d(h, (1, 2)), lambda h, other, c: f.adaptive_avg_pool2d(h, 1),
    lambda h, other, c: f.softmax(h, 1),
]


def agrees(seed):
    """True where the module is taken and agrees, False where it is refused."""
    module, shape = Drawn(seed), SHAPES[seed % len(SHAPES)]
    try:
        network = from_torch(module, shape)
    except (TypeError, ValueError) as error:
        assert "\n" not in str(error), seed
        assert "disagree" not in str(error), (seed, error)  # nothing was read wrong
        return False
    x = np.random.default_rng(seed).normal(size=(2, *shape))

    def one(sample):
        """The answer for one sample, the first of 11: no other size is 11."""
        return module(torch.stack([sample, *[torch.zeros_like(sample)] * 10]))[0].reshape(-1)

    samples = torch.from_numpy(x)
    value = torch.stack([one(sample) for sample in samples])
    jacobian = torch.stack([torch.func.jacrev(one)(sample) for sample in samples])
    *_, last = network.trace(x.reshape(2, -1))
    got = last[1], last[2].dense(2)
    for ours, torchs in zip(got, (value.numpy(), jacobian.numpy())):
        scale = max(1, np.abs(torchs).max())
        np.testing.assert_allclose(ours.reshape(torchs.shape), torchs, rtol=0, atol=1e-9 * scale)
    return True


@pytest.mark.parametrize("block", [
    0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 20))])
def test_random_modules(block):
    answers = [agrees(seed) for seed in range(50 * block, 50 * block + 50)]
    assert 10 < sum(answers) < 45
