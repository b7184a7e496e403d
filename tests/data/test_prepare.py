"""Text files to a prepared directory: order, splits, errors, and what a killed run leaves."""

import errno
import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from dokkai.data import prepare as module
from dokkai.data.prepare import PreparedData, prepare
from dokkai.data.shards import Corpus
from dokkai.data.text import open_text
from dokkai.errors import UserError
from dokkai.tokenization import load_tokenizer, train_tokenizer

WORDS = ["river", "stone", "light", "under", "green", "walks", "Seven", "and", "the", "slow"]
SETTINGS = {"num_processes": 1, "shard_tokens": 500, "heldout_share": 0.1}


def make_documents(num_documents, seed=0):
    rng = random.Random(seed)
    return [
        [" ".join(" ".join(rng.choices(WORDS, k=6)).capitalize() + "." for _ in range(rng.randint(1, 3))) for _ in "ab"]
        for _ in range(num_documents)
    ]


def write_documents(path, documents):
    path.write_text("\n\n".join("\n".join(lines) for lines in documents) + "\n")
    return path


def contents(directory):
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def decode(tokenizer, corpus):
    """The text of every document, lower-cased and with spaces between tokens, as the tokenizer leaves it."""
    starts = corpus.document_starts.tolist()
    return [tokenizer.decode(corpus.sentence_tokens(first, last).tolist()) for first, last in pairwise(starts)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([line for lines in make_documents(50) for line in lines], size=128)


@pytest.fixture
def text(tmp_path):
    return write_documents(tmp_path / "text.txt", make_documents(95))


def test_documents_sentences_and_tokens_arrive_in_order(tmp_path, text, tokenizer):
    out = tmp_path / "out"
    prepared = prepare([text], tokenizer, out, **SETTINGS)
    train, heldout = (Corpus.open(out, split, tokenizer.fingerprint) for split in ("train", "heldout"))
    expected = [tokenizer.decode(tokenizer.token_ids_batch([" ".join(lines)])[0]) for lines in make_documents(95)]
    assert decode(tokenizer, heldout) == expected[::10]
    assert decode(tokenizer, train) == [document for i, document in enumerate(expected) if i % 10]
    assert prepared == PreparedData(
        directory=out,
        num_tokens=train.num_tokens + heldout.num_tokens,
        num_sentences=sum(" ".join(lines).count(".") for lines in make_documents(95)),
        num_documents=95,
        num_heldout_documents=10,
        num_shards=len(train.shards) + len(heldout.shards),
        num_empty_sentences=0,
        num_empty_documents=0,
        num_cut_documents=0,
    )
    assert len(train.shards) > 2
    assert all(len(shard.tokens) >= 500 for shard in train.shards[:-1])
    assert load_tokenizer(train.tokenizer_directory).fingerprint == tokenizer.fingerprint
    assert not (out / "unfinished").exists()


def test_the_number_of_processes_changes_no_byte(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 1000)
    files = [write_documents(tmp_path / f"{i}.txt", make_documents(150, i)) for i in range(2)]
    for num_processes in (1, 2):
        prepare(files, tokenizer, tmp_path / f"out{num_processes}", **{**SETTINGS, "num_processes": num_processes})
    assert contents(tmp_path / "out1") == contents(tmp_path / "out2")


def test_the_size_of_blocks_changes_no_byte(tmp_path, text, tokenizer, monkeypatch):
    for size in (1, 3000, 1 << 20):
        monkeypatch.setattr(module, "_BLOCK", size)
        prepare([text], tokenizer, tmp_path / f"out{size}", **SETTINGS)
    assert contents(tmp_path / "out1") == contents(tmp_path / "out3000") == contents(tmp_path / f"out{1 << 20}")


def test_a_process_for_each_core_that_may_be_used(tmp_path, text, tokenizer, monkeypatch):
    asked = []
    encode = module._encode_blocks
    monkeypatch.setattr(module, "_encode_blocks", lambda *a: (asked.append(a[-1]), encode(*a[:-1], 1))[1])
    monkeypatch.setattr("joblib.cpu_count", lambda: 3)
    prepare([text], tokenizer, tmp_path / "out", shard_tokens=500, heldout_share=0.1)
    assert asked == [3]


@pytest.mark.parametrize("num_processes", [1, 2])
def test_text_is_not_read_far_ahead(num_processes):
    num_read = 0

    def blocks():
        nonlocal num_read
        for _ in range(50):
            num_read += 1
            yield module._Block([["a"]], 1, 0)

    results = module._encode_blocks(blocks(), count_lines, num_processes)
    for num_taken in range(1, 11):
        assert next(results)[1] == 1
        assert num_read <= num_taken + 2 * num_processes
    results.close()


def count_lines(documents):
    return len(documents)


def end_process(documents):
    os._exit(1)


def test_a_worker_that_dies(tmp_path):
    blocks = [module._Block([["a"]], 1, 0)] * 9
    with pytest.raises(UserError, match=r"a worker process ended before its work: out of memory .* no `if __name__"):
        list(module._encode_blocks(blocks, end_process, 2))


def test_an_error_in_the_text_ends_the_workers(tmp_path, tokenizer):
    (tmp_path / "bad.txt").write_bytes(b"good\n\n" * 10 + b"\xff")
    with pytest.raises(UserError, match="not UTF-8 at byte 60"):
        prepare([tmp_path / "bad.txt"], tokenizer, tmp_path / "out", num_processes=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "num_documents, share, heldout",
    [(1, 0.01, []), (2, 0.01, [0]), (7, 0.5, [0, 2, 4, 6]), (7, 0.3, [0, 3, 6]), (7, 0, []), (7, 1e-9, [0])],
)
def test_which_documents_are_held_out(tmp_path, tokenizer, num_documents, share, heldout):
    documents = [[word] for word in WORDS[:num_documents]]
    text = write_documents(tmp_path / "text.txt", documents)
    prepared = prepare([text], tokenizer, tmp_path / "out", num_processes=1, heldout_share=share)
    assert prepared.num_heldout_documents == len(heldout)
    splits = {"train": [i for i in range(num_documents) if i not in heldout], "heldout": heldout}
    for split, numbers in splits.items():
        if numbers:
            found = decode(tokenizer, Corpus.open(tmp_path / "out", split))
            assert found == [WORDS[i].lower() for i in numbers]


def test_what_gives_no_token_is_left_out_and_reported(tmp_path, tokenizer, capsys):
    text = write_documents(tmp_path / "text.txt", [["\u200b"], ["river. ", "\u200b"], ["\u200b", "\u200d"], ["stone"]])
    prepared = prepare([text], tokenizer, tmp_path / "out", num_processes=1)
    assert (prepared.num_documents, prepared.num_sentences, prepared.num_heldout_documents) == (2, 2, 1)
    assert (prepared.num_empty_documents, prepared.num_empty_sentences) == (2, 4)
    said = capsys.readouterr().err
    assert "2 documents (1 held out), 2 shards" in said
    assert "left out, because they give no token: 4 sentences (2 whole documents)" in said


def test_text_without_any_token(tmp_path, tokenizer):
    text = write_documents(tmp_path / "text.txt", [["\u200b"]])
    with pytest.raises(UserError, match="the tokenizer makes no token of this text; use one that was trained on such"):
        prepare([text], tokenizer, tmp_path / "out", num_processes=1)
    assert not (tmp_path / "out").exists()


def test_endless_documents_are_cut_and_reported(tmp_path, tokenizer, monkeypatch, capsys):
    monkeypatch.setattr(module, "_LONGEST_DOCUMENT", 100)
    text = write_documents(tmp_path / "text.txt", [["river " * 10] * 5, ["stone"], ["x" * 500]])
    prepared = prepare([text], tokenizer, tmp_path / "out", num_processes=1)
    assert (prepared.num_documents, prepared.num_cut_documents) == (7, 4)
    assert "cut 4 times: documents of more than 100 characters" in capsys.readouterr().err


def test_a_line_of_several_megabytes(tmp_path, tokenizer):
    text = tmp_path / "text.txt"
    text.write_text("river stone " * 250_000)
    prepared = prepare([text], tokenizer, tmp_path / "out", num_processes=1, shard_tokens=1000)
    assert prepared.num_sentences == prepared.num_documents == prepared.num_shards == 1
    ids = Corpus.open(tmp_path / "out").sentence_tokens(0, 1)
    assert len(ids) == 250_000 * len(tokenizer.token_ids_batch(["river stone"])[0])


def test_the_index(tmp_path, text, tokenizer):
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"river\n\nstone"))
    prepare([text, tmp_path / "b.gz"], tokenizer, tmp_path / "out", num_processes=1)
    index = json.loads((tmp_path / "out" / "data.json").read_text())
    size = (tmp_path / "b.gz").stat().st_size
    assert index["sources"] == [{"name": "text.txt", "bytes": text.stat().st_size}, {"name": "b.gz", "bytes": size}]
    assert (index["version"], index["language"], index["heldout_share"]) == (1, "en", 0.01)
    assert (index["vocab_size"], index["fingerprint"]) == (tokenizer.vocab_size, tokenizer.fingerprint)


