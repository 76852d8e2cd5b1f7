"""Command lines put together at random: every command ends with a right answer, or with one line
and status 2.

What is fuzzed is how words are read and checked. Where a command's real work would begin a stub
says so and stops (`Begun` counts as right); the same words go to real processes in the slow run,
where they are wrong.
"""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz import NAMES, NUMBERS, commanded, count, rounds, some

import scripts.bench
import scripts.craft
import scripts.explain
import scripts.paper.figures
import scripts.reproduce
import scripts.survey
import scripts.textbook
import scripts.train
import scripts.verify
from attack import craft
from data import draw_shapes, load_mnist
from nn import LeNet
from scripts.__main__ import COMMANDS
from scripts.terminal.networks import NETWORKS

ROOT = Path(__file__).parent.parent.parent
OPTIONS = {
    "train": ("--out", "--recipe", "--epochs", "--seed", "--holdout", "--output-weights",
              "--resume", "--network", "--data"),
    "verify": ("--network", "--weights", "--against", "--digits", "--dtype", "--nudge", "--json",
               "--data", "--at"),
    "craft": ("--out", "--split", "--index", "--count", "--target", "--goal", "--confidence",
              "--theta", "--max-distortion", "--saliency", "--rule", "--margin", "--of",
              "--weights", "--derivative", "--data", "--image", "--label", "--invert"),
    "explain": ("--digit", "--image", "--and", "--target", "--out", "--theta", "--max-distortion",
                "--weights", "--data", "--invert", "--no-invert"),
    "reproduce": ("--out", "--digits", "--scale", "--jobs", "--only", "--answers", "--weights",
                  "--derivative", "--data"),
    "survey": ("--out", "--count", "--seed", "--epsilon", "--theta", "--weights", "--derivative",
               "--data"),
    "bench": ("--repeat", "--no-peers", "--load", "--only", "--quick", "--checks", "--scale",
              "--rules", "--count", "--json"),
    "data": ("--any-set",),
    "textbook": ("--digit", "--target", "--weights", "--data")}
FLAGS = {"--resume", "--nudge", "--json", "--and", "--no-peers", "--checks", "--scale", "--rules",
         "--any-set", "--quick", "--invert", "--no-invert"}
NAMES = tuple(name for name in NAMES if not name.startswith("/"))  # as --out it would be made
CHOICES = ("momentum", "paper", "random", "zero", "float32", "all", "complex step,dense", "train",
           "test", "pairs", "single", "art", "maximal", "resnet", "colour", "residual", "logits",
           "centred", "backward", "forward", "small", "full", "fig1", "fig11", "misclassification",
           "confidence", "quiet", "busy", "tests", "training", "out.npz", "out.html", "out",
           "missing.npz", "folder", "0,1", "1,2,3")


class Begun(BaseException):
    """All words were taken: the work would begin now."""


def begin(*_, **__):
    """In place of work."""
    raise Begun


def checked(model, images, targets=None, *, progress=None, **options):
    """In place of `craft`: its own checks, on no images, and then no work."""
    craft(model, images[:0], targets if targets is None or np.ndim(targets) == 0 else targets[:0],
          **options)
    raise Begun


@pytest.fixture
def stubbed(monkeypatch, tmp_path):
    """No command works for long; the shipped digits and network are read once."""
    digits, network = {split: load_mnist(split) for split in ("test",)}, LeNet.pretrained()
    images, labels = digits["test"]
    few = dict.fromkeys(("train", "validation"), (images[:60], labels[:60])) | digits

    def cached(split, directory=None):
        return few[split] if directory is None else load_mnist(split, directory)

    for module in (scripts.craft, scripts.explain, scripts.survey, scripts.textbook):
        monkeypatch.setattr(module, "load_mnist", cached)
    lenet, resnet, colour = NETWORKS.values()
    monkeypatch.setitem(NETWORKS, "lenet",
                        lenet._replace(pretrained=lambda: network, images=cached))
    monkeypatch.setitem(NETWORKS, "resnet", resnet._replace(images=cached))
    monkeypatch.setitem(NETWORKS, "colour", colour._replace(images=lambda split, directory=None: (
        draw_shapes(60, 0) if directory is None else colour.images(split, directory))))
    monkeypatch.setattr(scripts.craft, "craft", checked)
    for where, name in ((scripts.survey, "draw"), (scripts.train, "_epoch"),
                        (scripts.verify, "check_network"), (scripts.bench, "machine"),
                        (scripts.reproduce.Setup, "__enter__"), (scripts.explain, "and_page"),
                        (scripts.explain, "page"),
                        (scripts.textbook, "_derivative"), (scripts.paper.figures, "save_png")):
        monkeypatch.setattr(where, name, begin)
    (tmp_path / "deep" / "down" / "folder").mkdir(parents=True)  # so that --out ../up stays within
    monkeypatch.chdir(tmp_path / "deep" / "down")
    return tmp_path


def some_words(rng):
    """A command with some of its options, values right and wrong, now and then a stray word."""
    if rng.random() < 0.05:
        return [some(rng, (*COMMANDS, *NAMES, *NUMBERS, "--help", "--", "-h"))
                for _ in range(int(rng.integers(0, 4)))]
    command = some(rng, list(COMMANDS))
    words = [command]
    if command == "survey":
        words.append(some(rng, ("make", "make", "analyse", "ask")))
    if command == "data":
        words.append(some(rng, ("check", "check", "look")))
        words += [some(rng, ("folder", *NAMES))]
    for option in rng.permutation(OPTIONS[command])[:int(rng.integers(0, 5))].tolist():
        value = some(rng, some(rng, (CHOICES, NUMBERS, NAMES)))
        words += [option] if option in FLAGS and (command, option) != ("bench", "--json") else (
            [f"{option}={value}"] if rng.random() < 0.3 else [option, value])
    if rng.random() < 0.1:
        words.insert(int(rng.integers(0, len(words) + 1)),
                     some(rng, (*NAMES, *NUMBERS, "--", "--nonsense", "-x")))
    if rng.random() < 0.3 or command in ("data", "verify", "bench", "textbook"):
        return words
    return [*words, "--out", some(rng, ("out.npz", "out.html", "out", "folder", "folder/out.npz",
                                        "nowhere/out.html"))]


@rounds("command lines")
def test_any_words_end_in_a_right_answer_or_one_line(how_many, stubbed):
    rng = np.random.default_rng(14)
    for _ in range(how_many):
        words = some_words(rng)
        commanded("command lines", words, size=1 << 26, inside=stubbed, stop=Begun)


@pytest.mark.slow
def test_wrong_words_in_real_processes(tmp_path):
    """200 command lines that are wrong, each in a process of its own."""
    rng, done = np.random.default_rng(15), 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    while done < 200:
        words = [word.replace("\0", "") for word in some_words(rng)]
        wrong = some(rng, ("--nonsense", "--theta=x", "--count=0", "--out"))
        words.insert(int(rng.integers(1, len(words) + 1)) if words else 0, wrong)
        if "--help" in words or "-h" in words:
            continue
        process = subprocess.run([sys.executable, "-m", "scripts", *words], cwd=tmp_path,
                                 env=environment, timeout=60, stdin=subprocess.DEVNULL,
                                 capture_output=True)
        said = process.stderr.decode()
        right = (process.returncode == 2 and not process.stdout
                 and said.startswith("jsma: error: ") and said.count("\n") == 1)
        count("command lines in real processes", "refused" if right else "failures")
        assert right, (words, process)
        done += 1
    assert not list(tmp_path.iterdir())
