"""`jsma verify FILE.py:NAME`: a person's own file is executed; what NAME is decides the check."""
import importlib.util
import json
import sys

import numpy as np
import pytest

import scripts.verify
from scripts.__main__ import main

SOURCE = '''
import numpy as np
import nn

print("printed by the file")
rng = np.random.default_rng(0)
W, x = rng.normal(size=(3, 4)), rng.normal(size=4)
gradient = 2 * np.outer(W @ x, x)
number = 3


def loss(p):
    return ((p["W"] @ x) ** 2).sum()


def report():
    return nn.check_gradients(loss, {"W": W}, {"W": gradient})


def test_asserts():
    report = nn.check_gradients(loss, {"W": W}, {"W": gradient / 2})
    assert report, report


def test_raises():
    nn.check_gradients(loss, {"W": W}, {"W": gradient / 2}).raise_if_wrong()


def test_of_something_else():
    assert nn.check_gradients(loss, {"W": W}, {"W": gradient}) and number == 4


def test_right():
    report = nn.check_gradients(loss, {"W": W}, {"W": gradient})
    assert report, report
    return report


def of_loss():
    return {"loss": loss, "parameters": {"W": W}, "gradients": {"W": -gradient}}


def of_forward():
    return {"forward": lambda x: (x ** 2, x), "backward": lambda dout, x: 2 * dout * x,
            "inputs": [x]}


def of_jacobian():
    return {"f": lambda x: W @ x, "jacobian": W.T.copy().T + 1, "x": x}


def not_finite():
    return nn.check_jacobian(lambda x: x * np.nan, np.eye(4), x)


def random():
    noise = np.random.default_rng(0)
    return nn.check_jacobian(lambda x: x * noise.normal(), np.eye(4), x)


def nothing():
    pass


def a_function():
    return loss


def unknown_keys():
    return {"losses": loss}


def two_keys():
    return {"loss": loss, "f": loss}


def boom():
    return [][1]


small = nn.Network({"fc": nn.Linear(5, 3), "tanh": nn.Tanh()}, (5,))
digits = nn.LeNet()


class Doubled(nn.Tanh):
    def backward(self, *args, **kwargs):
        return 2 * super().backward(*args, **kwargs)


def wrong_network():
    return nn.Network({"fc": nn.Linear(5, 3), "tanh": Doubled()}, (5,))


class Net(nn.Network):
    def __init__(self):
        super().__init__({"fc": nn.Linear(5, 3)}, (5,))
'''
OF_TORCH = '''
import torch


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * x * y

    @staticmethod
    def backward(ctx, dout):
        x, y = ctx.saved_tensors
        return 2 * dout * x * y, FACTOR * dout * x * x


FACTOR = 1
apply = Square.apply
net = torch.nn.Linear(4, 2)


def made():
    return torch.nn.Linear(4, 2)
'''
OF_JAX = '''
import jax

square = jax.custom_jvp(lambda x: x * x)
square.defjvp(lambda x, t: (square(*x), x[0] * t[0]))
'''


@pytest.fixture
def own(tmp_path):
    """A function: source → its file."""
    def write(source=SOURCE, name="own.py"):
        path = tmp_path / name
        path.write_bytes(source.encode() if isinstance(source, str) else source)
        return path
    return write


def has(package):
    """A mark that skips where the package is missing."""
    return pytest.mark.skipif(importlib.util.find_spec(package) is None,
                              reason=f"{package} is not installed (pip install 'jsma[referees]')")


@pytest.mark.parametrize(("name", "status", "said"), [
    ("report", 0, "right: 12 entries agree"), ("test_right", 0, "right: 12 entries"),
    ("test_asserts", 1, "wrong: W: scaled by 0.5"), ("test_raises", 1, "wrong: W: scaled by 0.5"),
    ("of_loss", 1, "wrong: W: the sign is wrong"),
    ("of_forward", 0, "right: 4 entries"), ("of_jacobian", 1, "wrong: the Jacobian"),
    ("not_finite", 2, "not judged: the function is NaN"),
    ("random", 2, "not judged: the function gives different values"),
    ("small", 0, "right: every layer agrees"), ("wrong_network", 1, "wrong"),
    ("Net", 0, "right: every layer agrees")])