def test_the_same_again_is_left_as_it_is(tmp_path, text, tokenizer, capsys):
    first = prepare([text], tokenizer, tmp_path / "out", **SETTINGS)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    (tmp_path / "moved").mkdir()
    moved = text.rename(tmp_path / "moved" / text.name)
    assert asdict(prepare([moved], tokenizer, tmp_path / "out", **{**SETTINGS, "num_processes": 2})) == asdict(first)
    assert "already prepared" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_a_directory_with_something_else_is_refused(tmp_path, text, tokenizer):
    out = tmp_path / "out"
    prepare([text], tokenizer, out, **SETTINGS)
    before = contents(out)
    message = r"out was prepared with other {}; choose another directory or delete it"
    for change in ({"shard_tokens": 501}, {"heldout_share": 0.2}, {"language": "de"}):
        with pytest.raises(UserError, match=message.format(next(iter(change)).replace("_", " "))):
            prepare([text], tokenizer, out, **{**SETTINGS, **change})
    with pytest.raises(UserError, match=message.format("tokenizer")):
        prepare([text], train_tokenizer(["other words"], size=128), out, **SETTINGS)
    with pytest.raises(UserError, match=message.format("source files, language")):
        prepare([text, text], tokenizer, out, **SETTINGS, language="de")
    assert contents(out) == before
    (out / "train-00001.shard").unlink()
    with pytest.raises(
        UserError, match=r"train-00001\.shard is missing; delete the directory and prepare the text again"
    ):
        prepare([text], tokenizer, out, **SETTINGS)


