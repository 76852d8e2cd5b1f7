"""Train a network, the paper's LeNet on MNIST, and write its weights: `jsma train --out lenet.npz`.

In: images, a recipe and a seed. Out: FILE.npz (weights), FILE.json (the command, the settings, loss
and errors of every epoch, the weights' SHA-256) and FILE.state.npz, from which --resume goes on
after the last finished epoch. Recipes: `momentum` (the default); `paper`, that of the time: plain
SGD 0.1, batches of 500 in the file's order, 50,000 + 10,000 digits, 200 epochs, the start of the
weights as then; `plain`, the same but for order and start; and `residual` for the networks with
batch normalisation, whose statistics are taken once, from the first images.
"""
import hashlib
import json
import shlex
import time
from functools import partial
from pathlib import Path

import numpy as np

from data.files import replacing
from nn import LeNet
from nn.models import ACTIVATIONS
from nn.training import SGD, accuracy, calibrate, train_epoch
from nn.weights import load_arrays, npz_bytes, save_arrays
from scripts.paper.fitting import RECIPES
from scripts.paper.on_torch import OnTorch, ready, torch_epoch
from scripts.terminal.networks import NETWORKS, network_option
from scripts.terminal.options import add_data, indices, torch_option, whole
from scripts.terminal.outputs import MARK, output_folder, overwrite_option
from scripts.terminal.progress import Progress, duration, started
from scripts.terminal.text import as_json

CALIBRATION = 500   # images for the statistics of batch normalisation
RECORD = 1 << 20    # bytes, some 10,000 epochs


