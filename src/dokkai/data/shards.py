"""Token shards on disk, and a prepared directory of them read as one sequence of sentences.

A shard is one file; all numbers are little-endian:

    bytes 0-5    b"DOKKAI"
    bytes 6-7    format version, uint16
    bytes 8-11   length of the header, uint32
    bytes 12-    header, JSON in UTF-8:
                     version, fingerprint (of the tokenizer), vocab_size,
                     dtype        of the tokens: "uint16" below 65,536 entries, else "uint32"
                     index_dtype  of the starts: "uint32" below 2^32 tokens, else "uint64"
                     num_tokens, num_sentences, num_documents,
                     checksum     zlib.crc32 of the payload
    payload      three arrays, each moved up with zero bytes to the next multiple of 64: the tokens; where each
                 sentence starts, in tokens; where each document starts, in sentences; both end with the total

Two documents, [[7 8] [9]] and [[5 6 7]], in a vocabulary of 30,016: the tokens are 7 8 9 5 6 7, the sentences start at
0 2 3 6, the documents at 0 2 3. A header of 200 bytes ends at byte 212, so the tokens are bytes 256-267, the sentence
starts bytes 320-335, the document starts bytes 384-395, and the file has 396 bytes.
"""

import json
import zlib
from bisect import bisect_right
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dokkai.errors import UserError
from dokkai.files import existing_file, read_json, replacing

VERSION = 1
"""Of the shard files and of ``data.json``; raised when a reader of the old format would misread the new one."""

INDEX_NAME = "data.json"
"""The file that a prepared directory gets last: what it holds and was made from."""

UNFINISHED_NAME = "unfinished"
"""The file in a directory whose preparation is under way, or was killed."""

TOKENIZER_NAME = "tokenizer"
"""The subdirectory with the tokenizer that the tokens belong to."""

SPLITS = ("train", "heldout")

_MAGIC = b"DOKKAI"
_PREFIX = len(_MAGIC) + 2 + 4
_RESERVED = 40_000_000  # tokens that a writer has room for at once; it grows when they are more
_COUNTED = 4_000_000  # tokens counted at a time: they are copied as int64
_ALIGN = 64  # bytes: one cache line, and any element size


