"""Raw text to token shards, in constant memory and on several processes, with the same bytes for any number of them."""

import multiprocessing
import os
import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Set
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dokkai.data.resuming import PENDING, STATE_NAME, Counts, State, load_state, modified, save_state
from dokkai.data.sentences import Encoded, Encoder
from dokkai.data.shards import (
    INDEX_NAME,
    SPLITS,
    TOKENIZER_NAME,
    UNFINISHED_NAME,
    VERSION,
    ShardWriter,
    read_index,
)
from dokkai.data.text import estimate_size, read_parts
from dokkai.errors import UserError
from dokkai.files import existing_file, lock, remove, write_json
from dokkai.progress import Progress, say
from dokkai.tokenization import Tokenizer, save_tokenizer

_BLOCK = 1 << 20  # characters of text that travel to a worker together
_LONGEST_DOCUMENT = 1 << 23  # characters; longer ones are cut between lines, counted and reported
_OURS = re.compile(
    r"\.?((train|heldout)(-\d+\.shard|\.\d+\.pending)|tokenizer|data\.json|state\.json)(\.\d+\.(tmp|old))?"
)
_WORDS = {"sources": "source files", "fingerprint": "tokenizer"}  # settings as the user knows them


@dataclass(frozen=True, slots=True)
class PreparedData:
    """What a prepared directory holds. All counts are over both splits, and of what is in the shards.

    ``num_cut_documents``: how often a document too long for memory was cut in two (the parts count as documents);
    ``num_empty_sentences`` and ``num_empty_documents``: left out, because the tokenizer makes no token of them.
    """

    directory: Path
    num_tokens: int
    num_sentences: int
    num_documents: int
    num_heldout_documents: int
    num_shards: int
    num_empty_sentences: int
    num_empty_documents: int
    num_cut_documents: int


class _Block(NamedTuple):
    """Some documents, as lines."""

    documents: list[list[str]]
    num_bytes: int
    num_cuts: int


def prepare(
    paths: Sequence[str | Path],
    tokenizer: Tokenizer,
    out: Path,
    *,
    num_processes: int | None = None,
    shard_tokens: int = 1 << 25,
    heldout_share: float = 0.01,
    language: str = "en",
) -> PreparedData:
    """Split text files (plain, .gz, .xz, .zst, or ``-``) into sentences, tokenize them, and fill the directory ``out``.

    Blank lines separate documents. Of the documents, numbered from 0, every round(1 / ``heldout_share``)-th goes into
    the split "heldout", beginning with the first; none if the share is 0 or there is only one document. A shard is
    closed at the first end of a document at or after ``shard_tokens`` tokens. ``num_processes`` workers (default: one
    per core that may be used, in a container too) change the speed only; they are spawned, so a script that asks for
    more than one must guard its main part with ``if __name__ == "__main__"``.

    If ``out`` already holds the result of these sources and settings, it is left as it is. If it holds the beginning of
    it, because a preparation from files was killed, was stopped or failed, the work goes on behind the last shard that
    was written down, and gives the same bytes. UserError if it holds anything else, and for unreadable text, wrong
    settings and full disks; if no shard was written down by then, nothing is left in ``out``.
    """
    if num_processes is None:
        from joblib import cpu_count  # loaded here: worker processes import this module, and have no use for it

        num_processes = cpu_count()
    _check_settings(num_processes, shard_tokens, heldout_share)
    out = Path(out)
    made_from = {
        "sources": [_source(path) for path in paths],
        "fingerprint": tokenizer.fingerprint,
        "language": language,
        "shard_tokens": shard_tokens,
        "heldout_share": heldout_share,
    }
    if (out / INDEX_NAME).exists():
        prepared = _finished(out, made_from)
        say(f"{out}: already prepared ({prepared.num_tokens:,} tokens)")
        return prepared
    encode = Encoder(tokenizer, language)
    changed = modified(paths)
    with _unfinished(out, made_from, changed) as state:
        save_tokenizer(tokenizer, out / TOKENIZER_NAME)
        writers = {
            split: ShardWriter(out, split, shard_tokens, tokenizer.vocab_size, tokenizer.fingerprint)
            for split in SPLITS
        }
        counts = Counts()
        if state is not None:
            state.restore(out, writers)
            counts = state.counts
            say(f"{out}: going on behind the first {counts.num_documents:,} documents")

        def save() -> None:
            if changed is not None:
                save_state(out, made_from, changed, counts, writers)

        size = estimate_size(paths)
        total = size.num_bytes if size else None
        _fill(writers, _blocks(paths, counts.num_parts), encode, num_processes, heldout_share, total, counts, save)
        index: dict[str, Any] = {"version": VERSION, **made_from, "vocab_size": tokenizer.vocab_size}
        index |= {"num_empty_sentences": counts.num_empty_sentences, "num_empty_documents": counts.num_empty_documents}
        index |= {"num_cut_documents": counts.num_cuts}
        index["splits"] = {split: writer.close() for split, writer in writers.items()}
        write_json(out / INDEX_NAME, index)
    prepared = _prepared(out, index)
    _report(prepared)
    return prepared


