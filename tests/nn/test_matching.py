"""Weights under other names and in other orders of axes: recognised and said, or refused in a line.

Every recognised file is held against the network it was made of: the same logits.
"""
import io
import pickle
import re
import warnings
import zipfile

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from nn import (
    AdaptiveAvgPool2d,
    Add,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    LeNet,
    Linear,
    Network,
    ReLU,
    Tanh,
    WeightsError,
    load_weights,
    save_weights,
)
from scripts.terminal.networks import load_network


def drawn(network, seed):
    """The network with weights of its own; variances are positive."""
    rng = np.random.default_rng(seed)
    return network.load({name: rng.random(array.shape) + 0.1 for name, array in
                         network.parameters().items()})


def small(seed=0):
    return drawn(Network({"conv": Conv2d(1, 3, 2), "bn": BatchNorm2d(3), "tanh": Tanh(),
                          "flatten": Flatten(), "fc1": Linear(12, 5), "fc2": Linear(5, 4)},
                         (3, 3)), seed)


def saved(path, arrays):
    np.savez(path, **arrays)
    return path


def load_said(path, network):
    """The network, and the one line that is said."""
    with pytest.warns(UserWarning) as caught:
        load_weights(path, network)
    (warning,) = caught
    said = str(warning.message)
    assert warning.filename == __file__ and "\n" not in said and str(path) in said
    return said


def refused(path, network):
    before = {name: array.copy() for name, array in network.parameters().items()}
    with pytest.raises(WeightsError) as caught, warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(path, network)
    for name, array in network.parameters().items():
        np.testing.assert_array_equal(array, before[name])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(network, other):
    x = np.random.default_rng(5).random((3, *network.input_shape))
    np.testing.assert_array_equal(network.logits(x), other.logits(x))
    return True


# Prefixes and extra keys

@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "state_dict.", "module._orig_mod.",
                                    "state_dict/model/"])
def test_a_prefix_before_all_names(tmp_path, prefix):
    arrays = {f"{prefix}{name}": array for name, array in small(1).parameters().items()}
    network = small()
    said = load_said(saved(tmp_path / "w.npz", arrays), network)
    assert f"without the prefix {prefix.replace('/', '.')!r}" in said and same(network, small(1))
    del arrays[f"{prefix}fc1.bias"]
    assert "missing" in refused(saved(tmp_path / "w.npz", arrays), small())


EXTRAS = {"epoch": np.array(3), "best_acc1": np.array(0.99), "optimizer.state.0.step": np.array(9),
          "optimizer.state.0.exp_avg": np.zeros((3, 1, 2, 2)), "lr_schedulers.0": np.array(1),
          "optimizer_state_dict.param_groups.0.lr": np.array(1e-3), "loss": np.array(0.1)}


@pytest.mark.parametrize("prefix", ["", "state_dict.", "model_state_dict.module."])
def test_what_a_checkpoint_holds_beside_the_weights(tmp_path, prefix):
    arrays = {f"{prefix}{name}": array for name, array in small(1).parameters().items()}
    arrays[f"{prefix}bn.num_batches_tracked"] = np.array(7)
    network = small()
    said = load_said(saved(tmp_path / "w.npz", {**EXTRAS, **arrays}), network)
    assert "passed over: 'epoch', 'best_acc1', " in said and "(7)" in said
    assert ("without the prefix" in said) == bool(prefix) and same(network, small(1))


def test_own_names_need_no_word(tmp_path):
    """The counters of a batch normalisation neither; tests make errors of all warnings."""
    save_weights(tmp_path / "w.npz", small(1))
    assert same(load_weights(tmp_path / "w.npz", small()), small(1))
    arrays = {**small(1).parameters(), "bn.num_batches_tracked": np.array(7)}
    assert same(load_weights(saved(tmp_path / "w.npz", arrays), small()), small(1))


