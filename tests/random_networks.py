"""Random layers and graphs, and the check that holds a network against both referees: for the tests
of several rooms."""
import numpy as np
from reference import close, complex_step, logits_and_jacobian, trace, with_random_weights

from nn import (
    ELU,
    GELU,
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GroupNorm,
    Hardtanh,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Network,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from nn.graph import inputs_from

FAMILIES = ("mixed", "convolutions", "pooling", "no flatten", "dense")
ACTIVATIONS = {
    Tanh: lambda rng: (), Sigmoid: lambda rng: (), ReLU: lambda rng: (), SiLU: lambda rng: (),
    ReLU6: lambda rng: (), LeakyReLU: lambda rng: (rng.uniform(0.2, 2),),
    ELU: lambda rng: (rng.uniform(0.2, 2),), Softplus: lambda rng: (rng.uniform(0.2, 2),),
    GELU: lambda rng: (("none", "tanh")[rng.integers(2)],),
    Hardtanh: lambda rng: (-rng.uniform(0, 2), rng.uniform(0.1, 2))}


def random_activation(rng, channels=1):
    kinds = (*ACTIVATIONS, PReLU, Tanh, ReLU)  # the two most common ones twice as often
    kind = kinds[rng.integers(len(kinds))]
    if kind is PReLU:
        return PReLU(channels if rng.random() < 0.5 else 1)
    return kind(*ACTIVATIONS[kind](rng))


def random_layer(rng, family, shape):
    """A layer for an input of `shape` (c, y, x); its windows may be too large for it."""
    every = ["conv", "conv", "max", "avg", "f", "f", "norm", "norm", "adaptive"]
    kinds = {"convolutions": ["conv"], "pooling": ["max", "max", "avg", "avg", "adaptive"]}
    kind = rng.choice(kinds.get(family, every))
    if kind == "f":
        return random_activation(rng, shape[0])
    if kind == "norm":
        return random_norm(rng, shape)
    if kind == "conv":
        return random_convolution(rng, shape[0])
    if kind == "adaptive":
        size = tuple(int(n) for n in rng.integers(1, 5, 2))
        return AdaptiveAvgPool2d((size, (None, size[0]), size[0])[rng.integers(3)])
    return random_pool(rng, MaxPool2d if kind == "max" else AvgPool2d)


def random_pair(rng, top):
    return tuple(int(n) for n in rng.integers(1, top, 2))


def random_convolution(rng, channels):
    kernel, stride, out = random_pair(rng, 4), random_pair(rng, 5), int(rng.integers(1, 5))
    padding = tuple(int(n) for n in rng.integers(0, 5, 2) * (rng.random() < 0.5))
    if rng.random() < 0.15:
        padding, stride = "same", 1
    dilation = random_pair(rng, 4) if rng.random() < 0.25 else 1
    connections, groups = None, 1
    if rng.random() < 0.3:
        connections = rng.random((out, channels)) < 0.6
    elif rng.random() < 0.4:
        groups = int(rng.choice([n for n in (1, 2, 3, 4) if channels % n == 0]))
        out = groups * int(rng.integers(1, 3))
    return Conv2d(channels, out, kernel, stride, padding, dilation, groups,
                  bias=rng.random() < 0.8, connections=connections)


def random_pool(rng, kind):
    kernel, stride = random_pair(rng, 4), random_pair(rng, 5) if rng.random() < 0.7 else None
    options = {"ceil_mode": rng.random() < 0.3}
    if rng.random() < 0.4:
        options["padding"] = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    if kind is AvgPool2d:
        options["count_include_pad"] = rng.random() < 0.5
        options["divisor_override"] = int(rng.integers(1, 9)) if rng.random() < 0.2 else None
    return kind(kernel, stride, **options)


def random_norm(rng, shape):
    channels, positions = shape[0], shape[1] * shape[2]
    possible = [n for n in range(1, channels + 1) if channels % n == 0]
    possible = [n for n in possible if channels * positions > n]  # torch refuses groups of one unit
    groups = int(rng.choice(possible or [0]))
    # of one or two units hardly any derivative is left, unless eps is large
    eps = 10 ** rng.uniform(-5, -1) if channels * positions > 2 * groups else 0.5
    kind = rng.integers(3)
    if kind == 0 or not groups:
        return (BatchNorm2d(channels), Dropout())[rng.integers(2)]
    if kind == 1:
        flat = positions == 1 and rng.random() < 0.5
        over = channels if flat else shape[1:] if rng.random() < 0.3 and positions > 2 else shape
        return LayerNorm(over, max(eps, 1e-3), rng.random() < 0.8, rng.random() < 0.8)
    return GroupNorm(groups, channels, eps, rng.random() < 0.8)


def random_chain(family, seed):
    """A network of up to four layers and an end, and two samples for it."""
    rng = np.random.default_rng([FAMILIES.index(family), seed])
    if family == "dense":
        image = shape = (int(rng.integers(1, 12)),)
        layers, shape = [random_activation(rng)] if rng.random() < 0.2 else [], (shape[0], 1, 1)
    else:
        image = shape = (int(rng.integers(1, 4)), *(int(n) for n in rng.integers(2, 9, 2)))
        layers = []
        for _ in range(rng.integers(0 if family == "mixed" else 1, 5)):
            layer = random_layer(rng, family, shape)
            try:
                shape = layer.output_shape(shape)
                layers.append(layer)
            except ValueError:  # does not fit: another try
                continue
            if np.prod(shape) > 300:
                break
        if rng.random() < 0.2 and family == "mixed":
            layers.append(AdaptiveAvgPool2d(1))
            shape = (shape[0], 1, 1)
    if family != "no flatten":
        if family != "dense":
            layers.append(Flatten())
            layers += [random_activation(rng)] if rng.random() < 0.4 else []
            layers += [BatchNorm1d(int(np.prod(shape)))] if rng.random() < 0.2 else []
        size = int(np.prod(shape))
        for _ in range(rng.integers(1, 4 if family == "dense" else 3)):
            out = int(rng.integers(1, 7))
            layers += [Linear(size, out, bias=rng.random() < 0.8), random_activation(rng)]
            size = out
        layers.pop()
    layers += [[], [Softmax()], [Sigmoid()]][rng.integers(3)] or ([] if layers else [Tanh()])
    return with_random_weights(Network(layers, image), rng), rng.normal(size=(2, *image))


def random_graph(seed):
    """Layers that take any layer before them; what is left over is flattened, joined and read by a
    Linear."""
    rng = np.random.default_rng(seed)
    image = (int(rng.integers(1, 3)), *(int(n) for n in rng.integers(3, 8, 2)))
    shapes, layers, inputs = {"input": image}, {}, {}

    def put(name, layer, sources):
        shapes[name] = layer.output_shape(inputs_from(sources, shapes))
        layers[name] = layer
        inputs[name] = sources

    for number in range(int(rng.integers(3, 8))):
        names = list(shapes)
        one, other = (str(name) for name in rng.choice(names, 2))
        try:
            if rng.random() < 0.4:
                same = [n for n in names if shapes[n] == shapes[one]]
                if rng.random() < 0.5:
                    put(f"add{number}", Add(), (one, str(rng.choice(same)), *same[:1]))
                else:
                    put(f"cat{number}", Concat(), (one, other))
            elif rng.random() < 0.4:
                kernel = tuple(int(2 * k + 1) for k in rng.integers(0, 3, 2))
                put(f"same{number}", Conv2d(shapes[one][0], image[0], kernel, 1,
                                            (kernel[0] // 2, kernel[1] // 2)), (one,))
            else:
                put(f"l{number}", random_layer(rng, "mixed", shapes[one]), (one,))
        except ValueError:  # does not fit: another try
            continue
    read = {source for sources in inputs.values() for source in sources}
    idle = [n for n in shapes if n not in read]
    if rng.random() < 0.3:
        put("gap", AdaptiveAvgPool2d(1), (idle[0],))
        idle[0] = "gap"
    for name in idle:
        put(f"flat_{name}", Flatten(), (name,))
    last = f"flat_{idle[0]}"
    if len(idle) > 1:
        put("join", Concat(), tuple(f"flat_{name}" for name in idle))
        last = "join"
    size = shapes[last][0]
    put("skip", Linear(size, 4), (last,))
    put("act", random_activation(rng), ("skip",))
    put("fc", Linear(4, 4), ("act",))
    put("sum", Add(), ("fc", "skip"))
    if rng.random() < 0.5:
        put("softmax", Softmax(), ("sum",))
    network = Network(layers, image, inputs)
    return with_random_weights(network, rng), rng.normal(size=(2, *image))


def check(network, x, first=None):
    """Value, forward and backward derivative of `network` at the samples x against both referees.

    first: the textbook's trace of the first sample, where it is there already.
    """
    logits = network.logits(x)
    forward = network.forward_derivative(x)
    backward = network.backward_derivative(x)
    traces = [first if number == 0 and first else trace(network, sample)
              for number, sample in enumerate(x)]
    terms = max(np.abs(table).max(initial=1) for one in traces for _, _, table in one)
    expected = [logits_and_jacobian(network, sample, traced=traced)
                for traced, sample in zip(traces, x)]
    close(logits, [value for value, _ in expected])
    close(forward, [jacobian for _, jacobian in expected], terms=terms)
    close(forward, [complex_step(network.logits, sample) for sample in x], terms=terms)
    close(backward, [jacobian for _, jacobian in expected], terms=terms)
    assert logits.dtype == forward.dtype == backward.dtype == np.float64


def check_layers(network, x):
    """`check`, and H_k and ∂H_k/∂x of every layer at the first sample against the textbook."""
    first = trace(network, x[0])
    check(network, x, first)
    check_trace(network, x[0], expected=first)


def check_trace(network, x, relative=1e-10, expected=None):
    """Value and Jacobian of every layer at the sample x against the textbook's trace (`expected`,
    where it is there already)."""
    before = terms = 0
    both = zip(network.trace(x[None]), expected or trace(network, x), strict=True)
    for (name, value, jacobian), (expected, h, table) in both:
        assert name == expected
        close(value[0], h, relative)
        size = np.abs(table).max() if name != "softmax" else before  # p·(z' − Σ p z') cancels
        np.testing.assert_allclose(jacobian.dense(1).reshape(table.shape), table, rtol=0,
                                   atol=relative * max(size, 1e-9) + 1e-13 * terms)
        before = np.abs(table).max()
        terms = max(before, terms)  # a mean of what was normalised cancels
