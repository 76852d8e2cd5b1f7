"""The command `jsma` (= `python -m scripts`): runs the command's file, says an error in one line.

In: the words on the command line. Out: the exit status (0 done, 2 an error of the user's, 130
interrupted, 143 terminated, 141 nobody reads the output any more). A command `jsma NAME` is the
file `scripts/NAME.py` with `arguments(parser)` and `run(args) -> int | None`; only the file that is
asked for is imported, so that `jsma --help` starts at once.
"""
import ctypes
import importlib
import importlib.metadata
import os
import signal
import sys
import threading
from contextlib import contextmanager

from scripts.terminal.parser import Parser
from scripts.terminal.progress import started
from scripts.terminal.text import one_line

BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
COMMANDS = {
    "train": "train a network on MNIST",
    "verify": "is every derivative right? layer by layer, against independent referees",
    "textbook": "Eq. 4 to 10 and Algorithm 2 as the paper writes them, beside the fast code",
    "craft": "turn digits into adversarial samples",
    "explain": "a page that shows a forward derivative grow and an attack choose",
    "reproduce": "the paper's figures and numbers beside ours, in one report",
    "survey": "a page that asks people what they see, and what their answers say",
    "bench": "how long everything takes",
    "data": "look at IDX files: are they there, well formed, MNIST?",
}
FIRST = """\
Forward derivatives and adversarial samples after Papernot et al. 2016.
What one does first:

  jsma reproduce --out out           the paper's figures and numbers beside ours
  jsma explain --out page.html       a page: a digit, its derivative, its attack
  jsma verify --digits 0             is every derivative right? (FILE.py: yours)
  jsma craft --target 8 --out eights ten digits, each read as an 8

jsma --help lists all commands, jsma COMMAND --help the words of each."""


def keep_memory():
    """Ask glibc to keep freed memory for the next batch.

    To map 40 MB anew each time costs a third of a derivative.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(-3, 1 << 30)        # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def one_blas_thread():
    """Ask for one BLAS thread, where the user's environment asks for no number; before NumPy.

    We make thousands of small matrix products. Two threads wait for each other at every one: that
    wins a quarter on a quiet machine and loses a factor of ten where another program runs.
    """
    if not any(name in os.environ for name in BLAS_THREADS):
        os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))


def main(argv=None):
    """Run `jsma` with the words `argv` (default: the command line's) and return its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    one_blas_thread()
    keep_memory()
    _mend_streams()
    with _terminable() as terminated:
        try:
            status = _command(argv) or 0
            sys.stdout.flush()
            return status
        except BrokenPipeError:  # whoever read the output has seen enough (jsma verify | head)
            _drop_output()
            return 141
        except (ValueError, TypeError, OSError, MemoryError) as error:
            print(f"jsma: error: {one_line(error)}", file=sys.stderr)
            _drop_output()
            return 2
        except KeyboardInterrupt as error:
            message = f": {one_line(error)}" if error.args else ""
            print(f"jsma: {'terminated' if terminated else 'interrupted'}{message}",
                  file=sys.stderr)
            return 143 if terminated else 130


@contextmanager
def _terminable():
    """SIGTERM ends the work as Ctrl-C does, tidily; yields a list that is no longer empty then."""
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    terminated = []

    def stop(number, _):
        terminated.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _mend_streams():
    """Closed streams swallow what is written; characters that an encoding lacks are escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _drop_output():
    """Output that nobody takes (a closed pipe, a full disk) must not fail again at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _command(argv):
    """Read the words and run the command they name; returns its exit status or None."""
    if not argv:
        print(FIRST)
        return None
    parser = Parser(
        prog="jsma",
        description="Forward derivatives and adversarial samples after Papernot et al. 2016.")
    parser.add_argument("--version", action="version", version=f"jsma {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND",
                                     parser_class=Parser)
    name = next((word for word in argv if not word.startswith("-")), None)
    with started(f"jsma {name}"):
        module = importlib.import_module(f"scripts.{name}") if name in COMMANDS else None
    for command, text in COMMANDS.items():
        described = module.__doc__ if command == name else text
        sub = commands.add_parser(command, help=text, description=described)
        if command == name:
            module.arguments(sub)
            parser.options += list(sub._option_string_actions)
    args = parser.parse_args(argv)  # ends here where the words name no command
    return module.run(args)


def _version():
    """Of the installed package."""
    try:
        return importlib.metadata.version("jsma")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
