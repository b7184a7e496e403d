"""A conversation: the documents are read and the model is loaded once, then one question follows the other."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dokkai.data.text import read_lines
from dokkai.errors import UserError, did_you_mean
from dokkai.files import replacing
from dokkai.progress import say

_PROMPT = "? "
_COMMANDS = {":help": "this list", ":quit": "leave (Ctrl-D does it too)"}
_KEPT = 1000  # questions of the history


def converse(answer: Callable[[str, str, str], str]) -> None:
    """Call ``answer`` for each question that is typed, or for each line of standard input.

    Its arguments are the question, the question before and the last answer; it returns its answer, "" if there is none.
    ``:quit`` or the end of input ends it. On a terminal questions can be edited and called back, also those of earlier
    conversations. A mistake in one question is said, and the next is asked for.
    """
    before = answered = ""
    is_typed = sys.stdin.isatty() and sys.stdout.isatty()
    if is_typed:
        say("Ask a question; :quit or Ctrl-D ends.")
    for line in _typed() if is_typed else read_lines("-"):
        question = line.strip()
        if question == ":quit":
            break
        if question == ":help":
            say("\n".join(f"{name:7} {meaning}" for name, meaning in _COMMANDS.items()))
        elif question.startswith(":"):
            say(f"no command {question}{did_you_mean(question, _COMMANDS)}")
        elif question:
            try:
                answered = answer(question, before, answered) or answered
            except UserError as error:
                say(str(error))
            except KeyboardInterrupt:
                if not is_typed:
                    raise
                say("given up")
            before = question


def history_path() -> Path:
    """Where questions are kept: ``$XDG_STATE_HOME/dokkai/questions``, or under ``~/.local/state``.

    UserError if there is no home directory.
    """
    try:
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError:
        raise UserError("there is no home directory; set XDG_STATE_HOME to a folder") from None
    return Path(home) / "dokkai" / "questions"


def _typed() -> Iterator[str]:
    """What is typed, line by line; Ctrl-C gives up the line, Ctrl-D ends."""
    with _history():
        while True:
            try:
                yield input(_PROMPT)
            except KeyboardInterrupt:
                print()
            except EOFError:
                print()
                return


@contextmanager
def _history() -> Iterator[None]:
    """Lines can be edited and called back, and are kept in a file; where Python has no ``readline``, neither."""
    try:
        import readline
    except ImportError:
        yield
        return
    try:
        path = history_path()
    except UserError as error:
        say(f"the questions are not kept: {error}")
        yield
        return
    try:
        if path.exists():
            readline.read_history_file(path)
    except OSError as error:
        say(f"{path}: earlier questions cannot be read ({error.strerror})")
    readline.set_history_length(_KEPT)
    try:
        yield
    finally:
        try:
            with replacing(path) as temporary:
                readline.write_history_file(temporary)
        except UserError as error:
            say(f"the questions are not kept: {error}")