@pytest.mark.parametrize(("change", "said"), [
    (lambda a: {**a, "fc3.weight": a["fc2.weight"]}, "unknown 'fc3.weight.npy'"),
    (lambda a: {**{f"model.{n}": x for n, x in a.items()},
                **{f"ema.{n}": x for n, x in a.items()}},
     "the weights are there 2 times, behind 'model.', 'ema.'"),
    (lambda a: {**a, **{f"ema.{n}": x for n, x in a.items()}}, "unknown 'ema."),
    (lambda a: {**{f"m.{n}": x for n, x in a.items()}, "m.extra": a["fc2.bias"]},
     "unknown 'm.extra', beside"),
    (lambda a: {**a, "fc1/bias": a["fc1.bias"]}, "'fc1.bias' and 'fc1/bias' are one name"),
    (lambda a: {n: x for n, x in a.items() if n != "fc1.bias"}, "missing 'fc1.bias.npy'"),
    (lambda a: {**a, "fc1.weight": a["fc1.weight"].T},
     "got (12, 5): is it (in, out)? save array.T"),
    (lambda a: {**a, "conv.weight": a["conv.weight"].transpose(2, 3, 1, 0)},
     "got (2, 2, 1, 3): is it Keras' (y, x, in, out)? save array.transpose(3, 2, 0, 1)"),
    (lambda a: {}, "missing"),
    (lambda a: {"state_dict": np.array(a, object), "epoch": np.array(3)},
     "'state_dict' is one object, as a dict is that was not taken apart: numpy.savez(FILE, **"),
    (lambda a: {"arr_0": np.array(a, object)}, "numpy.savez(FILE, **DICT)"),
])
def test_what_is_not_certain_is_refused(tmp_path, change, said):
    path = saved(tmp_path / "w.npz", change(small(1).parameters()))
    line = refused(path, small())
    assert said in line, line


# Other names

@pytest.mark.parametrize("rename", [
    lambda names: [f"layer{n:02d}" for n in range(len(names))],
    lambda names: [f"arr_{n}" for n in range(len(names))],
    lambda names: [f"my_{name.replace('.', '-')}" for name in names],
    lambda names: [f"features.{name}" if n < 6 else f"head.{name}" for n, name in enumerate(names)],
], ids=["numbers", "positional", "dashes", "two containers"])
def test_other_names_with_the_same_shapes_in_the_same_order(tmp_path, rename):
    arrays = small(1).parameters()
    path = saved(tmp_path / "w.npz", dict(zip(rename(list(arrays)), arrays.values())))
    network = small()
    said = load_said(path, network)
    assert "by the file's order, as no name is the network's" in said and same(network, small(1))


def test_names_that_say_which_are_weights_may_be_sorted(tmp_path):
    """Biases before weights, as a sorted dict has them: of a batch normalisation all have one
    shape."""
    arrays = {f"net.{name}": array for name, array in small(1).parameters().items()}
    renamed = {name.replace("conv", "a").replace("bn", "b").replace("fc", "c"): array
               for name, array in arrays.items()}
    network = small()
    load_said(saved(tmp_path / "w.npz", dict(sorted(renamed.items()))), network)
    assert same(network, small(1))


def test_two_arrays_of_one_shape_follow_the_order_of_the_file(tmp_path):
    def square(seed):
        return drawn(Network([Linear(4, 4), Tanh(), Linear(4, 4)], (4,)), seed)

    first, second = (square(1).parameters()[f"{n}.weight"] for n in (0, 2))
    one, two = (square(1).parameters()[f"{n}.bias"] for n in (0, 2))
    network = square(0)
    said = load_said(saved(tmp_path / "w.npz", {"a": first, "b": one, "c": second, "d": two}),
                     network)
    assert "'a', 'b', 'c', 'd' as '0.weight', '0.bias', '2.weight', '2.bias'" in said
    assert same(network, square(1))


@pytest.mark.parametrize("order", [[1, 0, 2, 3], [0, 2, 1, 3], [0, 1, 2]])
def test_other_names_in_another_order_are_refused(tmp_path, order):
    network = Network([Linear(3, 4), Tanh(), Linear(4, 2)], (3,))
    arrays = list(network.parameters().values())
    line = refused(saved(tmp_path / "w.npz", {f"x{n}": arrays[n] for n in order}), network)
    assert ("stands where" in line) == (len(order) == 4), line


# (in, out), and Keras

def keras_names(network, pattern="{layer}/{word}"):
    """The parameters in Keras' names and order of axes, a matrix behind `Flatten` not yet."""
    words = {"running_mean": "moving_mean", "running_var": "moving_variance"}
    arrays = {}
    for name, array in network.parameters().items():
        layer, word = name.rsplit(".", 1)
        if isinstance(network.layers[layer], BatchNorm2d):
            word = {"weight": "gamma", "bias": "beta", **words}[word]
        else:
            word = {"weight": "kernel", **words}.get(word, word)
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        arrays[pattern.format(layer=layer, word=word)] = array.T if array.ndim == 2 else array
    return arrays


