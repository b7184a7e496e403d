"""What the tests of the command line share: a way to call it, and one small run of every kind."""

import io
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from dokkai.cli import main

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SMALL = ["model.shape=L2-H64", "model.max_position_embeddings=64", "task.lengths=[64]", "train.batch_size=4"]

_built: list["Runs"] = []


@dataclass(frozen=True)
class Done:
    """What a call left behind."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Runs:
    """Paths of what the verbs made: a vocabulary, shards, an encoder, a reader, a sorter of topics."""

    vocab: Path
    data: Path
    encoder: Path
    reader: Path
    sorter: Path


def call(*words: object, stdin: str | bytes = "") -> Done:
    """Run the command line in this process, with its own standard streams."""
    out, err = io.StringIO(), io.StringIO()
    source = io.TextIOWrapper(io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin), encoding="utf-8")
    before = signal.getsignal(signal.SIGPIPE)
    try:
        with (
            patch.object(sys, "argv", ["dokkai", *map(str, words)]),
            patch.object(sys, "stdin", source),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
    finally:
        signal.signal(signal.SIGPIPE, before)
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def good(*words: object, stdin: str | bytes = "") -> str:
    """Run what must succeed; its standard output."""
    done = call(*words, stdin=stdin)
    assert done.code == 0, (words, done.err)
    return done.out


def bad(*words: object, stdin: str | bytes = "") -> str:
    """Run what must fail as a user's mistake: exit code 2, no results, one plain line on standard error."""
    done = call(*words, stdin=stdin)
    assert done.code == 2, (words, done)
    assert done.out == ""
    assert done.err.startswith("dokkai: ")
    assert done.err.count("\n") == 1, done.err
    assert done.err.endswith("\n")
    return done.err


def build_runs(folder: Path) -> Runs:
    """Make everything once per session, in ``folder`` the first time."""
    if not _built:
        runs = Runs(*(folder / name for name in ("vocab", "data", "encoder", "reader", "sorter")))
        text = EXAMPLES / "passages.txt"
        good("vocab", text, "--size", 512, "--out", runs.vocab)
        good("prepare", text, "--tokenizer", runs.vocab, "--out", runs.data, "--processes", 1, "--heldout", 0.2)
        good("pretrain", "demo-pretrain", "--data", runs.data, "--out", runs.encoder, *SMALL, "train.steps=3")
        start = ["--from", runs.encoder, "train.steps=2", "task.max_length=64"]
        questions = ["--train", EXAMPLES / "train.json", "--dev", EXAMPLES / "dev.json", "--limit", 8]
        good("finetune", "squad2", *start, *questions, "task.stride=16", "--out", runs.reader)
        topics = ["--train", EXAMPLES / "topics-train.csv", "--dev", EXAMPLES / "topics-dev.csv"]
        good("finetune", "my-classes", *start, *topics, "--out", runs.sorter)
        _built.append(runs)
    return _built[0]
