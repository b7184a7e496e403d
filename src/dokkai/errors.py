"""Mistakes a user can fix, and the words that help to fix them."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What was found, where, and what to do, in one plain line; the command line prints it and exits with code 2."""


class Interrupted(Exception):  # noqa: N818 (it is no error)
    """The run was asked to stop (Ctrl-C, SIGTERM) and has saved itself; the command line exits with code 130."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion to append to an error: ``; did you mean 'x'?``, or the list of what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; there is: {', '.join(names)}" if names else ""