def arguments(parser):
    """Describe the words of `jsma train`."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz",
                        help="where the weights go")
    network_option(parser)
    parser.add_argument("--recipe", choices=RECIPES,
                        help="default: momentum; residual for --network resnet or colour")
    parser.add_argument("--epochs", type=whole(1),
                        help="default: 10 (paper: 200, plain: 60, residual: 12)")
    parser.add_argument("--seed", type=whole(0), default=0,
                        help="start weights and order of the digits (default: 0)")
    parser.add_argument("--holdout", type=whole(0), default=10_000, metavar="N",
                        help="keep the last N digits of the training file for validation (default: "
                             "10,000; 0: train on all)")
    parser.add_argument("--output-weights", choices=["random", "zero"],
                        help="how the last layer of the LeNet starts (default: random; recipe "
                             "paper: zero)")
    parser.add_argument("--activation", choices=ACTIVATIONS, default="tanh",
                        help="of the LeNet (default: tanh; the paper names none)")
    parser.add_argument("--checkpoints", type=indices, default=(), metavar="E,E,…",
                        help="also keep the weights after these epochs, in FILE-E.npz")
    parser.add_argument("--digits", type=whole(1), metavar="N",
                        help="train on the first N images only, for a try (default: all)")
    torch_option(parser)
    parser.add_argument("--resume", action="store_true", help="go on after the last finished epoch")
    overwrite_option(parser)
    add_data(parser)


def run(args):
    """Train, print a line an epoch and write the files."""
    if args.out.suffix != ".npz":
        raise ValueError(f"--out must end in .npz; got {args.out}")
    record_file = args.out.with_suffix(".json")
    output_folder(args.out.parent, (args.out.name, record_file.name), (record_file.name, MARK),
                  args.overwrite or args.resume)
    settings = _settings(args)
    if args.torch:
        if args.network != "lenet":
            raise ValueError("--torch is for the LeNet")
        ready(args.torch)
    with started("train: reading the images"):
        sets = _load(NETWORKS[args.network].images, args.data, args.holdout, args.digits)
    network = _new(args, settings, sets["train"][0][:CALIBRATION])
    optimizer = SGD(network, settings["lr"], settings["momentum"])
    record = {"command": _command(settings), "settings": settings, "epochs": []}
    state = args.out.with_suffix(".state.npz")
    if args.resume:
        record["epochs"] = _restore(args.out.with_suffix(".json"), state, settings, network,
                                    optimizer)
        print(f"going on after epoch {len(record['epochs'])}")
        # a kill may have come between the state and these
        _write(args.out, npz_bytes(network.parameters()))
    elif state.exists():
        raise ValueError(f"{state} is there from an earlier run: go on with --resume, or remove it")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    finished = len(record["epochs"])
    try:
        for epoch in range(finished, settings["epochs"]):
            record["epochs"].append(_epoch(network, optimizer, sets, settings, epoch))
            _save(args.out, state, record, network, optimizer)
            finished = epoch + 1
            if finished in args.checkpoints:
                _checkpoint(args.out, record, npz_bytes(network.parameters()))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{finished} epochs are kept; go on with --resume" if finished else
                                "no epoch is finished, nothing is kept") from None
    error = record["epochs"][-1]["test_error"]
    print(f"{args.out}: {100 - error:.2f} % of the test images are read correctly")


def _settings(args):
    """Everything that the weights depend on, as the record has it."""
    recipe = args.recipe or ("momentum" if args.network == "lenet" else "residual")
    settings = {"recipe": recipe, **RECIPES[recipe], "seed": args.seed, "holdout": args.holdout}
    tutorial = settings.get("init") == "tutorial"
    settings["output_weights"] = args.output_weights or ("zero" if tutorial else "random")
    if args.activation != "tanh":
        settings["activation"] = args.activation
    if args.network != "lenet":
        settings["network"] = args.network
    if args.digits:
        settings["digits"] = args.digits
    if args.torch:
        settings["torch"] = args.torch
    settings["epochs"] = args.epochs or settings["epochs"]
    return settings


def _epoch(network, optimizer, sets, settings, epoch):
    """One epoch of training and its line; returns {"loss", "validation_error", "test_error"}.

    Args:
        network, optimizer: what is trained, and by which `SGD`.
        sets: {"train", "validation", "test": (images, labels)}; "validation" may be missing.
        settings: learning rate, decay, batch and seed.
        epoch: its number, from 0.
    """
    start = time.monotonic()
    progress = Progress(f"epoch {epoch + 1}", "images")
    optimizer.lr = settings["lr"] * settings["decay"] ** epoch
    device = settings.get("torch")
    train = partial(torch_epoch, device=device) if device else train_epoch
    loss = train(network, *sets["train"], optimizer, settings["batch"], settings["seed"], epoch,
                 lambda done, total, loss: progress(done, total, f"loss {loss:.4f}"),
                 shuffled=settings.get("shuffled", True))
    progress.close()
    if not np.isfinite(loss):
        raise ValueError(f"the loss of epoch {epoch + 1} is not finite: the weights have run away")
    reader = OnTorch(network, device) if device else network
    errors = {f"{name}_error": round(100 - accuracy(reader, *sets[name]), 4)
              for name in ("validation", "test") if name in sets}
    listed = ", ".join(f"{name.replace('_', ' ')} {error:.2f} %" for name, error in errors.items())
    print(f"epoch {epoch + 1}: loss {loss:.5f}, {listed}, {duration(time.monotonic() - start)}",
          flush=True)
    return {"loss": loss, **errors}


def _new(args, settings, images):
    if args.network == "lenet":
        return LeNet(args.seed, settings["output_weights"], settings.get("init", "pytorch"),
                     args.activation)
    if args.output_weights or args.activation != "tanh" or "init" in settings:
        raise ValueError("--output-weights, --activation and --recipe paper are for the LeNet")
    return calibrate(NETWORKS[args.network].new(args.seed), images)


def _load(load, directory, holdout, digits=None):
    """{"train", "validation", "test": (images, labels)}; the last `holdout` for validation, the
    first `digits` (None: all others) to train on."""
    images, labels = (np.concatenate(parts)
                      for parts in zip(load("train", directory), load("validation", directory)))
    if holdout >= len(images):
        raise ValueError(f"--holdout must be below the {len(images)} training images; "
                         f"got {holdout}")
    border = len(images) - holdout
    most = border if digits is None else min(digits, border)
    sets = {"train": (images[:most], labels[:most]), "test": load("test", directory)}
    if not len(sets["test"][0]):
        raise ValueError(f"{directory}: there are no test images to measure the error on")
    if holdout:
        sets["validation"] = images[border:], labels[border:]
    return sets


def _save(out, state, record, network, optimizer):
    """Record, state, weights, in this order: after any stop --resume finds a whole epoch."""
    weights = npz_bytes(network.parameters())
    _write(out.with_suffix(".json"), as_json(_signed(record, weights)).encode())
    velocity = {f"velocity.{name}": array for name, array in optimizer.velocity.items()}
    save_arrays(state,
                {**network.parameters(), "epoch": np.float64(len(record["epochs"])), **velocity})
    _write(out, weights)


def _checkpoint(out, record, weights):
    """The weights after the epochs of `record`, and what a training of so many would record."""
    done = len(record["epochs"])
    settings = {**record["settings"], "epochs": done}
    path = out.with_stem(f"{out.stem}-{done}")
    _write(path.with_suffix(".json"), as_json(_signed(
        {"command": _command(settings), "settings": settings, "epochs": record["epochs"]},
        weights)).encode())
    _write(path, weights)


def _signed(record, weights):
    return {**record, "sha256": hashlib.sha256(weights).hexdigest()}


def _write(path, content):
    with replacing(path) as file:
        file.write(content)


def _restore(record, state, settings, network, optimizer):
    """Take over the state that was saved last; returns the epochs that led to it.

    A file may hold anything: ValueError says what is wrong with it.
    """
    old, history = _read_record(record)
    different = [key for key in {**settings, **old}
                 if key != "epochs" and old.get(key) != settings.get(key)]
    if different:
        key = different[0]
        raise ValueError(f"--resume: {record} was begun with {key} = {old.get(key)}, not "
                         f"{settings.get(key)}")
    shapes = {name: array.shape for name, array in network.parameters().items()}
    moving = {f"velocity.{name}": shapes[name] for name in optimizer.velocity}
    arrays = load_arrays(state, {**shapes, "epoch": (), **moving})
    done = float(arrays["epoch"])
    if not (done.is_integer() and 1 <= done <= len(history)):
        raise ValueError(f"{state}: expected the state after one of the {len(history)} epochs of "
                         f"{record}; found {done:g}")
    network.load({name: arrays[name] for name in shapes})
    optimizer.velocity = {name: arrays[f"velocity.{name}"] for name in optimizer.velocity}
    return history[:int(done)]


def _read_record(record):
    """The settings and the epochs {what: number} of a training's record."""
    try:
        if record.exists() and not (record.is_file() and record.stat().st_size <= RECORD):
            raise ValueError(f"not a file of {RECORD:,} bytes at most")
        content = json.loads(record.read_text(encoding="utf-8"))
        old = content["settings"]
        history = content["epochs"]
        if not (isinstance(old, dict) and isinstance(history, list)
                and all(map(_is_epoch, history))):
            raise ValueError("settings and a list of epochs are not there")
        return old, history
    except FileNotFoundError:
        raise FileNotFoundError(f"nothing to resume: {record} is not there") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{record}: not a record of jsma train ({error})") from None


def _is_epoch(content):
    names = {"loss", "validation_error", "test_error"}
    if not isinstance(content, dict) or not names - {"validation_error"} <= set(content) <= names:
        return False
    return all(isinstance(value, (int, float)) and abs(value) < 1e9 for value in content.values())


def _command(settings):
    """The command line that makes these weights."""
    network = ["--network", settings["network"]] if "network" in settings else []
    return shlex.join(["jsma", "train", *network, "--recipe", settings["recipe"],
                       "--epochs", str(settings["epochs"]), "--seed", str(settings["seed"]),
                       "--holdout", str(settings["holdout"]),
                       "--output-weights", settings["output_weights"],
                       *(word for option in ("activation", "digits", "torch") if option in settings
                         for word in (f"--{option}", str(settings[option]))),
                       "--out", f"{settings.get('network', 'lenet')}.npz"])
