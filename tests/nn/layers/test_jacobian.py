"""∂H_k/∂x as windows: what a user's layer reads of a `Jacobian`, and what no layer may do to it.

The full tables are those of `nn.textbook`; the values of a first convolution, of the image itself
or of a user's layer may be read-only views that stand for many entries.
"""
import numpy as np
import pytest
from random_networks import check, random_activation, random_graph
from reference import close, trace, with_random_weights

import nn
from nn import (
    ELU,
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GroupNorm,
    Jacobian,
    LayerNorm,
    Linear,
    MaxPool2d,
    Network,
    ReLU,
    Softmax,
    Tanh,
)
from nn.layers.jacobian import ByColumn, Flattened, Identity

IMAGE = (2, 5, 4)


def random_jacobian(rng, units=(3, 2), batch=3, channels=4):
    """Windows 2×3 of an image of 5×4 pixels, at a stride of (2, 1), that stick out of it."""
    values = rng.normal(size=(2, 3, IMAGE[0], *units, batch, channels))
    return Jacobian(values, (2, 1), (-1, 0), units, IMAGE)


def plain_table(jacobian, batch):
    """∂H/∂x entry by entry, as the class says where each stands: (b, c, y, x, i·height·width)."""
    rows, columns = jacobian.units
    values = np.broadcast_to(jacobian.values, (*jacobian.values.shape[:3], rows, columns, batch,
                                               jacobian.values.shape[6]))
    table = np.zeros((batch, values.shape[6], rows, columns, *jacobian.image))
    for wy, wx, i, y, x in np.ndindex(values.shape[:5]):
        row = jacobian.stride[0] * y + jacobian.start[0] + wy
        column = jacobian.stride[1] * x + jacobian.start[1] + wx
        if 0 <= row < jacobian.image[1] and 0 <= column < jacobian.image[2]:
            table[:, :, y, x, i, row, column] = values[wy, wx, i, y, x]
    return table.reshape(*table.shape[:4], -1)


def by_column(jacobian):
    """The same windows, made column by column."""
    def write(wx, out):
        out[:] = jacobian.values[:, wx]

    return ByColumn(write, jacobian.shape, jacobian.dtype, jacobian.stride, jacobian.start,
                    jacobian.units, jacobian.image)


# the protocol

def test_the_image_itself():
    jacobian = Jacobian.identity(IMAGE, np.float32)
    assert jacobian.is_identity and isinstance(jacobian, Jacobian)
    assert (jacobian.stride, jacobian.start, jacobian.units) == ((1, 1), (0, 0), IMAGE[1:])
    assert jacobian.image == IMAGE and jacobian.values.dtype == np.float32
    table = jacobian.dense(2).reshape(2, 40, 40)
    np.testing.assert_array_equal(table, np.broadcast_to(np.eye(40), (2, 40, 40)))


def test_dense_puts_each_window_at_its_place():
    jacobian = random_jacobian(np.random.default_rng(0))
    np.testing.assert_array_equal(jacobian.dense(3), plain_table(jacobian, 3))
    one = jacobian.with_values(jacobian.values[:, :, :, :1, :1, :1])  # the same everywhere
    np.testing.assert_array_equal(one.dense(3), plain_table(one, 3))


def test_flatten_names_the_units_anew():
    """In PyTorch's order: channel, row, column; once more changes nothing."""
    jacobian = random_jacobian(np.random.default_rng(1))
    flat = jacobian.flatten()
    table = jacobian.dense(3).reshape(3, 24, 1, 1, 40)
    assert not flat.is_identity and flat.flatten() is flat and isinstance(flat, Jacobian)
    assert (flat.stride, flat.start, flat.units) == ((1, 1), (0, 0), (1, 1))
    assert flat.image == IMAGE and flat.values.shape == (5, 4, 2, 1, 1, 3, 24)
    np.testing.assert_array_equal(flat.dense(3), table)
    np.testing.assert_array_equal(plain_table(flat, 3), table)


@pytest.mark.parametrize("flat", [False, True])
def test_scaled_multiplies_each_unit(flat):
    rng = np.random.default_rng(2)
    jacobian = random_jacobian(rng)
    jacobian = jacobian.flatten() if flat else jacobian
    slope = rng.normal(size=(3, *jacobian.units, jacobian.values.shape[6]))  # (b, y, x, c)
    expected = jacobian.dense(3) * slope.transpose(0, 3, 1, 2)[..., None]
    np.testing.assert_array_equal(jacobian.scaled(slope).dense(3), expected)


