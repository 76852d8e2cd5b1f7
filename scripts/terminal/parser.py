"""The words of `jsma` and its help: what is missing or mistyped is said in one line.

In: argparse's parser and its errors. Out: help as wide as the terminal, without marks of code;
errors with "did you mean".
"""
import argparse
import difflib
import re
import sys
import textwrap


class Help(argparse.HelpFormatter):
    """Paragraphs of a docstring, filled to the terminal's width."""

    def _fill_text(self, text, width, indent):
        paragraphs = re.split(r"\n\s*\n", text.replace("`", "").strip())
        return "\n\n".join(textwrap.fill(" ".join(paragraph.split()), width, initial_indent=indent,
                                         subsequent_indent=indent) for paragraph in paragraphs)

    def _expand_help(self, action):
        return super()._expand_help(action).replace("`", "")


class Parser(argparse.ArgumentParser):
    """argparse's, whose errors are one line. `options` are the words that it knows beside its
    own."""

    def __init__(self, *args, **options):
        super().__init__(*args, formatter_class=Help, **options)
        self.options = []

    def error(self, message):
        """ValueError with the message, what was likely meant, and where help is."""
        raise ValueError(f"{message.split(' (choose from')[0]}{self._meant(message)} "
                         f"(see: {self.prog} --help)")

    def exit(self, status=0, message=None):
        """Leave, with everything written."""
        sys.stdout.flush()
        super().exit(status, message)

    def _meant(self, message):
        """What stands in place of a mistyped word, or all that may."""
        if " (choose from" in message:
            word = re.search(r"invalid choice: '?(.*?)'? \(choose from", message)[1]
            allowed = re.findall(r"[^\s,']+", message.partition("(choose from")[2].rstrip(")"))
            near = close_to(word, allowed)
            return near or f"; choose from {', '.join(allowed)}"
        word = re.search(r"unrecognized arguments: (--?[^\s=]+)", message)
        return close_to(word[1], [*self.options, *self._option_string_actions]) if word else ""


def close_to(word, allowed):
    """": did you mean …?", or nothing."""
    near = difflib.get_close_matches(word, allowed, 1)
    return f": did you mean {near[0]}?" if near else ""
