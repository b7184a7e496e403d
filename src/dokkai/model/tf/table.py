"""The table of an ``.index`` file: sorted keys and their values in blocks, as LevelDB lays them out.

A block is a row of entries: ``shared, rest, size`` as varints, the rest of the key, the value; ``shared`` bytes are
those of the key before. Every 16th key stands whole ("restart"); the offsets of these and their count end the block.
After each block: one byte for its compression and a checksum over both. The last 48 bytes of the file lead to an index
block, which leads to the others. Source: ``lib/io/table_format.txt`` and ``table_builder.cc`` of TensorFlow.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from dokkai.errors import UserError
from dokkai.files import existing_file
from dokkai.model.tf.checksum import masked_crc32c
from dokkai.model.tf.snappy import decompress

_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_FOOTER = 48
_TRAILER = 5
_PLAIN, _SNAPPY = 0, 1
_RESTART_EVERY = 16
_BLOCK_SIZE = 262144  # TensorFlow's: a block is closed when it has grown beyond


def read_table(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values in order. UserError for a foreign file, a wrong checksum or one that was cut short."""
    content = existing_file(path).read_bytes()
    if len(content) < _FOOTER or not content.endswith(_MAGIC):
        raise UserError(
            f"{path}: not the index of a TensorFlow checkpoint, or cut short (its last bytes are wrong); copy it again"
        )
    footer = content[-_FOOTER:]
    try:
        meta, at = _handle(footer, 0)
        _block(content, meta)  # it is empty; but damage is damage
        index, _ = _handle(footer, at)
        for _, value in _entries(_block(content, index)):
            yield from _entries(_block(content, _handle(value, 0)[0]))
    except (ValueError, IndexError) as error:
        reason = str(error) if isinstance(error, ValueError) else "cut short"
        raise UserError(f"{path}: damaged index of a TensorFlow checkpoint ({reason}); copy it again") from error


def write_table(items: Iterable[tuple[bytes, bytes]], block_size: int = _BLOCK_SIZE) -> bytes:
    """The file that holds these keys and values, byte for byte as TensorFlow writes it.

    ValueError unless the keys rise.
    """
    out = bytearray()
    index = _Block(restart_every=1)
    block = _Block()
    pending: bytes | None = None  # handle of a finished block: its key in the index depends on the key that follows
    last = b""
    for key, value in items:
        if last and key <= last:
            raise ValueError(f"the keys must rise: {key!r} after {last!r}")
        if pending is not None:
            index.add(_separator(last, key), pending)
            pending = None
        block.add(key, value)
        last = key
        if block.size >= block_size:
            pending, block = _append(out, block), _Block()
    if block.count:
        pending = _append(out, block)
    meta = _append(out, _Block())
    if pending is not None:
        index.add(_successor(last), pending)
    footer = meta + _append(out, index)
    return bytes(out + footer.ljust(_FOOTER - len(_MAGIC), b"\0") + _MAGIC)


def _block(content: bytes, handle: tuple[int, int]) -> bytes:
    start, size = handle
    end = start + size
    if end + _TRAILER > len(content) - _FOOTER:
        raise ValueError(f"block at byte {start} goes beyond the end of the file")
    kind = content[end]
    if masked_crc32c(content[start : end + 1]) != int.from_bytes(content[end + 1 : end + _TRAILER], "little"):
        raise ValueError(f"wrong checksum of the block at byte {start}")
    if kind not in (_PLAIN, _SNAPPY):
        raise ValueError(f"block at byte {start} is compressed by method {kind}, which is unknown")
    try:
        return decompress(content[start:end]) if kind == _SNAPPY else content[start:end]
    except ValueError as error:
        raise ValueError(f"Snappy block at byte {start}: {error}") from None


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    num_restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * num_restarts
    if end < 0:
        raise ValueError("a block without its list of restarts")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        rest, at = _varint(block, at)
        size, at = _varint(block, at)
        if shared > len(key) or at + rest + size > end:
            raise ValueError("an entry goes beyond its block")
        key = key[:shared] + block[at : at + rest]
        yield key, block[at + rest : at + rest + size]
        at += rest + size


def _handle(content: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and where the next bytes stand."""
    offset, at = _varint(content, at)
    size, at = _varint(content, at)
    return (offset, size), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


class _Block:
    """A block that is being written."""

    def __init__(self, restart_every: int = _RESTART_EVERY) -> None:
        self.count = 0
        self._restart_every = restart_every
        self._restarts = [0]
        self._content = bytearray()
        self._last = b""

    @property
    def size(self) -> int:
        """Bytes that it has now."""
        return len(self._content) + 4 * len(self._restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        """The next entry."""
        shared = 0
        if self.count % self._restart_every:
            shared = _common(self._last, key)
        elif self.count:
            self._restarts.append(len(self._content))
        numbers = (shared, len(key) - shared, len(value))
        self._content += b"".join(_as_varint(number) for number in numbers) + key[shared:] + value
        self._last = key
        self.count += 1

    def finish(self) -> bytes:
        """Its bytes."""
        numbers = [*self._restarts, len(self._restarts)]
        return bytes(self._content) + b"".join(number.to_bytes(4, "little") for number in numbers)


def _append(out: bytearray, block: _Block) -> bytes:
    """Write a finished block with its trailer; returns its handle."""
    content = block.finish() + bytes([_PLAIN])
    handle = _as_varint(len(out)) + _as_varint(len(content) - 1)
    out += content + masked_crc32c(content).to_bytes(4, "little")
    return handle


def _as_varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _common(left: bytes, right: bytes) -> int:
    most = min(len(left), len(right))
    return next((i for i in range(most) if left[i] != right[i]), most)


def _separator(last: bytes, first: bytes) -> bytes:
    """A short key that is not before ``last`` and before ``first`` (``FindShortestSeparator``)."""
    at = _common(last, first)
    if at < min(len(last), len(first)) and last[at] + 1 < first[at]:
        return last[:at] + bytes([last[at] + 1])
    return last


def _successor(last: bytes) -> bytes:
    """A short key that is not before ``last`` (``FindShortSuccessor``)."""
    for at, byte in enumerate(last):
        if byte != 0xFF:
            return last[:at] + bytes([byte + 1])
    return last