def test_standard_input_cannot_be_compared(tmp_path, tokenizer, monkeypatch):
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"river\n\nstone\n")))
        if not (tmp_path / "out").exists():
            assert prepare(["-"], tokenizer, tmp_path / "out", num_processes=1).num_documents == 2
    with pytest.raises(UserError, match="was prepared from a stream, perhaps another; choose another directory or"):
        prepare(["-"], tokenizer, tmp_path / "out", num_processes=1)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_processes": 0}, "the number of processes is 0; give 1 or more"),
        ({"shard_tokens": 0}, "the tokens per shard are 0; give 1 or more"),
        ({"heldout_share": 0.6}, r"the held-out share is 0\.6; give 0 \(none\) to 0\.5"),
        ({"heldout_share": float("nan")}, "the held-out share is nan"),
    ],
)
def test_wrong_settings(tmp_path, text, tokenizer, change, message):
    with pytest.raises(UserError, match=message):
        prepare([text], tokenizer, tmp_path / "out", **{**SETTINGS, **change})
    assert not (tmp_path / "out").exists()


def test_directories_that_are_not_ours(tmp_path, text, tokenizer):
    with pytest.raises(UserError, match=r"text\.txt is a file; give a directory to prepare into"):
        prepare([text], tokenizer, text, **SETTINGS)
    with pytest.raises(UserError, match=r"cannot write .*: Not a directory; choose another directory"):
        prepare([text], tokenizer, text / "out", **SETTINGS)
    with pytest.raises(UserError, match=r"holds other files \(text\.txt\); choose a new or an empty directory"):
        prepare([text], tokenizer, tmp_path, **SETTINGS)
    with pytest.raises(UserError, match="no such file"):
        prepare([text, tmp_path / "missing.txt"], tokenizer, tmp_path / "out", **SETTINGS)
    assert list(tmp_path.iterdir()) == [text]
    (tmp_path / "empty").mkdir()
    assert prepare([text], tokenizer, tmp_path / "empty", **SETTINGS).num_documents == 95