def test_what_a_name_can_be(name, status, said, own, capsys):
    path = own()
    assert main(["verify", f"{path}:{name}"]) == status
    out, err = capsys.readouterr()
    assert out.startswith(f"{path}:{name}: {said}"), out + err
    assert "printed by the file" not in out and "printed by the file" in err


@pytest.mark.parametrize(("name", "status"), [("report", 0), ("of_loss", 1), ("small", 0),
                                              ("random", 2)])
def test_json_is_all_that_is_on_stdout(name, status, own, capsys):
    path = own()
    assert main(["verify", f"{path}:{name}", "--json"]) == status
    said, = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert said["code"] == f"{path}:{name}"
    assert said["verdict"] == {0: "right", 1: "wrong", 2: "not judged"}[status]


def test_a_network_of_digits_sees_digits_and_others_see_samples_of_a_file(own, capsys, tmp_path,
                                                                          monkeypatch):
    seen = []

    def check(network, x, **options):
        seen.append((x, options))
        return scripts.verify.check_network(network, x, **options)
    monkeypatch.setattr("scripts.terminal.own_file.check_network", check)
    path = own()
    digits = [f"{path}:digits", "--against", "complex step", "--dtype", "float32"]
    assert main(["verify", *digits]) == 0
    assert seen[0][0].shape[1:] == (1, 28, 28) and seen[0][0].dtype == np.float32
    assert seen[0][1] == {"against": ["complex step"], "nudge": False}
    np.savez(tmp_path / "at.npz", x=np.full((1, 5), 0.25))
    assert main(["verify", f"{path}:small", "--at", str(tmp_path / "at.npz")]) == 0
    assert (seen[1][0] == 0.25).all() and seen[1][0].shape == (1, 5)
    np.savez(tmp_path / "two.npz", x=np.ones((1, 5)), y=np.ones(3))
    assert main(["verify", f"{path}:small", "--at", str(tmp_path / "two.npz")]) == 2
    assert "one array of samples; the file holds x, y" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "said"), [
    ("nothing", "got NoneType"), ("a_function", "it returns a function of arguments"),
    ("number", "got int"), ("loss", "got a function of arguments"),
    ("unknown_keys", "must hold one of loss, forward, f; got losses"),
    ("two_keys", "must hold one of loss, forward, f; got loss, f"), ("absent", "has no absent"),
    ("test_of_something_else", "AssertionError"),
    ("boom", f"own.py line {SOURCE[:SOURCE.index('[][1]')].count(chr(10)) + 1}: IndexError")])
def test_a_name_that_cannot_be_checked_is_2_and_one_line(name, said, own, capsys):
    assert main(["verify", f"{own()}:{name}"]) == 2
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert not out and last.startswith("jsma: error: ") and said in last
    assert "Traceback" not in err


@pytest.mark.parametrize(("source", "said"), [
    ("x = 1\nif True\n", "line 2: SyntaxError"), ("\n\n1 / 0\n", "line 3: ZeroDivisionError"),
    ("import no_such_module\n", "line 1: ModuleNotFoundError: No module named 'no_such_module'"),
    ("import sys\nsys.exit(0)\n", "line 2: SystemExit: 0"), (b"\0", "null bytes"),
    ("def f():\n    return f()\nf()\n", "line 2: RecursionError"),
    (b"# \xff\n", "own.py"), ("raise SystemError\n", "line 1: SystemError")])
