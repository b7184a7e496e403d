"""CRC32C as TensorFlow stores it: rotated and shifted, so that a checksum over checksums still protects."""

import google_crc32c

_DELTA = 0xA282EAD8
_STEP = 1 << 20  # bytes at a time: the library takes nothing but bytes, and a map of a file must not be copied whole


def masked_crc32c(content: bytes | memoryview) -> int:
    """The checksum of these bytes (``Mask`` in TensorFlow's ``lib/hash/crc32c.h``)."""
    crc = 0
    for start in range(0, len(content), _STEP):
        crc = google_crc32c.extend(crc, bytes(content[start : start + _STEP]))
    return ((crc >> 15 | crc << 17) + _DELTA) & 0xFFFFFFFF