def test_two_runs_into_one_directory(tmp_path, text, tokenizer):
    with (
        module._unfinished(tmp_path / "out", {}, None),
        pytest.raises(UserError, match="is being prepared by another process; wait, or choose another directory"),
    ):
        prepare([text], tokenizer, tmp_path / "out", **SETTINGS)
    assert prepare([text], tokenizer, tmp_path / "out", **SETTINGS).num_documents == 95


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_run_that_fails_leaves_nothing(tmp_path, text, tokenizer, monkeypatch, error, is_there):
    out = tmp_path / "out"
    if is_there:
        out.mkdir()
    flush, written = os.fsync, []

    def fail(handle):
        written.append(handle)
        if len(written) > 9:  # three files of the tokenizer, then the second or third shard
            raise error
        flush(handle)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((KeyboardInterrupt, UserError), match=r"^$|cannot write .+shard: No space left on device"):
        prepare([text], tokenizer, out, **SETTINGS)
    assert out.exists() == is_there
    assert not is_there or list(out.iterdir()) == []


SCRIPT = """
import sys
from pathlib import Path
from dokkai.data.prepare import prepare
from dokkai.data import prepare as module
from dokkai.tokenization import load_tokenizer
if __name__ == "__main__":
    module._BLOCK = 1000
    tokenizer = load_tokenizer(Path(sys.argv[1]))
    prepare(["-"], tokenizer, Path(sys.argv[2]), num_processes=2, shard_tokens=500, heldout_share=0.1)
"""


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_a_killed_run_leaves_no_index_and_a_rerun_starts_again(tmp_path, text, tokenizer):
    out, script = tmp_path / "out", tmp_path / "script.py"
    prepare([text], tokenizer, tmp_path / "whole", **SETTINGS)
    script.write_text(SCRIPT)
    command = [sys.executable, script, tmp_path / "whole" / "tokenizer", out]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdin.write(text.read_bytes() * 20)
    process.stdin.flush()
    wait_until(lambda: (out / "train-00003.shard").exists())
    workers = children(process.pid)
    assert len(workers) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    assert not (out / "data.json").exists()
    with pytest.raises(UserError, match="its preparation has not finished"):
        Corpus.open(out)
    wait_until(lambda: not any(map(is_running, workers)))
    (out / ".train-00099.shard.123.tmp").touch()
    (out / "train-00098.shard").touch()
    prepare([text], tokenizer, out, **SETTINGS)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.data
def test_real_text(tmp_path, data):
    with open_text(data / "corpus/en/wiki-1.txt.xz") as stream:
        start = stream.read(2_000_000)
    text = tmp_path / "wiki.txt"
    text.write_bytes(start[: start.rindex(b"\n") + 1])
    lines = text.read_text().split("\n")
    tokenizer = train_tokenizer(lines, size=4096)
    prepared = prepare([text], tokenizer, tmp_path / "out", num_processes=1)
    assert prepared.num_documents > 50
    assert prepared.num_sentences > prepared.num_documents * 5
    train, heldout = Corpus.open(tmp_path / "out"), Corpus.open(tmp_path / "out", "heldout")
    assert train.num_tokens + heldout.num_tokens == prepared.num_tokens
    assert prepared.num_tokens == sum(map(len, tokenizer.token_ids_batch(lines)))
