"""The command line in this process or another, and a folder of small runs made by it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from dokkai import cli, progress

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SMALL = ["model.shape=L2-H64", "model.max_position_embeddings=64", "train.batch_size=8", "task.lengths=[64]"]


class Done(NamedTuple):
    code: int
    out: str
    err: str


def dokkai(*words, stdin=""):
    """Run the command line in this process, with streams and arguments of its own."""
    with pytest.MonkeyPatch.context() as patch:
        out, err = io.StringIO(), io.StringIO()
        patch.setattr(sys, "argv", ["dokkai", *map(str, words)])
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin.encode()), isatty=lambda: False))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setattr(progress, "_said", set())
        try:
            cli.main()
        except SystemExit as end:
            return Done(end.code, out.getvalue(), err.getvalue())
    raise AssertionError("main() came back without a code")


def works(*words, stdin=""):
    """The standard output of a command that must succeed."""
    done = dokkai(*words, stdin=stdin)
    assert done.code == 0, (words, done.err)
    return done.out


def fails(*words, stdin=""):
    """The one line that a mistake ends with."""
    done = dokkai(*words, stdin=stdin)
    assert (done.code, done.out) == (2, ""), (words, done)
    assert done.err.endswith("\n") and len(done.err.splitlines()) == 1, done.err
    assert done.err.startswith("dokkai: ") and "Traceback" not in done.err
    return done.err.removeprefix("dokkai: ").rstrip("\n")


def external(*words, code="", folder=None):
    """The command line in a new process; ``code`` is run before it."""
    program = f"{code}\nfrom dokkai.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=120,
    )


def tree(folder):
    """All files below a folder with their contents: what must not change when a command fails."""
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def make_home(tmp_path_factory):
    """``vocab``, ``data``, ``encoder``, ``reader`` and ``sorter``, each made by its verb in a few steps."""
    at = tmp_path_factory.getbasetemp() / "home"
    if at.exists():  # by another test file of this session
        return at
    at.mkdir()
    short = ["train.steps=2", "train.batch_size=4", "task.max_length=64"]
    works("vocab", EXAMPLES / "passages.txt", "--size", 512, "--out", at / "vocab")
    words = ["--tokenizer", at / "vocab", "--out", at / "data", "--processes", 1, "--heldout", 0.2]
    works("prepare", EXAMPLES / "passages.txt", *words)
    works("pretrain", "demo-pretrain", "--data", at / "data", "--out", at / "encoder", *SMALL, "train.steps=3")
    start = ["--from", at / "encoder", "--limit", 16]
    # The squad tasks pair a question with a window, which 64 positions have room for.
    train, dev = EXAMPLES / "train.json", at / "dev.json"
    content = json.loads((EXAMPLES / "dev.json").read_text(encoding="utf-8"))
    dev.write_text(json.dumps(content | {"data": content["data"][:2]}), encoding="utf-8")
    works("finetune", "squad2", *start, "--train", train, "--out", at / "reader", *short, "task.stride=16")
    table = EXAMPLES / "topics-train.csv"
    works("finetune", "my-classes", *start[:2], "--train", table, "--out", at / "sorter", *short)
    return at
