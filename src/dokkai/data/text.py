"""Reading raw text: plain or compressed files and standard input, line by line and document by document.

Memory stays constant: one line at a time, or one document (a part of it in ``read_parts``).
"""

import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import zstandard

from dokkai.errors import UserError
from dokkai.files import existing_file

_BUFFER = 1 << 18  # bytes asked from a decompressor at once
_SAMPLE = 1 << 22  # bytes of text by which the rest is judged
_BOM = b"\xef\xbb\xbf"
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile)

COMPRESSED = (".gz", ".xz", ".zst")
"""File name endings that are decompressed while reading."""


def open_text(path: str | Path) -> io.BufferedReader:
    """Open a plain, .gz, .xz or .zst file, or standard input for ``-``, as a stream of decompressed bytes.

    Closing it leaves standard input open. UserError if the file is missing, empty or a directory, and, while reading,
    if the compressed data are damaged or end too early.
    """
    if str(path) == "-":
        return io.BufferedReader(_Stream("standard input", sys.stdin.buffer, lent=True), _BUFFER)
    file = existing_file(Path(path))
    stream: IO[bytes]
    match file.suffix.lower():
        case ".gz":
            stream = cast(IO[bytes], gzip.GzipFile(file, "rb"))
        case ".xz" | ".zst" as kind:
            stream = _frames(file.open("rb"), kind)
        case _:
            return file.open("rb")
    return io.BufferedReader(_Stream(str(file), stream), _BUFFER)


def read_lines(path: str | Path, keep_ends: bool = False) -> Iterator[str]:
    """Yield the lines of a file that ``open_text`` opens, without their line ends (\\n or \\r\\n) unless kept.

    A byte order mark at the start is dropped. UserError names the first byte, counted from 0 in the decompressed text,
    that is not UTF-8.
    """
    with open_text(path) as stream:
        yield from decode_lines(stream, name_of(path), keep_ends)


def decode_lines(lines: Iterable[bytes], name: str, keep_ends: bool = False) -> Iterator[str]:
    """The same for the lines of a stream; ``name`` is what an error calls it."""
    offset = 0
    for line in lines:
        start = len(_BOM) if offset == 0 and line.startswith(_BOM) else 0
        try:
            text = line[start:].decode("utf-8")
        except UnicodeDecodeError as error:
            where = offset + start + error.start
            found = error.object[error.start]
            raise UserError(
                f"{name}: not UTF-8 at byte {where} of its text (0x{found:02x}); convert it to UTF-8"
            ) from error
        offset += len(line)
        yield text if keep_ends else text.removesuffix("\n").removesuffix("\r")


def name_of(path: str | Path) -> str:
    """What an error calls a file, or standard input."""
    return "standard input" if str(path) == "-" else str(path)


def read_documents(paths: Sequence[str | Path]) -> Iterator[list[str]]:
    """Yield the documents of all files: lists of non-empty stripped lines; a blank line or a new file starts the next.

    UserError if there is no text at all.
    """
    return (lines for lines, _ in read_parts(paths, sys.maxsize))


def read_parts(paths: Sequence[str | Path], max_characters: int) -> Iterator[tuple[list[str], bool]]:
    """Yield documents as ``read_documents`` does, but cut, between lines, those longer than ``max_characters``.

    The second value is true for a part that the same document goes on after: a file without any blank line is one
    endless document and would not fit in memory otherwise. A single line is never cut.
    """
    is_empty = True
    for path in paths:
        for part in _parts_of(path, max_characters):
            is_empty = False
            yield part
    if is_empty:
        raise UserError(f"no text in {', '.join(map(str, paths)) or 'no files'}; give files with UTF-8 text")


def _parts_of(path: str | Path, max_characters: int) -> Iterator[tuple[list[str], bool]]:
    lines: list[str] = []
    size = 0
    for line in read_lines(path):
        text = line.strip()
        if text:
            if lines and size + len(text) > max_characters:
                yield lines, True
                lines, size = [], 0
            lines.append(text)
            size += len(text)
        elif lines:
            yield lines, False
            lines, size = [], 0
    if lines:
        yield lines, False


class TextSize(NamedTuple):
    """How much text there is, for the time left."""

    num_bytes: int
    num_characters: int


def estimate_size(paths: Sequence[str | Path]) -> TextSize | None:
    """About how much text the files hold, judged by the beginning of each; None if one is no file or cannot be read."""
    sizes = [_estimate(Path(path)) for path in paths]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return None
    return TextSize(sum(size.num_bytes for size in known), sum(size.num_characters for size in known))


def _estimate(path: Path) -> TextSize | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            stream: IO[bytes] = file
            match path.suffix.lower():
                case ".gz":
                    stream = cast(IO[bytes], gzip.GzipFile(fileobj=file))
                case ".xz" | ".zst" as kind:
                    stream = _frames(file, kind)
            sample = stream.read(_SAMPLE)
            num_bytes = round(path.stat().st_size * len(sample) / max(1, file.tell()))
    except (OSError, *_BROKEN):
        return None  # whoever reads it will say so
    num_characters = len(sample.decode("utf-8", errors="ignore"))
    return TextSize(num_bytes, round(num_bytes * num_characters / max(1, len(sample))))


class _Stream(io.RawIOBase):
    """Bytes of another stream, with damage in compressed data told as a UserError."""

    def __init__(self, name: str, source: IO[bytes], lent: bool = False) -> None:
        self._name, self._source, self._lent = name, source, lent

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # a writable buffer, which has no name before Python 3.12
        try:
            data = self._source.read1(len(buffer)) if hasattr(self._source, "read1") else self._source.read(len(buffer))
        except _BROKEN as error:
            reason = str(error).strip().rstrip(".") or type(error).__name__
            raise UserError(f"{self._name}: damaged compressed file ({reason}); fetch or compress it again") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed and not self._lent:
            self._source.close()
        super().close()


def _frames(file: IO[bytes], kind: str) -> io.BufferedReader:
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)  # as written by zstd --long=31
    return io.BufferedReader(
        _Frames(file, lzma.LZMADecompressor if kind == ".xz" else decompressor.decompressobj), _BUFFER
    )


class _Frames(io.RawIOBase):
    """The text of a .xz or .zst file of one or more frames; a frame that is cut off raises EOFError.

    ``zstandard``'s own stream reader takes a truncated file for a complete one, and ``LZMAFile`` passes over what it
    cannot read behind a frame, all that follows included.
    """

    def __init__(self, file: IO[bytes], begin: Callable[[], Any]) -> None:
        self._file, self._begin = file, begin
        self._frame: Any = None
        self._compressed = b""
        self._text = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # a writable buffer, which has no name before Python 3.12
        while not self._text:
            if not self._compressed:
                self._compressed = self._file.read(1 << 14)  # little: what comes out may be a thousand times as much
            if not self._compressed:
                if self._frame is not None:
                    raise EOFError("it ends in the middle of a frame")
                return 0
            self._frame = self._frame or self._begin()
            self._text = memoryview(self._frame.decompress(self._compressed))
            self._compressed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
        size = min(len(buffer), len(self._text))
        buffer[:size] = self._text[:size]
        self._text = self._text[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
