"""A conversation: the documents are read and the model is loaded once, then one question follows the other."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from dokkai.data.text import read_lines
from dokkai.errors import UserError, did_you_mean
from dokkai.files import replacing
from dokkai.progress import say, say_once

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
    keep = _history()
    while True:
        try:
            line = input(_PROMPT)
        except KeyboardInterrupt:
            print()
        except EOFError:
            print()
            return
        else:
            keep(line)
            yield line


def _history() -> Callable[[str], None]:
    """Recall the questions of earlier conversations; what it returns keeps one more, whatever ends this conversation.

    Where Python has no ``readline`` lines can neither be edited nor called back, and none is kept. The file is written
    line by line, not by ``readline``, so that a second conversation at the same time adds its own.
    """
    try:
        import readline
    except ImportError:
        return _forget
    try:
        path = history_path()
        for line in _recall(path):
            with suppress(ValueError):  # what another locale cannot say, or a crashed disk left
                readline.add_history(line)
    except UserError as error:
        say(f"the questions are not kept: {error}")
        return _forget

    def keep(line: str) -> None:
        if line.strip():
            try:
                with path.open("a", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(f"{line}\n")
            except OSError as error:
                say_once(f"the questions are not kept: cannot write {path}: {error.strerror}")

    return keep


def _recall(path: Path) -> list[str]:
    """The last questions of the file, made, shortened or mended if need be; UserError if it cannot be written."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
    except OSError as error:
        say(f"{path}: earlier questions cannot be read ({error.strerror})")
        return []
    lines = text.removesuffix("\n").split("\n") if text else []
    if not text.endswith("\n") or len(lines) > _KEPT:  # none is there, or its last line was cut off
        lines = lines[-_KEPT:]
        with suppress(OSError):  # where it cannot be made it cannot be written to, and that is said
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # what somebody asks is theirs
        with replacing(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogateescape")
    return lines


def _forget(line: str) -> None:
    """Keep nothing."""