def _check_settings(num_processes: int, shard_tokens: int, heldout_share: float) -> None:
    if num_processes < 1:
        raise UserError(f"the number of processes is {num_processes}; give 1 or more")
    if shard_tokens < 1:
        raise UserError(f"the tokens per shard are {shard_tokens}; give 1 or more")
    if not 0 <= heldout_share <= 0.5:
        raise UserError(f"the held-out share is {heldout_share}; give 0 (none) to 0.5 (every second document)")


# ---- the work: blocks of documents, encoded in order, appended to the writers of both splits


def _fill(
    writers: dict[str, ShardWriter],
    blocks: Iterable[_Block],
    encode: Encoder,
    num_processes: int,
    heldout_share: float,
    total_bytes: int | None,
    counts: Counts,
    save: Callable[[], None],
) -> None:
    """Fill the writers with what ``counts`` does not count yet, and count it; ``save`` is called behind new shards."""
    every = round(1 / heldout_share) if heldout_share else 0
    first: tuple[NDArray[Any], NDArray[np.int64]] | None = None  # waits until it is known whether it is the only one
    num_shards = sum(len(writer.names) for writer in writers.values())
    with (
        Progress("preparing", total_bytes, "bytes") as progress,
        closing(_encode_blocks(blocks, encode, num_processes)) as results,  # ends the workers, whatever happens here
    ):
        progress.advance(counts.num_bytes)
        for block, encoded in results:
            for document in encoded.documents():
                if counts.num_documents == 0:
                    first = document
                else:
                    if first is not None:
                        writers["heldout" if every else "train"].add(*first)
                        first = None
                    writers["heldout" if every and counts.num_documents % every == 0 else "train"].add(*document)
                counts.num_documents += 1
            counts.num_parts += len(block.documents)
            counts.num_bytes += block.num_bytes
            counts.num_cuts += block.num_cuts
            counts.num_empty_sentences += encoded.num_empty_sentences
            counts.num_empty_documents += encoded.num_empty_documents
            progress.advance(block.num_bytes)
            if num_shards < (num_shards := sum(len(writer.names) for writer in writers.values())):
                save()
    if first is not None:
        writers["train"].add(*first)
    if counts.num_documents == 0:
        raise UserError("the tokenizer makes no token of this text; use one that was trained on such text")


def _blocks(paths: Sequence[str | Path], num_done: int = 0) -> Iterator[_Block]:
    """The text behind the first ``num_done`` parts of it."""
    documents: list[list[str]] = []
    num_characters = num_bytes = num_cuts = 0
    for lines, is_cut in islice(read_parts(paths, _LONGEST_DOCUMENT), num_done, None):
        documents.append(lines)
        num_characters += sum(map(len, lines))
        num_bytes += sum(len(line if line.isascii() else line.encode()) + 1 for line in lines)
        num_cuts += is_cut
        if num_characters >= _BLOCK:
            yield _Block(documents, num_bytes, num_cuts)
            documents, num_characters, num_bytes, num_cuts = [], 0, 0, 0
    if documents:
        yield _Block(documents, num_bytes, num_cuts)


# ---- worker processes


def _encode_blocks(
    blocks: Iterable[_Block], encode: Encoder, num_processes: int
) -> Generator[tuple[_Block, Encoded], None, None]:
    """Encode in this process, or in workers with few blocks under way, and yield in the order of the text."""
    if num_processes == 1:
        for block in blocks:
            yield block, encode(block.documents)
        return
    pool = ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn"), _start_worker, (encode,))
    waiting: deque[tuple[_Block, Future[Encoded]]] = deque()
    try:
        for block in blocks:
            waiting.append((block, pool.submit(_encode_in_worker, block.documents)))
            if len(waiting) > 2 * num_processes:
                yield _result(waiting)
        while waiting:
            yield _result(waiting)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process ended before its work: out of memory (then use fewer processes), or started by a script "
            "whose main part has no `if __name__ == '__main__'`"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _result(waiting: deque[tuple[_Block, Future[Encoded]]]) -> tuple[_Block, Encoded]:
    block, future = waiting.popleft()
    return block, future.result()