def test_with_values_keeps_what_is_not_named():
    jacobian = random_jacobian(np.random.default_rng(3))
    other = jacobian.with_values(2 * jacobian.values, start=(0, 1))
    assert other.start == (0, 1)
    assert (other.stride, other.units, other.image) == ((2, 1), (3, 2), IMAGE)
    np.testing.assert_array_equal(other.values, 2 * jacobian.values)


def test_coverage_says_which_units_see_which_pixels():
    jacobian = random_jacobian(np.random.default_rng(4))
    for axis in (0, 1):
        covered = []
        for p0, p1, u0, u1 in jacobian.coverage(axis):
            for pixel in range(p0, p1):
                covered.append(pixel)
                first = [jacobian.stride[axis] * u + jacobian.start[axis]
                         for u in range(jacobian.units[axis])]
                window = jacobian.values.shape[axis]
                seen_by = [u for u, start in enumerate(first) if start <= pixel < start + window]
                assert seen_by == list(range(u0, u1))
        assert covered == list(range(IMAGE[1 + axis]))


@pytest.mark.parametrize("flat", [False, True])
def test_bands_are_the_table_in_pieces(flat):
    jacobian = random_jacobian(np.random.default_rng(5))
    jacobian = jacobian.flatten() if flat else jacobian
    table = jacobian.dense(3)
    pieces = [(p0, p1, band.dense(3)) for p0, p1, band in jacobian.bands()]
    assert [p0 for p0, _, _ in pieces] == [0, *[p1 for _, p1, _ in pieces[:-1]]]
    table = table.reshape(*table.shape[:4], *IMAGE)
    for p0, p1, piece in pieces:
        np.testing.assert_array_equal(piece.reshape(*piece.shape[:4], IMAGE[0], p1 - p0, IMAGE[2]),
                                      table[..., p0:p1, :])


# views that stand for many entries

LAYERS = {
    "Conv2d": lambda: Conv2d(4, 2, 2), "Conv2d, padded": lambda: Conv2d(4, 2, 2, 2, 1),
    "Conv2d, dilated": lambda: Conv2d(4, 2, 2, 1, 1, dilation=(2, 1), groups=2),
    "MaxPool2d, padded": lambda: MaxPool2d(2, 1, 1), "LayerNorm": lambda: LayerNorm((4, 3, 2)),
    "AvgPool2d, padded": lambda: AvgPool2d(2, 2, 1, ceil_mode=True, count_include_pad=False),
    "AdaptiveAvgPool2d, 2": lambda: AdaptiveAvgPool2d(2), "GroupNorm": lambda: GroupNorm(2, 4),
    "MaxPool2d": lambda: MaxPool2d(2), "AvgPool2d": lambda: AvgPool2d(2, 1),
    "AdaptiveAvgPool2d": AdaptiveAvgPool2d, "ReLU": ReLU, "Tanh": Tanh, "ELU": ELU,
    "Softmax": Softmax, "BatchNorm2d": lambda: BatchNorm2d(4), "Dropout": Dropout,
    "Flatten": Flatten, "Linear": lambda: Linear(24, 3), "Add": Add, "Concat": Concat,
}