@dataclass(frozen=True, slots=True)
class _Header:
    version: int
    fingerprint: str
    vocab_size: int
    dtype: str
    index_dtype: str
    num_tokens: int
    num_sentences: int
    num_documents: int
    checksum: int

    def arrays(self) -> list[tuple[str, int]]:
        """Type and length of the three arrays, in their order on disk."""
        return [
            (self.dtype, self.num_tokens),
            (self.index_dtype, self.num_sentences + 1),
            (self.index_dtype, self.num_documents + 1),
        ]


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The type that the tokens of such a vocabulary are stored in: uint16 or uint32."""
    return np.dtype("<u2" if vocab_size < 1 << 16 else "<u4")


def write_shard(
    path: Path,
    tokens: NDArray[Any],
    sentence_lengths: NDArray[Any],
    document_lengths: NDArray[Any],
    *,
    vocab_size: int,
    fingerprint: str,
) -> None:
    """Write a shard, whole or not at all.

    ``tokens`` (num_tokens,) are ids below ``vocab_size``; ``sentence_lengths`` (num_sentences,) counts tokens,
    ``document_lengths`` (num_documents,) counts sentences. UserError if it cannot be written.
    """
    tokens = np.ascontiguousarray(tokens, dtype=token_dtype(vocab_size))
    index_dtype = np.dtype("<u4" if len(tokens) < 1 << 32 else "<u8")
    sentence_starts, document_starts = (
        _starts(lengths, index_dtype) for lengths in (sentence_lengths, document_lengths)
    )
    if sentence_starts[-1] != len(tokens) or document_starts[-1] != len(sentence_lengths):
        raise ValueError("the lengths do not add up to the tokens and sentences there are")
    payload: list[Any] = [
        tokens.data,
        bytes(-tokens.nbytes % _ALIGN),
        sentence_starts.data,
        bytes(-sentence_starts.nbytes % _ALIGN),
        document_starts.data,
    ]
    checksum = 0
    for part in payload:
        checksum = zlib.crc32(part, checksum)
    header = _Header(
        version=VERSION,
        fingerprint=fingerprint,
        vocab_size=vocab_size,
        dtype=tokens.dtype.name,
        index_dtype=index_dtype.name,
        num_tokens=len(tokens),
        num_sentences=len(sentence_lengths),
        num_documents=len(document_lengths),
        checksum=checksum,
    )
    text = json.dumps(asdict(header)).encode()
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC + VERSION.to_bytes(2, "little") + len(text).to_bytes(4, "little") + text)
        file.write(bytes(-file.tell() % _ALIGN))
        for part in payload:
            file.write(part)


def _starts(lengths: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    starts = np.zeros(len(lengths) + 1, dtype)
    np.cumsum(lengths, out=starts[1:])
    return starts


class ShardWriter:
    """Writes documents into the shards of one split: SPLIT-00000.shard, SPLIT-00001.shard, ...

    A shard is closed at the first end of a document at or after ``shard_tokens`` tokens; a document never spans two.
    ``names`` are the finished shards, ``counts`` what they hold.
    """

    def __init__(self, directory: Path, split: str, shard_tokens: int, vocab_size: int, fingerprint: str) -> None:
        self._directory, self._split, self._shard_tokens = directory, split, shard_tokens
        self._vocab_size, self._fingerprint = vocab_size, fingerprint
        # Filled from the front and reused; pages that nothing was written to take no memory.
        self._tokens = np.empty(min(shard_tokens + shard_tokens // 8, _RESERVED), token_dtype(vocab_size))
        self._filled = 0
        self._sentence_lengths: list[NDArray[np.int64]] = []
        self.names: list[str] = []
        self.counts = {"num_tokens": 0, "num_sentences": 0, "num_documents": 0}

    def add(self, tokens: NDArray[Any], sentence_lengths: NDArray[np.int64]) -> None:
        """Append a document, and write a shard if it is full."""
        end = self._filled + len(tokens)
        if end > len(self._tokens):
            self._tokens = np.concatenate([self._tokens[: self._filled], np.empty(end, self._tokens.dtype)])
        self._tokens[self._filled : end] = tokens
        self._filled = end
        self._sentence_lengths.append(sentence_lengths.copy())  # a view would keep its whole block in memory
        if end >= self._shard_tokens:
            self._flush()

    def close(self) -> dict[str, Any]:
        """Write the last shard; the entry of this split in the index."""
        if self._filled:
            self._flush()
        return {**self.counts, "shards": self.names}

    def save_pending(self, path: Path) -> bool:
        """Write what waits for the next shard to ``path``, as a shard; False, and no file, if nothing does."""
        if self._filled:
            self._write(path)
        return self._filled > 0

    def restore(self, names: list[str], counts: dict[str, int], pending: "Shard | None") -> None:
        """Go on after these finished shards, and with what waited for the next one."""
        self.names, self.counts = list(names), dict(counts)
        if pending is not None:
            starts: NDArray[np.int64] = pending.sentence_starts.astype(np.int64)
            lengths = starts[1:] - starts[:-1]
            for first, last in pairwise(pending.document_starts.tolist()):
                begin, end = starts[[first, last]].tolist()
                self.add(pending.tokens[begin:end], lengths[first:last])

    def _flush(self) -> None:
        name = f"{self._split}-{len(self.names):05d}.shard"
        num_sentences = self._write(self._directory / name)
        self.names.append(name)
        self.counts["num_tokens"] += self._filled
        self.counts["num_sentences"] += num_sentences
        self.counts["num_documents"] += len(self._sentence_lengths)
        self._filled = 0
        self._sentence_lengths = []

    def _write(self, path: Path) -> int:
        """Returns how many sentences there were."""
        sentence_lengths = np.concatenate(self._sentence_lengths)
        write_shard(
            path,
            self._tokens[: self._filled],
            sentence_lengths,
            np.array([len(lengths) for lengths in self._sentence_lengths], np.int64),
            vocab_size=self._vocab_size,
            fingerprint=self._fingerprint,
        )
        return len(sentence_lengths)


class Shard:
    """One open shard; its arrays are read-only views of the file.

    ``tokens`` (num_tokens,), ``sentence_starts`` (num_sentences + 1,) in tokens, ``document_starts``
    (num_documents + 1,) in sentences.
    """

    def __init__(self, path: Path, header: _Header, arrays: list[NDArray[Any]]) -> None:
        self.path = path
        self.fingerprint = header.fingerprint
        self.vocab_size = header.vocab_size
        self.checksum = header.checksum
        self.tokens, self.sentence_starts, self.document_starts = arrays

    @classmethod
    def open(cls, path: Path, verify: bool = True, fingerprint: str | None = None) -> Self:
        """Map a shard into memory; ``verify`` reads it once and compares the checksum (about 2 GB/s).

        UserError if it is no shard, of another format version, truncated, damaged, or, where a ``fingerprint`` is
        given, made with another tokenizer.
        """
        path = existing_file(Path(path))
        header, start = _read_header(path)
        if fingerprint is not None and header.fingerprint != fingerprint:
            raise UserError(
                f"{path}: made with another tokenizer ({header.fingerprint[:12]}, not {fingerprint[:12]}); "
                "use that one, or prepare the text again"
            )
        places = []
        end = start
        for dtype, length in header.arrays():
            begin = end + -end % _ALIGN
            end = begin + length * np.dtype(dtype).itemsize
            places.append((begin, end, dtype))
        size = path.stat().st_size
        if size != end:
            raise UserError(
                f"{path}: has {size} bytes, but its header says {end}; it was cut or changed: prepare again"
            )
        data = np.asarray(np.memmap(path, np.uint8, mode="r"))
        if verify and zlib.crc32(data[start:].data) != header.checksum:
            raise UserError(f"{path}: damaged (its checksum differs); prepare the text again")
        arrays = [data[begin:end].view(np.dtype(dtype).newbyteorder("<")) for begin, end, dtype in places]
        tokens, sentences, documents = arrays
        ends = [sentences[0], sentences[-1], documents[0], documents[-1]]
        if verify and ends != [0, len(tokens), 0, len(sentences) - 1]:
            raise UserError(f"{path}: damaged (its header does not fit what follows); prepare the text again")
        return cls(path, header, arrays)


def _read_header(path: Path) -> tuple[_Header, int]:
    """The header and where the payload begins."""
    with path.open("rb") as file:
        prefix = file.read(_PREFIX)
        if len(prefix) < _PREFIX or not prefix.startswith(_MAGIC):
            raise UserError(f"{path} is not a dokkai shard; give a file that `dokkai prepare` wrote")
        version = int.from_bytes(prefix[6:8], "little")
        if version != VERSION:
            raise UserError(f"{path}: shard format {version}, this dokkai reads {VERSION}; prepare the text again")
        length = int.from_bytes(prefix[8:12], "little")
        text = file.read(length)
    try:
        header = _Header(**json.loads(text))
        if not {header.dtype, header.index_dtype} <= {"uint16", "uint32", "uint64"}:
            raise ValueError("no such type")
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged (its header is not readable); prepare the text again") from error
    end = _PREFIX + length
    return header, end + -end % _ALIGN


class Corpus:
    """All shards of one split of a prepared directory as one sequence of sentences, numbered from 0 over all shards.

    ``sentence_lengths`` int32 (num_sentences,) in tokens; ``document_starts`` int64 (num_documents + 1,) in sentences.
    The tokens stay on disk until they are asked for. It travels to another process by reopening the files.
    """

    def __init__(self, directory: Path, split: str, shards: list[Shard], fingerprint: str) -> None:
        self.directory = directory
        self.split = split
        self.shards = shards
        self.fingerprint = fingerprint
        self.vocab_size = shards[0].vocab_size
        self.tokenizer_directory = directory / TOKENIZER_NAME
        self.num_tokens = sum(len(shard.tokens) for shard in shards)
        self.checksum = zlib.crc32(repr([shard.checksum for shard in shards]).encode())
        self.sentence_lengths = np.concatenate([np.diff(shard.sentence_starts).astype(np.int32) for shard in shards])
        self._firsts = [0]  # the number of the first sentence of each shard, and the total
        starts: list[NDArray[np.int64]] = []
        for shard in shards:
            starts.append(shard.document_starts[:-1].astype(np.int64) + self._firsts[-1])
            self._firsts.append(self._firsts[-1] + len(shard.sentence_starts) - 1)
        self.document_starts = np.concatenate([*starts, np.array(self._firsts[-1:], np.int64)])

    @classmethod
    def open(
        cls, directory: Path, split: str = "train", fingerprint: str | None = None, *, verify: bool = True
    ) -> Self:
        """Open the split ("train" or "heldout") of a directory that ``prepare`` filled.

        UserError if it is none, is unfinished, has no such split, was made with a tokenizer of another
        ``fingerprint``, or if a shard is missing or damaged (``verify`` reads all of them once).
        """
        directory = Path(directory)
        index = read_index(directory)
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, not {split!r}")
        names = index["splits"][split]["shards"]
        if not names:
            raise UserError(f"{directory} has no {split} documents; prepare it with a held-out share above 0")
        fingerprint = fingerprint or index["fingerprint"]
        return cls(directory, split, [Shard.open(directory / name, verify, fingerprint) for name in names], fingerprint)

    @property
    def num_sentences(self) -> int:
        return len(self.sentence_lengths)

    @property
    def num_documents(self) -> int:
        return len(self.document_starts) - 1

    def sentence_tokens(self, first: int, last: int) -> NDArray[Any]:
        """The ids of the sentences [first, last) of one document: a read-only view, uint16 or uint32."""
        index = bisect_right(self._firsts, first) - 1
        if not 0 <= first < last <= self._firsts[min(index, len(self.shards) - 1) + 1]:
            raise ValueError(f"sentences {first} to {last} do not lie in one document")
        shard, base = self.shards[index], self._firsts[index]
        view: NDArray[Any] = shard.tokens[shard.sentence_starts[first - base] : shard.sentence_starts[last - base]]
        return view

    def token_counts(self, vocab_size: int) -> NDArray[np.int64]:
        """How often each token occurs: ``(vocab_size,)``."""
        counts = np.zeros(vocab_size, dtype=np.int64)
        for shard in self.shards:
            for start in range(0, len(shard.tokens), _COUNTED):
                counts += np.bincount(shard.tokens[start : start + _COUNTED], minlength=vocab_size)
        return counts

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self.directory, self.split, self.fingerprint)


def _reopen(kind: type[Corpus], directory: Path, split: str, fingerprint: str) -> Corpus:
    return kind.open(directory, split, fingerprint, verify=False)  # the sending process has done that


def read_index(directory: Path) -> dict[str, Any]:
    """What ``data.json`` of a prepared directory says; UserError if the directory is none or is unfinished."""
    directory = Path(directory)
    if not (directory / INDEX_NAME).exists():
        if (directory / UNFINISHED_NAME).exists():
            raise UserError(f"{directory}: its preparation has not finished; wait, or run the same command again")
        raise UserError(f"{directory} is not a prepared directory (no {INDEX_NAME}); make one with `dokkai prepare`")
    index = read_json(directory / INDEX_NAME, "index of a prepared directory")
    version = index.get("version") if isinstance(index, dict) else None
    if version != VERSION:
        raise UserError(f"{directory}: data format {version}, this dokkai reads {VERSION}; prepare the text again")
    if "fingerprint" not in index or not all(index.get("splits", {}).get(split) for split in SPLITS):
        raise UserError(f"{directory / INDEX_NAME}: damaged (parts of it are missing); prepare the text again")
    return dict(index)
