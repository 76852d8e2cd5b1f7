"""Commands started as children: one that hears Ctrl-C, and which processes a session still has."""
import signal
import subprocess
from pathlib import Path


def started(words, **options):
    """The process of `words`, its output in pipes.

    It hears Ctrl-C even where this process does not (a shell's &).
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                **options)
    finally:
        signal.signal(signal.SIGINT, before)


def members(session):
    """The processes of a session that are not dead."""
    processes = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            processes.append(int(stat.parent.name))
    return processes
