"""The table of an .index file: what TensorFlow wrote, there and back, blocks of any size, Snappy, damage."""

import random
import struct

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_bert import one_line_error

from dokkai.model.tf.checksum import masked_crc32c
from dokkai.model.tf.snappy import decompress
from dokkai.model.tf.table import read_table, write_table
from released_files import GOLDEN, PREFIXES, PUBLISHED, flip, unpack_many_blocks

INDEX = "bert_model.ckpt.index"


def handles(path):
    """Offset and size of the index block, from the footer."""
    footer, numbers, at = path.read_bytes()[-48:], [], 0
    for _ in range(4):
        number = shift = 0
        while True:
            number, shift, at = number | (footer[at] & 127) << shift, shift + 7, at + 1
            if footer[at - 1] < 128:
                break
        numbers.append(number)
    return numbers[2:]


def write(path, content):
    path.write_bytes(content)
    return path


def reseal(path, at, size):
    """A fitting checksum for a block that was changed: what then is wrong must be seen by other means."""
    content = bytearray(path.read_bytes())
    content[at + size + 1 : at + size + 5] = masked_crc32c(bytes(content[at : at + size + 1])).to_bytes(4, "little")
    path.write_bytes(content)


def test_checksums_known_elsewhere():
    """RFC 3720, appendix B.4, and TensorFlow's crc32c_test.cc: the mask is no plain CRC."""
    for content, crc in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)):
        assert masked_crc32c(content) == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
    long = bytes(range(256)) * 9000  # more than one step
    crc = google_crc32c.value(long)
    assert masked_crc32c(memoryview(long)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


@pytest.mark.parametrize("name", PREFIXES)
def test_written_as_tensorflow_writes(name):
    path = PREFIXES[name].with_name(f"{PREFIXES[name].name}.index")
    items = list(read_table(path))
    assert [key for key, _ in items] == sorted(key for key, _ in items)
    assert items[0][0] == b""
    assert write_table(items) == path.read_bytes()


def test_several_blocks_as_tensorflow_writes_them(tmp_path):
    path = unpack_many_blocks(tmp_path / "blocks").with_suffix(".ckpt.index")
    assert len(path.read_bytes()) > 2 * 262144
    items = list(read_table(path))
    assert len(items) == 601
    assert write_table(items) == path.read_bytes()


def test_snappy_blocks_hold_the_same():
    packed = GOLDEN / "snappy" / INDEX
    assert packed.stat().st_size < 0.7 * (PUBLISHED / INDEX).stat().st_size
    assert list(read_table(packed)) == list(read_table(PUBLISHED / INDEX))


@given(
    st.dictionaries(st.binary(max_size=12), st.binary(max_size=200), max_size=60),
    st.sampled_from([1, 40, 300, 262144]),
)
def test_any_keys_in_blocks_of_any_size(tmp_path_factory, items, block_size):
    path = tmp_path_factory.getbasetemp() / "any.index"
    items = sorted(items.items())
    path.write_bytes(write_table(items, block_size))
    assert list(read_table(path)) == items


def test_keys_must_rise():
    with pytest.raises(ValueError, match="the keys must rise: b'a' after b'b'"):
        write_table([(b"b", b""), (b"a", b"")])


# ---- Snappy


def test_every_element_of_snappy():
    """By hand, from the description of the format: literals of both kinds, copies of all three, one over itself."""
    long = bytes(random.Random(0).randbytes(70))
    block = b"".join(
        [
            b"\x86\x01",  # 134 bytes in all
            bytes([60 << 2, len(long) - 1]) + long,  # a literal whose length stands in a byte of its own
            bytes([2 << 2]) + b"abc",  # a short literal
            bytes([(11 - 4) << 2 | 1, 3]),  # 11 bytes from 3 back: abcabcabcab
            bytes([(30 - 1) << 2 | 2]) + struct.pack("<H", 84),  # 30 bytes from the beginning
            bytes([(20 - 1) << 2 | 3]) + struct.pack("<I", 1),  # the last byte twenty times
        ]
    )
    out = long + b"abc" + (b"abc" * 4)[:11] + long[:30]
    assert decompress(block) == out + out[-1:] * 20


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (b"", "cut short"),
        (b"\x80", "cut short"),
        (b"\x05\x10abc", "bytes where 5 were promised"),
        (b"\x03\x08abcd", "cut short|promised"),
        (b"\x08\x08abc\x05\x04", "a copy from 4 bytes back, where 3 are known"),
        (b"\x08\x08abc\x05\x00", "a copy from 0 bytes back"),
        (b"\x08\x08abc\x06\x01", "cut short"),
        (b"\x04\xf4\x01", "cut short"),
    ],
)
def test_damaged_snappy(block, message):
    with pytest.raises(ValueError, match=message):
        decompress(block)


# ---- damage


@pytest.fixture
def index(tmp_path):
    return write(tmp_path / INDEX, (PUBLISHED / INDEX).read_bytes())


def test_a_flipped_bit_anywhere_before_the_footer(index):
    whole = index.read_bytes()
    for at in range(0, len(whole) - 48, 7):
        flip(index, at)
        with one_line_error(r"bert_model.ckpt.index: damaged index of a TensorFlow checkpoint \(.*; copy it again"):
            list(read_table(index))
        index.write_bytes(whole)


def test_a_wrong_checksum_is_called_so(index):
    flip(index, 100)
    with one_line_error(r"\(wrong checksum of the block at byte 0\); copy it again"):
        list(read_table(index))


@pytest.mark.parametrize("kept", [10, 60, 1000, -1])
def test_cut_short(kept, index):
    index.write_bytes(index.read_bytes()[:kept])
    with one_line_error("bert_model.ckpt.index: not the index of a TensorFlow checkpoint, or cut short"):
        list(read_table(index))


def test_the_middle_is_missing(index):
    whole = index.read_bytes()
    index.write_bytes(whole[-60:])
    with one_line_error("block at byte [0-9]+ goes beyond the end of the file"):
        list(read_table(index))


def test_a_foreign_file(index):
    index.write_bytes(b"PK\3\4 and so on, a file of some other program" * 9)
    with one_line_error("not the index of a TensorFlow checkpoint"):
        list(read_table(index))


def test_no_file_and_an_empty_one(tmp_path):
    with one_line_error("none.index: no such file"):
        list(read_table(tmp_path / "none.index"))
    with one_line_error("empty.index is empty"):
        list(read_table(write(tmp_path / "empty.index", b"")))


def test_a_compression_that_is_unknown(index):
    at, size = handles(index)
    content = bytearray(index.read_bytes())
    content[at + size] = 4
    index.write_bytes(content)
    reseal(index, at, size)
    with one_line_error(f"block at byte {at} is compressed by method 4, which is unknown"):
        list(read_table(index))


def test_bytes_that_say_snappy_and_are_not(index):
    at, size = handles(index)
    content = bytearray(index.read_bytes())
    content[at + size] = 1
    index.write_bytes(content)
    reseal(index, at, size)
    with one_line_error(f"Snappy block at byte {at}: "):
        list(read_table(index))


@pytest.mark.parametrize(("at", "byte", "message"), [(2, 99, "an entry goes beyond its block"), (-1, 9, "restarts")])
def test_a_block_with_a_right_checksum_and_wrong_contents(at, byte, message, index):
    start, size = handles(index)
    content = bytearray(index.read_bytes())
    content[start + at if at >= 0 else start + size + at] = byte
    index.write_bytes(content)
    reseal(index, start, size)
    with one_line_error(message):
        list(read_table(index))
