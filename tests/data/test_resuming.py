"""A preparation that was killed, was stopped or failed goes on where it was, and gives the same bytes."""

import errno
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from dokkai.data import prepare as module
from dokkai.data.prepare import prepare
from dokkai.data.resuming import STATE_NAME
from dokkai.data.sentences import Encoder
from dokkai.errors import UserError
from dokkai.tokenization import train_tokenizer

WORDS = ["river", "stone", "light", "under", "green", "walks", "Seven", "and", "the", "slow"]
NUM_DOCUMENTS = 300
SETTINGS = {"num_processes": 1, "shard_tokens": 500, "heldout_share": 0.1}

# Dies at the given call of the named function, before or behind its work.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from dokkai.data import prepare as module, shards
from dokkai.tokenization import load_tokenizer
where, name, number, text, tokenizer, out = sys.argv[1:]
place = {"save_state": module, "write_shard": shards}[name]
whole, calls = getattr(place, name), []
def dying(*args, **kwargs):
    calls.append(1)
    if len(calls) == int(number) and where == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    whole(*args, **kwargs)
    if len(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
setattr(place, name, dying)
module._BLOCK = 1000
module.prepare([text], load_tokenizer(Path(tokenizer)), Path(out), num_processes=1, shard_tokens=500, heldout_share=0.1)
"""


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([" ".join(WORDS)], size=128)


@pytest.fixture
def text(tmp_path):
    draw = random.Random(1)
    documents = [" ".join(draw.choices(WORDS, k=draw.randint(4, 30))) + " \x07é." for _ in range(NUM_DOCUMENTS)]
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(documents) + "\n\n\x07\n")  # the last one gives no token
    return path


@pytest.fixture
def encoded(monkeypatch):
    """How many documents are tokenized; the text goes in small blocks."""
    numbers = []
    whole = Encoder.__call__
    monkeypatch.setattr(module, "_BLOCK", 1000)
    monkeypatch.setattr(
        Encoder, "__call__", lambda self, documents: numbers.append(len(documents)) or whole(self, documents)
    )
    return numbers


def contents(directory):
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def stop(text, tokenizer, out):
    """Prepare up to the third time that the state is written down, as if Ctrl-C had come then."""
    calls = []
    with pytest.MonkeyPatch.context() as patch:

        def interrupted(*args):
            save(*args)
            calls.append(args)
            if len(calls) == 3:
                raise KeyboardInterrupt

        save = module.save_state
        patch.setattr(module, "save_state", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare([text], tokenizer, out, **SETTINGS)


@pytest.mark.parametrize("where", ["before", "behind"])
@pytest.mark.parametrize("name, number", [("save_state", 18), ("write_shard", 56), ("write_shard", 57)])
def test_a_killed_preparation_goes_on(where, name, number, tmp_path, text, tokenizer, encoded, capsys):
    whole, out = tmp_path / "whole", tmp_path / "out"
    facts = prepare([text], tokenizer, whole, **SETTINGS)
    assert facts.num_documents == NUM_DOCUMENTS and facts.num_shards > 8 and facts.num_empty_documents == 1
    assert sum(encoded) == NUM_DOCUMENTS + 1
    arguments = [where, name, str(number), text, whole / "tokenizer", out]
    process = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], stderr=subprocess.PIPE, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not (out / "data.json").exists()
    finished = {path.name: path.stat().st_mtime_ns for path in sorted(out.glob("train-*.shard"))[:10]}
    assert len(finished) == 10
    encoded.clear()
    capsys.readouterr()
    assert prepare([text], tokenizer, out, **SETTINGS) == replace(facts, directory=out)
    assert "out: going on behind the first " in capsys.readouterr().err
    assert 0 < sum(encoded) < 0.6 * NUM_DOCUMENTS
    assert finished == {name: (out / name).stat().st_mtime_ns for name in finished}
    assert contents(out) == contents(whole)


def test_ctrl_c_and_once_more(tmp_path, text, tokenizer, encoded, capsys):
    prepare([text], tokenizer, tmp_path / "whole", **SETTINGS)
    out = tmp_path / "out"
    for _ in range(2):
        stop(text, tokenizer, out)
        assert "out: the same command goes on with it" in capsys.readouterr().err
    assert (out / STATE_NAME).exists() and list(out.glob("*.pending"))
    encoded.clear()
    prepare([text], tokenizer, out, **{**SETTINGS, "num_processes": 2})
    assert contents(out) == contents(tmp_path / "whole")


def test_a_full_disk_loses_no_finished_shard(tmp_path, text, tokenizer, encoded, monkeypatch, capsys):
    prepare([text], tokenizer, tmp_path / "whole", **SETTINGS)
    encoded.clear()
    out, flush = tmp_path / "out", os.fsync

    def full(handle):
        if len(list(out.glob("train-*.shard"))) == 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(handle)

    for _ in range(2):  # the second time it is still full
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(UserError, match=r"cannot write .+: No space left on device"):
                prepare([text], tokenizer, out, **SETTINGS)
        assert "out: the same command goes on with it" in capsys.readouterr().err
    half = sum(encoded)
    prepare([text], tokenizer, out, **SETTINGS)
    assert sum(encoded) < half + 0.8 * NUM_DOCUMENTS
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("what", ["source", "setting", "shard", "state"])
def test_what_has_changed_begins_anew(what, tmp_path, text, tokenizer, encoded, capsys):
    out, settings = tmp_path / "out", SETTINGS
    stop(text, tokenizer, out)
    match what:
        case "source":
            os.utime(text, ns=(0, 0))
        case "setting":
            settings = {**SETTINGS, "heldout_share": 0.2}
        case "shard":
            (out / "train-00000.shard").write_bytes((out / "train-00000.shard").read_bytes()[:-1] + b"\x01")
        case "state":
            (out / STATE_NAME).write_text('{"counts": 5}')
    encoded.clear()
    capsys.readouterr()
    prepare([text], tokenizer, out, **settings)
    assert "going on" not in capsys.readouterr().err
    assert sum(encoded) == NUM_DOCUMENTS + 1
    prepare([text], tokenizer, tmp_path / "whole", **settings)
    assert contents(out) == contents(tmp_path / "whole")