_encode_here: Callable[[list[list[str]]], Encoded] | None = None  # set in worker processes only


def _start_worker(encode: Encoder) -> None:
    global _encode_here
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops its workers
    _encode_here = encode
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _encode_in_worker(documents: list[list[str]]) -> Encoded:
    assert _encode_here is not None
    return _encode_here(documents)


# ---- the directory


@contextmanager
def _unfinished(out: Path, made_from: dict[str, Any], changed: list[int] | None) -> Iterator[State | None]:
    """Own the directory ``out`` while it is filled, and yield what an earlier try has saved there for these sources.

    Whatever goes wrong inside, what has been saved stays; if nothing has, nothing of ours is left in it.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a directory to prepare into")
    marker = out / UNFINISHED_NAME
    is_new = not out.exists()
    if not is_new and not marker.exists() and (others := sorted(path.name for path in out.iterdir())):
        raise UserError(f"{out} holds other files ({others[0]}); choose a new or an empty directory")
    try:
        out.mkdir(parents=True, exist_ok=True)
        opened = marker.open("a")
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}; choose another directory") from error
    with opened:
        try:
            lock(opened.fileno(), out)
        except BlockingIOError as error:
            raise UserError(f"{out} is being prepared by another process; wait, or choose another directory") from error
        state = load_state(out, made_from, changed)
        _clear(out, state.files() if state else set())
        try:
            yield state
        except BaseException:
            if (out / STATE_NAME).exists():
                say(f"{out}: the same command goes on with it")
                raise
            _clear(out)
            marker.unlink()
            if is_new:
                out.rmdir()
            raise
        for path in out.iterdir():
            if path.name == STATE_NAME or path.suffix == PENDING:
                remove(path)
        marker.unlink()


def _clear(out: Path, kept: Set[str] = frozenset()) -> None:
    for path in out.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in kept:
            remove(path)


def _source(path: str | Path) -> dict[str, Any]:
    """Name and size of a source; a stream has no size."""
    if str(path) == "-":
        return {"name": "-", "bytes": None}
    file = existing_file(Path(path))
    return {"name": file.name, "bytes": file.stat().st_size if file.is_file() else None}


def _finished(out: Path, made_from: dict[str, Any]) -> PreparedData:
    index = read_index(out)
    others = [_WORDS.get(key, key.replace("_", " ")) for key, value in made_from.items() if index.get(key) != value]
    if others:
        raise UserError(f"{out} was prepared with other {', '.join(others)}; choose another directory or delete it")
    if any(source["bytes"] is None for source in made_from["sources"]):
        raise UserError(f"{out} was prepared from a stream, perhaps another; choose another directory or delete it")
    for split in SPLITS:
        for name in index["splits"][split]["shards"]:
            if not (out / name).exists():
                raise UserError(f"{out}: {name} is missing; delete the directory and prepare the text again")
    return _prepared(out, index)


def _prepared(out: Path, index: dict[str, Any]) -> PreparedData:
    splits = [index["splits"][split] for split in SPLITS]
    return PreparedData(
        directory=out,
        num_tokens=sum(split["num_tokens"] for split in splits),
        num_sentences=sum(split["num_sentences"] for split in splits),
        num_documents=sum(split["num_documents"] for split in splits),
        num_heldout_documents=index["splits"]["heldout"]["num_documents"],
        num_shards=sum(len(split["shards"]) for split in splits),
        num_empty_sentences=index["num_empty_sentences"],
        num_empty_documents=index["num_empty_documents"],
        num_cut_documents=index["num_cut_documents"],
    )


def _report(prepared: PreparedData) -> None:
    say(
        f"{prepared.directory}: {prepared.num_tokens:,} tokens in {prepared.num_sentences:,} sentences of "
        f"{prepared.num_documents:,} documents ({prepared.num_heldout_documents:,} held out), "
        f"{prepared.num_shards} shards"
    )
    if prepared.num_empty_sentences:
        say(
            f"left out, because they give no token: {prepared.num_empty_sentences:,} sentences "
            f"({prepared.num_empty_documents:,} whole documents)"
        )
    if prepared.num_cut_documents:
        say(f"cut {prepared.num_cut_documents:,} times: documents of more than {_LONGEST_DOCUMENT:,} characters")