def channels_last(arrays, x):
    """What Keras computes with these arrays for `small`: images (n, y, x, c), by plain sums."""
    conv = np.einsum("nyxcij,ijco->nyxo", sliding_window_view(x, (2, 2), (1, 2)),
                     arrays["conv/kernel"]) + arrays["conv/bias"]
    norm = ((conv - arrays["bn/moving_mean"]) / np.sqrt(arrays["bn/moving_variance"] + 1e-5)
            * arrays["bn/gamma"] + arrays["bn/beta"])
    row = np.tanh(norm).reshape(len(x), -1)
    hidden = row @ arrays["fc1/kernel"] + arrays["fc1/bias"]
    return hidden @ arrays["fc2/kernel"] + arrays["fc2/bias"]


@pytest.mark.parametrize("pattern", ["{layer}/{word}", "{layer}/{word}:0", "model/{layer}/{word}",
                                     "other_{layer}/{word}", "{layer}-{word}"])
def test_keras_weights_compute_what_they_compute_in_keras(tmp_path, pattern):
    arrays = keras_names(small(1))
    x = np.random.default_rng(2).random((5, 3, 3))
    expected = channels_last(arrays, x[..., None])
    network = small()
    path = saved(tmp_path / "w.npz", dict(zip(keras_names(small(1), pattern), arrays.values())))
    said = load_said(path, network)
    assert "matrices from (in, out) and convolutions from (y, x, in, out)" in said
    assert "inputs flattened with the channel last" in said
    np.testing.assert_allclose(network.logits(x), expected, rtol=1e-12)


@pytest.mark.parametrize("names", [lambda n: f"layer{n}", lambda n: f"arr_{n}"])
def test_matrices_in_out_of_any_names(tmp_path, names):
    """Without convolutions; a square one among them goes with the others."""
    def dense(seed):
        return drawn(Network([Linear(6, 5), Tanh(), Linear(5, 5), Tanh(), Linear(5, 3)], (6,)),
                     seed)

    arrays = {names(n): array.T for n, array in enumerate(dense(1).parameters().values())}
    network = dense(0)
    said = load_said(saved(tmp_path / "w.npz", arrays), network)
    assert "turned: matrices from (in, out)" in said and same(network, dense(1))


def test_their_own_convolutions_put_the_channel_first(tmp_path):
    """(in, out) behind convolutions (out, in, y, x): flattened as here."""
    arrays = {f"p{n}": array.T if array.ndim == 2 else array
              for n, array in enumerate(small(1).parameters().values())}
    network = small()
    said = load_said(saved(tmp_path / "w.npz", arrays), network)
    assert said.endswith("turned: matrices from (in, out)") and same(network, small(1))


def test_square_matrices_of_other_names_are_said(tmp_path):
    network, other = (drawn(Network([Linear(4, 4)], (4,)), seed) for seed in (0, 1))
    said = load_said(saved(tmp_path / "w.npz", {"W": other.parameters()["0.weight"],
                                                "b": other.parameters()["0.bias"]}), network)
    assert "of the same shape in both orders, as (out, in, …): '0.weight'" in said
    assert same(network, other)


def test_pooled_to_one_position_there_is_no_order_of_inputs(tmp_path):
    def pooled(seed):
        return drawn(Network({"conv": Conv2d(1, 3, 2), "pool": AdaptiveAvgPool2d(1),
                              "flatten": Flatten(), "fc": Linear(3, 5)}, (4, 4)), seed)

    network = pooled(0)
    said = load_said(saved(tmp_path / "w.npz", keras_names(pooled(1))), network)
    assert "channel last" not in said and same(network, pooled(1))


