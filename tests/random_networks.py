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
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    Hardtanh,
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


def random_layer(rng, family, channels):
    every = ["conv", "conv", "max", "avg", "f", "f", "norm"]
    kinds = {"convolutions": ["conv"], "pooling": ["max", "avg"]}.get(family, every)
    kind = rng.choice(kinds)
    pairs = [tuple(int(n) for n in rng.integers(1, top, 2)) for top in (4, 5)]
    if kind == "f":
        return random_activation(rng, channels)
    if kind == "norm":
        return (BatchNorm2d(channels), Dropout())[rng.integers(2)]
    if kind == "conv":
        padding = tuple(int(n) for n in rng.integers(0, 5, 2) * (rng.random() < 0.5))
        out = int(rng.integers(1, 5))
        connections = rng.random((out, channels)) < 0.6 if rng.random() < 0.3 else None
        return Conv2d(channels, out, *pairs, padding, bias=rng.random() < 0.8,
                      connections=connections)
    pool = MaxPool2d if kind == "max" else AvgPool2d
    return pool(pairs[0], pairs[1] if rng.random() < 0.7 else None)


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
                put(f"l{number}", random_layer(rng, "mixed", shapes[one][0]), (one,))
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
    expected = [logits_and_jacobian(network, sample, traced=first if number == 0 else None)
                for number, sample in enumerate(x)]
    close(logits, [value for value, _ in expected])
    close(forward, [jacobian for _, jacobian in expected])
    close(forward, [complex_step(network.logits, sample) for sample in x])
    close(backward, [jacobian for _, jacobian in expected])
    assert logits.dtype == forward.dtype == backward.dtype == np.float64


def check_layers(network, x):
    """`check`, and H_k and ∂H_k/∂x of every layer at the first sample against the textbook."""
    first = trace(network, x[0])
    check(network, x, first)
    check_trace(network, x[0], expected=first)


def check_trace(network, x, relative=1e-10, expected=None):
    """Value and Jacobian of every layer at the sample x against the textbook's trace (`expected`,
    where it is there already)."""
    before = 0
    both = zip(network.trace(x[None]), expected or trace(network, x), strict=True)
    for (name, value, jacobian), (expected, h, table) in both:
        assert name == expected
        close(value[0], h, relative)
        size = np.abs(table).max() if name != "softmax" else before  # p·(z' − Σ p z') cancels
        np.testing.assert_allclose(jacobian.dense(1).reshape(table.shape), table, rtol=0,
                                   atol=relative * max(size, 1e-9))
        before = np.abs(table).max()
