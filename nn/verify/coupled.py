"""What rounding can do in layers whose units hang on each other: a softmax, a normalisation within
a sample.

In: such a layer at a sample, how far its input is off, the `rounding.Precision`. Out: how far its
value is off, and how errors of derivatives go through it, forward and backward. Read on in
`verify.judging`.
"""
import numpy as np

from nn.layers.sample_norm import GROUP


def softmax_errors(layer, at, before, precision):
    """∂p_j = p_j Σ_k p_k (∂z_j − ∂z_k); p is as far off relatively as z is absolutely."""
    p = layer.forward(at.x.astype(float))[0]
    others = (p[..., None, :] * (1 - np.eye(p.shape[-1]))).sum(axis=-1)  # 1 − p_j
    own = others if precision.exact_slopes else 1
    off = np.expm1(np.minimum(2 * before.max(axis=-1, keepdims=True), 700)) + precision.unit

    def coupled(sizes):
        """p_j (v_j Σ_{k≠j} p_k + Σ_{k≠j} p_k v_k), or with v_j·1."""
        rest = (p[..., None, :] * (1 - np.eye(p.shape[-1])) * sizes[..., None, :]).sum(axis=-1)
        return p * (sizes * own + rest)

    def through(sizes, errors):
        """The errors of ∂z, coupled, and those of p."""
        return (1 + off) * coupled(errors) + off * coupled(np.abs(sizes)) + precision.tiny

    return off * p + precision.tiny, through, through


def normalization_errors(layer, at, before, precision):
    """∂n = (∂x − mean ∂x − n · mean(n ∂x)) / σ: with sizes in place of numbers all terms add up,
    and n and 1/σ are off themselves."""
    x = at.x.astype(float)
    normal, inverse = layer.forward(x)[1]
    shape, normal = normal.shape, np.abs(normal)
    weight, bias = (np.abs(np.broadcast_to(
        layer.by_unit(layer.parameters[name]), x.shape)).reshape(shape).astype(float)
        if name in layer.parameters else default * np.ones(shape)
        for name, default in (("weight", 1), ("bias", 0)))

    def mean(sizes):
        """Of each group."""
        return sizes.mean(axis=GROUP, keepdims=True)

    def coupled(v):
        """(v + mean(v) + n · mean(n · v)) / σ."""
        return inverse * (v + mean(v) + normal * mean(normal * v))

    size = np.abs(x).reshape(shape)
    off = (coupled(before.reshape(shape) + precision.unit * (size + mean(size)))
           + precision.unit * normal)  # of n
    relative = mean(normal * off) + mean(off * off) + precision.unit  # of σ

    def spread(sizes, errors):
        """Both before the weight multiplies them (or after it, on the way back)."""
        change = inverse * (off * mean(normal * sizes) + normal * mean(off * sizes))
        return (1 + relative) * coupled(errors) + relative * coupled(sizes) + 2 * change

    def by_group(part):
        """(…, b, y, x, c) → (…, b, y, x, group, channel)."""
        return np.abs(part).reshape(*part.shape[:-1], *shape[-2:])

    def forward(sizes, errors):
        """Of weight · ∂n."""
        result = weight * (spread(by_group(sizes), by_group(errors)))
        return result.reshape(errors.shape) + precision.tiny

    def backward(sizes, errors):
        """Of ∂/∂x from ∂/∂y, which the weight multiplies first."""
        result = spread(weight * by_group(sizes), weight * by_group(errors))
        return result.reshape(errors.shape) + precision.tiny

    value = weight * (off + precision.unit * normal) + precision.unit * bias
    return value.reshape(x.shape) + precision.tiny, forward, backward


def sizes_of_saved(layer, x):
    """What `forward` saved, with sizes in place of numbers: so large are the terms of which the
    gradients of the parameters are sums. Of a normalisation also those of x − mean."""
    x = x.astype(float)
    first, second = (np.abs(part) for part in layer.forward(x)[1])
    if first.ndim > x.ndim:
        size = np.abs(x).reshape(first.shape)
        first = first + (size + size.mean(axis=GROUP, keepdims=True)) * second
    return first, second
