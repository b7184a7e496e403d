"""Mistakes a user can fix, and the words that help to fix them."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What was found, where, and what to do, in one plain line; the command line prints it and exits with code 2."""


class Diverged(UserError):  # noqa: N818 (it says what happened)
    """A loss or a gradient is no number any more: such settings train nothing."""


class Interrupted(Exception):  # noqa: N818 (it is no error)
    """The run was asked to stop (Ctrl-C, SIGTERM, SIGHUP) and has saved itself; the command line exits with 130."""


def did_you_mean(word: str, known: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """A suggestion to append to an error: ``; did you mean 'x'?``, or the list of what there is.

    ``listed`` are those to list where nothing is close; None: all that are known.
    """
    known = set(known)
    cutoff = 0.75 if "." in word else 0.6  # two settings are alike by the name of their section alone
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=cutoff)
    if close:
        return f"; did you mean '{close[0]}'?"
    names = sorted(known if listed is None else set(listed))
    return f"; there is: {', '.join(names)}" if names else ""
