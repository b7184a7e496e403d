"""Snappy, the way back only: a raw block to plain bytes (format_description.txt of google/snappy)."""


def decompress(block: bytes) -> bytes:
    """The plain bytes; ValueError if the block is damaged."""
    try:
        size, at = _preamble(block)
        out = bytearray()
        while at < len(block):
            kind, rest = block[at] & 3, block[at] >> 2
            at += 1
            if kind == 0:  # literal bytes
                if rest >= 60:  # the length stands in the next 1 to 4 bytes
                    extra = rest - 59
                    rest, at = _number(block, at, extra), at + extra
                out += block[at : at + rest + 1]
                at += rest + 1
                continue
            if kind == 1:  # a copy of 4 to 11 bytes
                length, back = (rest & 7) + 4, (rest >> 3) << 8 | block[at]
                at += 1
            else:  # a copy of 1 to 64 bytes
                width = 2 if kind == 2 else 4
                length, back = rest + 1, _number(block, at, width)
                at += width
            if not 0 < back <= len(out):
                raise ValueError(f"a copy from {back} bytes back, where {len(out)} are known")
            for _ in range(length):  # byte by byte: a copy may overlap itself
                out.append(out[-back])
    except IndexError:
        raise ValueError("cut short") from None
    if len(out) != size or at != len(block):
        raise ValueError(f"{len(out)} bytes where {size} were promised")
    return bytes(out)


def _preamble(block: bytes) -> tuple[int, int]:
    size = shift = at = 0
    while True:
        size |= (block[at] & 0x7F) << shift
        shift += 7
        at += 1
        if block[at - 1] < 0x80:
            return size, at


def _number(block: bytes, at: int, width: int) -> int:
    if at + width > len(block):
        raise IndexError
    return int.from_bytes(block[at : at + width], "little")