@pytest.mark.parametrize("axes", [(3,), (4,), (5,), (3, 4), (3, 4, 5)])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_reads_shared_and_broadcast_values_and_leaves_them(name, axes):
    """Axes y, x, b of length 1, or broadcast to their length in a read-only view: no difference."""
    rng = np.random.default_rng(6)
    jacobian, layer = random_jacobian(rng), LAYERS[name]()
    for key, array in layer.parameters.items():
        layer.parameters[key] = rng.uniform(0.5, 2, array.shape)
    shape = jacobian.values.shape
    shared = jacobian.values[tuple(slice(1) if axis in axes else slice(None) for axis in range(7))]
    view = np.broadcast_to(shared, shape)
    x = rng.normal(size=(3, 3, 2, 4))
    tables = []
    for values in (shared, view, view.copy()):
        before = values.copy()
        own, value = jacobian.with_values(values), x
        if name == "Linear":
            own, value = own.flatten(), x.reshape(3, 1, 1, 24)
        if name in ("Add", "Concat"):
            own, value = (own, jacobian), (x, x)
        _, saved = layer.forward(value)
        tables.append(layer.forward_derivative(own, saved).dense(3))
        np.testing.assert_array_equal(values, before)
    close(tables[0], tables[2], 1e-14)
    close(tables[1], tables[2], 1e-14)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_reads_windows_that_are_made_by_column(name):
    """As whole tables, whether a layer asks for the columns or for all, once or twice."""
    rng = np.random.default_rng(7)
    jacobian, layer = random_jacobian(rng), LAYERS[name]()
    x = rng.normal(size=(3, 3, 2, 4))
    own, value = by_column(jacobian), x
    if name == "Linear":
        own, value = own.flatten(), x.reshape(3, 1, 1, 24)
    if name in ("Add", "Concat"):
        own, value = (own, jacobian), (x, x)
    plain = jacobian.flatten() if name == "Linear" else jacobian
    plain = (jacobian, jacobian) if name in ("Add", "Concat") else plain
    _, saved = layer.forward(value)
    expected = layer.forward_derivative(plain, saved).dense(3)
    for _ in range(2):
        close(layer.forward_derivative(own, saved).dense(3), expected, 1e-14)


@pytest.mark.parametrize("shape", [(3, 3, 2, 4), (1, 3, 2, 4), (3, 1, 1, 4)])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.float32])
def test_windows_by_column_scaled(shape, dtype):
    rng = np.random.default_rng(8)
    jacobian = random_jacobian(rng)
    slope = rng.normal(size=shape).astype(dtype)
    lazy = by_column(jacobian).scaled(slope)
    plain = jacobian.scaled(slope)
    for wx, column in lazy.columns():
        np.testing.assert_array_equal(column, plain.values[:, wx])
    assert lazy.shape == plain.shape and lazy.dtype == plain.dtype
    np.testing.assert_array_equal(lazy.values, plain.values)


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("units", [(3, 2), (1, 2), (3, 1)])
def test_a_linear_layer_behind_few_and_many_samples(batch, units):
    """Each row of units on its own, or all units of a block of pixels at once: one product with the
    whole table."""
    rng = np.random.default_rng(batch)
    jacobian = random_jacobian(rng, units, batch)
    layer = Linear(4 * units[0] * units[1], 5, rng=rng)
    layer.parameters["weight"] = layer.parameters["weight"].astype(float)
    x = rng.normal(size=(batch, 1, 1, 4 * units[0] * units[1]))
    _, saved = layer.forward(x)
    table = plain_table(jacobian, batch).reshape(batch, -1, 40)  # (b, c·y·x, M)
    expected = layer.parameters["weight"] @ table
    close(layer.forward_derivative(jacobian.flatten(), saved).dense(batch)[:, :, 0, 0], expected,
          1e-13)
    places = [(p0, p1) for p0, p1, _ in jacobian.bands()]
    assert places[0][0] == 0 and places[-1][1] == IMAGE[1]
    for p0, p1, band in jacobian.bands():
        rows = layer.forward_derivative(band.flatten(), saved).dense(batch)[:, :, 0, 0]
        block = expected.reshape(batch, 5, *IMAGE)[:, :, :, p0:p1]
        close(rows, block.reshape(batch, 5, -1), 1e-13)


def test_a_linear_layer_reads_its_weights_anew():
    """With the same Jacobian once more, after its weights were changed in place."""
    rng = np.random.default_rng(9)
    jacobian, layer = random_jacobian(rng).flatten(), Linear(24, 3, rng=rng)
    _, saved = layer.forward(rng.normal(size=(3, 1, 1, 24)))
    before = layer.forward_derivative(jacobian, saved).dense(3)
    layer.parameters["weight"] *= 2
    close(layer.forward_derivative(jacobian, saved).dense(3), 2 * before, 1e-6)


@pytest.mark.parametrize("layers", [
    lambda: [Flatten(), ReLU(), Flatten(), ReLU()],
    lambda: [ReLU(), Dropout(), ReLU()],
    lambda: [Flatten(), BatchNorm2d(3), ReLU(), Softmax()],
])
def test_activations_of_the_image_itself(layers):
    """Once the table of the image was a read-only view, and an activation wrote into it."""
    network = Network(layers(), (3,))
    x = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]])
    for position, (_, _, jacobian) in enumerate(network.trace(x)):
        expected = [trace(network, sample)[position][2] for sample in x]
        close(jacobian.dense(2).reshape(2, 3, 3), expected)
    close(network.forward_derivative(x), network.backward_derivative(x))


