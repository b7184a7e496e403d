"""How the command line begins and ends: every mistake is one line on standard error, and what happened an exit code."""

import gc
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from dokkai.errors import Interrupted, UserError, did_you_mean
from dokkai.progress import say

# The base of typer's errors about arguments has no public name.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def run_app(app: typer.Typer) -> None:
    """Run the verb in ``sys.argv`` and exit: 0, 2 after a mistake that the user can fix, 130 if the run was stopped.

    Where nobody reads standard output any more (`dokkai ... | head`) it ends quietly, with 1. It is not left to SIGPIPE
    to kill it: that would end a training, too, whose log nobody reads.
    """
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # JSON lines are UTF-8 everywhere; half a surrogate pair is escaped
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="dokkai", standalone_mode=False)
        sys.stdout.flush()
    except UserError as error:
        code = _fail(str(error))
    except _UsageError as error:
        code = _fail(_usage(app, error))
    except (typer.Abort, KeyboardInterrupt):
        code = _fail("stopped", 130)
    except BrokenPipeError:
        code = 1  # as where click meets it
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        code = _fail(f"{place}{error.strerror or error}")
    except Interrupted as error:
        code = _fail(str(error), 130)
    try:
        sys.stdout.flush()
    except OSError:  # a full disk; said already, or the mistake before it was
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python writes once more at its end
    sys.exit(code if isinstance(code, int) else 0)


def _open_what_is_closed() -> None:
    """Standard streams that whoever started us has closed (``<&-``) are as good as empty."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123  to the end


@contextmanager
def quick_imports() -> Iterator[None]:
    """For imports that bring PyTorch along, where a person waits for the answer: nothing of them is ever garbage.

    Python looks through all that is made for what can go, while it is made and once more at the end: a good part of
    the time that the import of PyTorch takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _fail(message: str, code: int = 2) -> int:
    say(f"dokkai: {' '.join(message.split())}")
    return code


def _usage(app: typer.Typer, error: Any) -> str:
    words = error.format_message().rstrip(".")
    verb = error.ctx.command_path if error.ctx else "dokkai"
    unknown = next((arg for arg in sys.argv[1:2] if f"'{arg}'" in words), None)
    if verb == "dokkai" and unknown:
        verbs = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
        return f"no verb '{unknown}'{did_you_mean(unknown, verbs)} (see dokkai --help)"
    return f"{words} (see {verb} --help)"
