"""Which array of a weights file is which parameter of the network, where the names are not its own.

In: the names in a file and a network. Out: for each parameter the name, the shape that it must have
in the file and how it is turned; notes of what was recognised, or one line that says why it is not.
Recognised are a prefix before all names (`module.`), what a checkpoint holds beside the weights,
Keras' names and order of axes, and arrays of other names in the network's order. Two arrays that
could be swapped follow the file's order, which is said. Read on in `formats`.
"""
import re
from collections.abc import Callable
from functools import partial
from math import prod
from typing import NamedTuple

from nn.graph import IMAGE

SYNONYMS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
            "moving_variance": "running_var"}
ROLES = ("weight", "bias", "running_mean", "running_var")
EXTRA = re.compile(r"(optim|optimizer|scheduler|lr_scheduler|scaler|callback|loop|epoch|"
                   r"step|global_step|iteration|loss|lr|learning_rate|rng_state|hyper_parameter|"
                   r"best_\w+|\w+_power)(s|_states?|_state_dict)?(\..*)?|"
                   r".*\.(Adam|Momentum|RMSProp)(_\d)?|.*[._](exp_avg(_sq)?|momentum_buffer)",
                   re.IGNORECASE)
CHANNELS_LAST = "(y, x, in, out)"


def as_it_is(array):
    """The array of a file that has the network's order of axes."""
    return array


class Place(NamedTuple):
    """Where a parameter lies in the file: a name, the shape it must have there, and the function
    that turns it into the network's."""

    name: str
    shape: tuple
    turn: Callable = as_it_is


class Unmatched(ValueError):
    """Why the names of a file are not those of a network; the message is the end of a line."""


def match(names, shape_of, network):
    """({parameter: `Place`}, notes); an `Unmatched` where names are missing, unknown or unclear.

    Args:
        names: of the arrays in the file, in its order.
        shape_of: gives the shape that the array of a name claims.
        network: a `Network`.
    """
    wanted = {name: tuple(array.shape) for name, array in network.parameters().items()}
    notes = []
    plain = {name: _plain(name) for name in weights_among(names, wanted)}
    passed = [name for name in names if name not in plain and not _is_counter(name, names)]
    if passed:
        notes.append(f"passed over: {_few(passed)}")
    if len(plain) < len(wanted):
        _check_arrays(plain, shape_of)
    by_name = _by_name(plain, wanted, notes)
    if by_name is None:
        by_name = _by_order(plain, wanted, shape_of, notes)
    elif not any(map(_is_kernel, by_name.values())):
        return {name: Place(by_name[name], shape) for name, shape in wanted.items()}, notes
    shapes = {name: tuple(shape_of(other)) for name, other in by_name.items()}
    return _places(network, by_name, _layouts(wanted, shapes, by_name, notes), notes), notes


# Names

def weights_among(names, wanted):
    """The names of a file less those of what is no weight: counters, an optimizer's state, …"""
    return [name for name in names if name in wanted or not
            (EXTRA.fullmatch(name.replace("/", ".")) or _is_counter(name, names))]


def _check_arrays(names, shape_of):
    for name in names:
        if shape_of(name) == ():
            raise Unmatched(f"{name!r} is one object, as a dict is that was not taken apart: "
                            "numpy.savez(FILE, **DICT) saves the arrays in it by their names")


def _plain(name):
    """A name with dots and PyTorch's words: "conv/kernel:0" is "conv.weight"."""
    layer, _, last = name.replace("/", ".").removesuffix(":0").rpartition(".")
    last = SYNONYMS.get(last, last)
    return f"{layer}.{last}" if layer else last


def _is_kernel(name):
    """Is this Keras' word for a weight?"""
    return name.replace("/", ".").removesuffix(":0").rpartition(".")[2] == "kernel"


def _is_counter(name, names):
    """The counter that a `state_dict` has beside the statistics of a batch normalisation."""
    layer, _, last = name.rpartition(".")
    return last == "num_batches_tracked" and f"{layer}.running_mean" in names


def _by_name(plain, wanted, notes):
    """{parameter: name in the file} by the names, behind one prefix if need be; None where no name
    is the network's."""
    names = {}
    for name, word in plain.items():
        if word in names:
            raise Unmatched(f"{names[word]!r} and {name!r} are one name")
        names[word] = name
    if set(names) == set(wanted):
        return names
    first = next(iter(wanted), "")
    prefixes = [name.removesuffix(first) for name in names
                if name.endswith(f".{first}") and all(name.removesuffix(first) + other in names
                                                      for other in wanted)]
    if len(prefixes) > 1:
        raise Unmatched(f"the weights are there {len(prefixes)} times, behind {_few(prefixes)}: "
                        "save the one set that is meant")
    if prefixes and not set(wanted) & set(names):
        inside = {name.removeprefix(prefixes[0]): other for name, other in names.items()
                  if name.startswith(prefixes[0])}
        if len(inside) == len(names) == len(wanted):
            notes.append(f"without the prefix {prefixes[0]!r} of all names")
            return inside
        rest = [other for name, other in names.items() if name.removeprefix(prefixes[0])
                not in wanted]
        raise Unmatched(f"unknown {_few(rest)}, beside the weights behind {prefixes[0]!r}")
    if set(wanted) & set(names) or len(names) != len(wanted):
        raise Unmatched("")
    return None