AMBIGUOUS = {
    "a square kernel alone": (
        lambda: Network({"fc": Linear(4, 4)}, (4,)), keras_names, "fits in both orders"),
    "a convolution that fits both ways": (
        lambda: Network({"a": Conv2d(3, 3, 3), "f": Flatten(), "fc": Linear(12, 2)}, (3, 4, 4)),
        keras_names, "fits in both orders"),
    "some each way": (
        lambda: Network([Linear(3, 4), Tanh(), Linear(4, 2)], (3,)),
        lambda network: {f"x{n}": a.T if n == 0 else a
                         for n, a in enumerate(network.parameters().values())},
        "some weights are (out, in) and some (in, out)"),
    "convolutions of Keras, matrices not": (
        lambda: Network({"a": Conv2d(1, 2, 3), "f": Flatten(), "fc": Linear(8, 3)}, (4, 4)),
        lambda network: {f"x{n}": a.transpose(2, 3, 1, 0) if a.ndim == 4 else a
                         for n, a in enumerate(network.parameters().values())},
        "but matrices are (out, in)"),
    "statistics of flattened images": (
        lambda: Network({"a": Conv2d(1, 2, 3), "f": Flatten(), "bn": BatchNorm1d(8),
                         "fc": Linear(8, 3)}, (4, 4)), keras_names, "'bn' takes flattened images"),
    "flattened images that are joined": (
        lambda: Network({"a": Conv2d(1, 2, 3), "f": Flatten(), "r": ReLU(), "add": Add(),
                         "fc": Linear(8, 3)}, (4, 4), {"add": ("f", "r")}),
        keras_names, "what 'add' joins"),
    "colours flattened without a convolution": (
        lambda: Network({"f": Flatten(), "fc": Linear(12, 2)}, (3, 2, 2)), keras_names,
        "'fc' is of images of several channels"),
    "a kernel of a wrong shape": (
        lambda: Network({"fc": Linear(4, 3)}, (4,)),
        lambda network: {"fc/kernel": np.ones((5, 3)), "fc/bias": np.ones(3)},
        "'fc/kernel' must have the shape (3, 4); got (5, 3)"),
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_what_fits_in_two_ways_is_refused(tmp_path, kind):
    make, names, said = AMBIGUOUS[kind]
    line = refused(saved(tmp_path / "w.npz", names(drawn(make(), 1))), make())
    assert said in line, line


# Paths, open files and other formats

def test_paths_and_open_files(tmp_path):
    path = tmp_path / "w.npz"
    save_weights(bytes(path), small(1))
    for place in (path, str(path), bytes(path), tmp_path / "w", str(tmp_path / "w"),
                  io.BytesIO(path.read_bytes())):
        assert same(load_weights(place, small()), small(1))
    with open(path, "rb") as file:
        assert same(load_weights(file, small()), small(1)) and not file.closed
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "w.np", small())
    save_weights(tmp_path / "w", small(2))  # a file of the very name comes first
    assert same(load_weights(tmp_path / "w", small()), small(2))
    with open(path, encoding="latin1") as file:
        assert "opened as 'rb'" in refused(file, small())
    assert "the open file: not a readable .npz" in refused(io.BytesIO(b"hello"), small())


def zip_of(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"\x80\2.")
    return file.getvalue()


FORMATS = {
    "w.pth": (zip_of("w/data.pkl", "w/data/0"), "a file of torch.save; in Python: import torch"),
    "w.pt": (pickle.dumps({"a": 1}, 2), "a file of torch.save"),
    "w.pkl": (pickle.dumps({"a": 1}), "a pickle, which may run any program and is never loaded"),
    "w.safetensors": ((2).to_bytes(8, "little") + b"{}", "load_file("),
    "w.h5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    "w.keras": (zip_of("metadata.json", "config.json", "model.weights.h5"), "a model of Keras"),
    "w.onnx": (b"\x08\7\x12\7pytorch", "an ONNX model"),
    "w.npy": (b"\x93NUMPY\1\0", "one array of numpy.save"),
    "w.mat": (b"MATLAB 5.0 MAT-file", "scipy.io.loadmat"),
    "page.npz": (b"<html>", "an HTML page"),
    "lfs.npz": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_other_formats_are_named_with_the_way_out(tmp_path, name):
    content, said = FORMATS[name]
    (tmp_path / name).write_bytes(content)
    line = refused(tmp_path / name, small())
    assert line.startswith(f"{tmp_path / name}: not a readable .npz file of NumPy but ")
    assert said in line, line


def run_line(line, **modules):
    """Run the Python that an error's line shows."""
    code = re.search(r"import .*?\)\}\)|import .*?\)\)", line).group()
    exec(code, modules)  # it is ours: the test's own error


def test_the_line_for_torch_makes_the_file(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    state = {name: torch.from_numpy(array) for name, array in small(1).parameters().items()}
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        torch.save(state, tmp_path / "w.pth", **options)
        run_line(refused(tmp_path / "w.pth", small()))
        assert same(load_weights(tmp_path / "w.npz", small()), small(1))
        (tmp_path / "w.npz").unlink()


def test_a_command_says_what_it_recognised(tmp_path, capsys):
    arrays = {f"module.{name}": array for name, array in LeNet.pretrained().parameters().items()}
    path = saved(tmp_path / "w.npz", arrays)
    network = load_network("lenet", path)
    assert capsys.readouterr().err == f"jsma: {path}: without the prefix 'module.' of all names\n"
    for name, array in LeNet.pretrained().parameters().items():
        np.testing.assert_array_equal(network.parameters()[name], array)