@pytest.fixture
def read_only(monkeypatch):
    """Every layer gets windows, values and what it saved in views that cannot be written to."""
    def locked(value):
        if isinstance(value, np.ndarray):
            value = value.view()
            value.flags.writeable = False
        return tuple(map(locked, value)) if isinstance(value, tuple) else value

    made = Jacobian.__init__
    monkeypatch.setattr(Jacobian, "__init__", lambda self, values, *rest: made(
        self, locked(np.broadcast_to(values, values.shape)), *rest))
    for kind in (Identity, ByColumn, Flattened):
        values = vars(kind)["values"].func
        monkeypatch.setattr(kind, "values", property(lambda self, make=values: locked(make(self))))
    kinds = {kind for kind in vars(nn).values() if isinstance(kind, type)
             and issubclass(kind, nn.Layer) and "forward" in vars(kind)}
    for kind in kinds:
        forward, backward = vars(kind)["forward"], vars(kind).get("backward")
        monkeypatch.setattr(kind, "forward", lambda self, x, own=forward: locked(own(self, x)))
        if backward:
            monkeypatch.setattr(kind, "backward", lambda self, grad_y, saved, own=backward:
                                own(self, locked(grad_y), saved))
    return locked


@pytest.mark.parametrize("chosen", range(8))
def test_nothing_is_written_in_place(read_only, chosen):
    """Random chains of Flatten and activations, right on the image or behind a layer, one sample or
    several, in both precisions: no layer writes into what it takes or into what another made."""
    rng = np.random.default_rng([1, chosen])
    for _ in range(25):
        image = [(3,), (2, 3), (2, 3, 2)][rng.integers(3)]
        features = int(np.prod(image))
        start = [[], [], [Conv2d(Network([Tanh()], image).image[0], 2, 1, rng=rng)],
                 [Flatten(), Linear(features, 4, rng=rng)]][rng.integers(4)]
        chain = [Flatten() if rng.random() < 0.3 else Dropout() if rng.random() < 0.1
                 else Softmax() if rng.random() < 0.1 else random_activation(rng)
                 for _ in range(rng.integers(1, 6))]
        network = Network(start + chain, image)
        x = rng.normal(size=(int(rng.integers(1, 4)), *image))
        x = read_only(np.broadcast_to(x[:1], x.shape) if rng.random() < 0.3 else x)
        before = x.copy()
        forward, backward = network.forward_derivative(x), network.backward_derivative(x)
        close(forward, backward, 1e-12)
        float32 = network.forward_derivative(read_only(x.astype(np.float32)))
        close(float32, forward, 1e-4)
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("seed", range(10))
def test_no_graph_writes_in_place(read_only, seed):
    """Where branches meet an output goes to several layers."""
    network, x = random_graph(seed)
    close(network.forward_derivative(x), network.backward_derivative(read_only(x)))
    logits, saved = network.forward(x)
    network.gradients(read_only(np.ones_like(logits)), saved)


@pytest.mark.parametrize("tail", [
    lambda: [Conv2d(4, 3, 2)], lambda: [Conv2d(4, 3, 2, 1, 1)], lambda: [MaxPool2d(2)],
    lambda: [AvgPool2d(2, 1)], lambda: [AdaptiveAvgPool2d()], lambda: [Softmax(), Tanh()],
    lambda: [Flatten(), Linear(48, 2)],
])
@pytest.mark.parametrize("turned", [False, True])
def test_windows_that_are_the_same_along_one_axis_only(tail, turned):
    """Branches whose strides differ along one axis: joined, they differ from row to row only."""
    def size(rows, columns):
        return (columns, rows) if turned else (rows, columns)

    layers = {"one": Conv2d(1, 2, size(3, 3), size(2, 1)), "other": Conv2d(1, 2, size(6, 3)),
              "join": Concat()}
    layers |= {str(number): layer for number, layer in enumerate(tail())}
    network = Network(layers, (1, *size(9, 5)), {"other": "input", "join": ("one", "other")})
    rng = np.random.default_rng(7)
    check(with_random_weights(network, rng), rng.normal(size=(2, 1, *size(9, 5))))