def test_a_file_that_fails_is_2_and_names_its_line(source, said, own, capsys):
    assert main(["verify", f"{own(source)}:x"]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("jsma: error: ") and err.count("\n") == 1 and said in err


@pytest.mark.parametrize(("words", "said"), [
    (["none.py:x"], "none.py: No such file or directory"), (["own.py"], "must be FILE.py:NAME"),
    (["own.py:"], "must be FILE.py:NAME"), (["own.txt:x"], "must be FILE.py:NAME"),
    (["own.py:a.b"], "must be FILE.py:NAME"), ([".py:x"], ".py"), (["folder.py:x"], "folder.py"),
    (["own.py:small", "--network", "resnet"], "--network is for"),
    (["own.py:small", "--digits", "3"], "--digits is for"),
    (["own.py:small", "--data", "."], "--data is for"),
    (["own.py:small", "--weights", "w.npz"], "--weights is for"),
    (["own.py:small", "--at", "none.npz"], "none.npz: No such file"),
    (["own.py:small", "--at", "own.py"], "own.py is no file of arrays"),
    (["own.py:small", "--against", "oracle"], "against must name some of"),
    (["--at", "own.py"], "--at is for your own code")])
def test_words_that_do_not_fit_are_2_and_one_line(words, said, own, tmp_path, monkeypatch, capsys):
    own()
    (tmp_path / "folder.py").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["verify", *words]) == 2
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert not out and last.startswith("jsma: error: ") and said in last


def test_the_file_imports_what_lies_beside_it_and_leaves_no_trace(own, tmp_path, monkeypatch):
    """A module beside it, imported late; `__main__` is not run; a dataclass can be made."""
    own("value = 2.0\n", "beside_the_file.py")
    path = own('''
from __future__ import annotations
from dataclasses import dataclass
import nn
import numpy as np


@dataclass
class Point:
    x: float


def check():
    from beside_the_file import value
    return nn.check_jacobian(lambda x: value * x, value * np.eye(2), np.ones(2) * Point(1.0).x)


if __name__ == "__main__":
    raise SystemExit("run")
''')
    before = list(sys.path), set(sys.modules)
    assert main(["verify", f"{path}:check"]) == 0
    assert list(sys.path) == before[0]
    assert set(sys.modules) - before[1] <= {"beside_the_file"}
    monkeypatch.delitem(sys.modules, "beside_the_file")


@has("torch")
@pytest.mark.parametrize(("name", "arrays", "status"), [
    ("Square", {"y": np.arange(3.0) + 1, "x": np.arange(3.0)}, 0),
    ("net", {"input": np.ones((2, 4))}, 0),
    ("apply", {"x": np.arange(3.0), "y": np.ones(3)}, 0), ("made", {"input": np.ones((2, 4))}, 0),
    ("net", {"input": np.ones((2, 3))}, 2), ("Square", None, 2)])
def test_code_for_torch_takes_its_inputs_from_a_file(name, arrays, status, own, tmp_path, capsys):
    words = ["verify", f"{own(OF_TORCH)}:{name}"]
    if arrays is not None:
        np.savez(tmp_path / "at.npz", **arrays)
        words += ["--at", str(tmp_path / "at.npz")]
    assert main(words) == status
    out, err = capsys.readouterr()
    assert ("right" in out) == (status == 0) and err.count("jsma: error: ") == (status == 2)
    if name == "Square" and arrays:
        own(OF_TORCH.replace("FACTOR = 1", "FACTOR = 2"))
        assert main(words) == 1
        assert "wrong: y: scaled by 2" in capsys.readouterr().out
        np.savez(tmp_path / "at.npz", np.ones(3), np.ones(3))  # in order, without names
        assert main(words) == 1
    if arrays is None:
        assert "needs inputs: --at FILE.npz" in err


@has("jax")
def test_code_for_jax_too(own, tmp_path, capsys):
    np.savez(tmp_path / "at.npz", x=np.arange(3.0))
    assert main(["verify", f"{own(OF_JAX)}:square", "--at", str(tmp_path / "at.npz")]) == 1
    assert "wrong: x: scaled by 0.5" in capsys.readouterr().out


def test_the_help_says_that_the_file_is_executed(capsys):
    with pytest.raises(SystemExit):
        main(["verify", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "FILE.py is EXECUTED" in said