def _by_order(plain, wanted, shape_of, notes):
    """{parameter: name in the file} by their order, weights and biases apart where the names tell
    which they are."""
    roles = {name: word.rpartition(".")[2] for name, word in plain.items()}
    told = all(role in ROLES for role in roles.values())
    chosen = {}
    for role in ROLES if told else (None,):
        theirs = [name for name in plain if role in (None, roles[name])]
        ours = [name for name in wanted if role in (None, name.rpartition(".")[2])]
        if len(theirs) != len(ours):
            raise Unmatched("")
        chosen.update(zip(ours, theirs))
    if len(chosen) != len(wanted):
        raise Unmatched("")
    for name, other in chosen.items():
        shape = tuple(shape_of(other))
        if sorted(shape) != sorted(wanted[name]):
            raise Unmatched(f"no name is the network's, and in the file's order {other!r} "
                            f"{shape} stands where {name} {wanted[name]} belongs")
    notes.append(f"by the file's order, as no name is the network's: {_few(list(chosen.values()))} "
                 f"as {_few(list(chosen))}")
    return {name: chosen[name] for name in wanted}


def _few(names):
    return ", ".join(map(repr, names[:4])) + (f", … ({len(names)})" if len(names) > 4 else "")


# The order of the axes

def in_keras_order(shape):
    """The shape of a weight in Keras' order, (in, out) or (y, x, in, out); None where it has no
    two or four axes."""
    if len(shape) not in (2, 4):
        return None
    return (*shape[2:], shape[1], shape[0])


def _layouts(wanted, shapes, by_name, notes):
    """{2: are matrices (in, out)?, 4: are convolutions (y, x, in, out)?}, as shapes tell that fit
    one order only."""
    told = {2: set(), 4: set()}
    unclear = []
    for name, shape in wanted.items():
        mine = shapes[name] == shape
        other = shapes[name] == in_keras_order(shape)
        if not mine and not other:
            raise Unmatched(f"{by_name[name]!r} must have the shape {shape}; got {shapes[name]}")
        if mine and other:
            unclear.append(name)
        elif len(shape) in told:
            told[len(shape)].add(other)
    if len(told[2]) == 2 or len(told[4]) == 2:
        raise Unmatched("some weights are (out, in) and some (in, out)")
    turned = {axes: one == {True} for axes, one in told.items()}
    for name in unclear:
        axes = len(wanted[name])
        if not told[axes] and (_is_kernel(by_name[name]) or any(turned.values())):
            raise Unmatched(f"{by_name[name]!r} of the shape {shapes[name]} fits in both orders, "
                            "(out, in, …) and Keras': save it as (out, in, …) under the name "
                            f"{name!r}")
    if unclear and not any(turned.values()):
        notes.append(f"of the same shape in both orders, as (out, in, …): {_few(unclear)}")
    if turned[4] and told[2] == {False}:
        raise Unmatched(f"convolutions are {CHANNELS_LAST}, but matrices are (out, in)")
    return turned


def _places(network, by_name, turned, notes):
    axes = {name: array.ndim for name, array in network.parameters().items()}
    first = 4 in axes.values() and not turned[4]  # their own convolutions put the channel first
    flat = _flattened(network) if any(turned.values()) and not first else {}
    if turned[4] and 3 in axes.values() or flat and not turned[4]:
        odd = next(iter(flat)) if flat else next(name for name in axes if axes[name] == 3)
        raise Unmatched(f"{odd!r} is of images of several channels, whose order in a file with "
                        "matrices (in, out) is not known: save the network's own orders")
    places = {}
    for name, array in network.parameters().items():
        shape, place = array.shape, Place(by_name[name], array.shape)
        if len(shape) == 2 and turned[2]:
            turn = partial(_turn_matrix, image=flat.get(name.rpartition(".")[0]))
            place = Place(by_name[name], in_keras_order(shape), turn)
        elif len(shape) == 4 and turned[4]:
            place = Place(by_name[name], in_keras_order(shape), _turn_convolution)
        places[name] = place
    orders = [words for axes, words in ((2, "matrices from (in, out)"),
                                        (4, f"convolutions from {CHANNELS_LAST}")) if turned[axes]]
    if orders:
        notes.append(f"turned: {' and '.join(orders)}"
                     + (", inputs flattened with the channel last" if flat else ""))
    return places


def _turn_convolution(array):
    """(y, x, in, out) → (out, in, y, x)."""
    return array.transpose(3, 2, 0, 1)


def _turn_matrix(array, image):
    """(in, out) → (out, in); with `image` (c, y, x) the inputs are one, its channel last."""
    if image is None:
        return array.T
    channels, rows, columns = image
    return array.reshape(rows, columns, channels, -1).transpose(3, 2, 0, 1).reshape(
        array.shape[1], -1)


def _flattened(network):
    """{layer: the images (c, y, x) of several channels that its matrix takes as one row}."""
    images = {}
    for name, layer in network.layers.items():
        image = _row_of(network, network.inputs[name][0]) if layer.parameters else None
        if image:
            if all(array.ndim != 2 for array in layer.parameters.values()):
                raise Unmatched(f"{name!r} takes flattened images of the shape {image}, whose "
                                "order in a file of Keras is not known")
            images[name] = image
    return images


def _row_of(network, source):
    """The image (c, y, x) of which the output of `source` is one row, None where it is none."""
    shapes = {IMAGE: network.image, **network.shapes}
    row = shapes[source]
    if row[1:] != (1, 1):
        return None
    while source in network.layers and not network.layers[source].parameters:
        if len(network.inputs[source]) > 1:
            raise Unmatched(f"what {source!r} joins may be flattened images, whose order in a file "
                            "of Keras is not known")
        source = network.inputs[source][0]
        if prod(shapes[source]) != row[0]:
            return None
        if shapes[source] != row:
            return shapes[source] if shapes[source][0] > 1 else None
    return None
