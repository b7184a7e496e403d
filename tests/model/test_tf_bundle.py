"""Bundles of tensors: bit for bit what TensorFlow wrote, byte for byte what it would write, and damage."""

import shutil

import numpy as np
import pytest
import torch
from tiny_bert import one_line_error

from dokkai.model.tf.bundle import Bundle, write_bundle
from dokkai.model.tf.checksum import masked_crc32c
from dokkai.model.tf.messages import Entry, Header, entry_bytes, header_bytes, parse_entry, parse_header
from dokkai.model.tf.table import read_table, write_table
from released_files import GOLDEN, PREFIXES, assert_bit_equal, bits, copy, expected, flip, unpack_many_blocks

WORDS = "bert/embeddings/word_embeddings"


def read_all(prefix, names=None):
    bundle = Bundle(prefix)
    return {name: bundle.tensor(name) for name in names or bundle.entries}


def change_index(prefix, changes):
    """Write an index again with other values under some keys; its checksums fit."""
    path = prefix.with_name(f"{prefix.name}.index")
    items = dict(read_table(path)) | changes
    path.write_bytes(write_table(sorted(items.items())))


def change_entry(prefix, name, **changes):
    entry = Bundle(prefix).entries[name]
    values = {field: getattr(entry, field) for field in Entry.__slots__}
    change_index(prefix, {name.encode(): entry_bytes(Entry(**values | changes))})


# ---- what TensorFlow wrote


@pytest.mark.parametrize("name", PREFIXES)
def test_tensors_are_bit_equal(name):
    wanted = expected(name)
    assert_bit_equal(read_all(PREFIXES[name], wanted), wanted)


def test_several_data_files():
    bundle = Bundle(PREFIXES["sharded"])
    assert bundle.header == Header(num_shards=3)
    assert {entry.shard for entry in bundle.entries.values()} == {0, 1, 2}
    assert bundle.shard_path(2).name == "bert_model.ckpt.data-00002-of-00003"


def test_an_index_of_several_blocks(tmp_path):
    tensors = read_all(unpack_many_blocks(tmp_path / "blocks"))
    assert [int(tensor) for tensor in tensors.values()] == list(range(600))


def test_a_snappy_index(tmp_path):
    prefix = copy("published", tmp_path / "copy")
    shutil.copy(GOLDEN / "snappy" / "bert_model.ckpt.index", prefix.parent)
    assert_bit_equal(read_all(prefix), expected("published"))


def test_every_kind_of_number():
    wanted = expected("kinds")
    assert {tensor.dtype for tensor in wanted.values()} == {
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
        *(torch.int64, torch.int32, torch.int16, torch.int8),
        *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
    }
    entries = Bundle(PREFIXES["kinds"]).entries
    assert any(entry.offset % 4 for entry in entries.values() if entry.dtype == 1), "none begins at an odd place"
    assert entries["scalar"].shape == () and entries["empty"].shape == (0, 4)


def test_nothing_is_copied_and_nothing_written(tmp_path):
    """Tensors lie in a private map of the file."""
    prefix = copy("published", tmp_path / "copy")
    before = Bundle(prefix).shard_path(0).read_bytes()
    bundle = Bundle(prefix)
    tensor = bundle.tensor(WORDS)
    tensor[0, 0] = 99.0
    assert bundle.tensor("bert/pooler/dense/bias").untyped_storage().nbytes() < len(before)
    assert bundle.shard_path(0).read_bytes() == before


# ---- what we write


@pytest.mark.parametrize("name", [name for name in PREFIXES if name not in ("sharded", "kinds")])
def test_files_are_those_that_tensorflow_writes(name, tmp_path):
    write_bundle(expected(name), tmp_path / PREFIXES[name].name)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [f"{PREFIXES[name].name}.{end}" for end in ("data-00000-of-00001", "index")]
    for file in files:
        assert (tmp_path / file).read_bytes() == (PREFIXES[name].parent / file).read_bytes()


def test_every_kind_there_and_back(tmp_path):
    tensors = expected("kinds") | {
        "nan": torch.tensor([float("nan"), -0.0, float("inf")]),
        "turned": torch.arange(6.0).reshape(2, 3).t(),
        "日本": torch.ones(1),
    }
    write_bundle(tensors, tmp_path / "x.ckpt")
    assert_bit_equal(read_all(tmp_path / "x.ckpt"), {name: tensor.contiguous() for name, tensor in tensors.items()})


def test_big_endian_files(tmp_path):
    """As a big-endian machine writes them; the checksum is over the bytes as they lie there."""
    tensors = {
        "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "long": torch.tensor([[1, -(2**40)]]),
        "real": torch.randn(3, 2),
        "small": torch.tensor([1, 2, 3], dtype=torch.int8),
    }
    prefix = tmp_path / "big.ckpt"
    entries, content = {b"": header_bytes(Header(is_big_endian=True))}, b""
    for (name, tensor), dtype in zip(tensors.items(), (14, 9, 1, 6), strict=True):
        turned = np.frombuffer(bits(tensor), f"u{tensor.element_size()}").byteswap().tobytes()
        entry = Entry(dtype, tuple(tensor.shape), 0, len(content), len(turned), masked_crc32c(turned))
        entries[name.encode()] = entry_bytes(entry)
        content += turned
    prefix.with_suffix(".ckpt.index").write_bytes(write_table(entries.items()))
    prefix.with_suffix(".ckpt.data-00000-of-00001").write_bytes(content)
    assert_bit_equal(read_all(prefix), tensors)


def test_messages_there_and_back():
    for header in (Header(), Header(3, True, 1)):
        assert parse_header(header_bytes(header)) == header
    for entry in (Entry(1, (), 0, 0, 4, 0), Entry(14, (3, 0, 2**40), 2, 2**41, 7, 2**32 - 1)):
        assert parse_entry(entry_bytes(entry)) == entry
    with pytest.raises(ValueError, match="negative"):
        parse_entry(entry_bytes(Entry(1, (-1,), 0, 0, 4, 0)))


# ---- damage


@pytest.fixture
def prefix(tmp_path):
    return copy("published", tmp_path / "copy")


def test_a_wrong_checksum_of_a_tensor(prefix):
    bundle = Bundle(prefix)
    flip(bundle.shard_path(0), bundle.entries[WORDS].offset + 5)
    with one_line_error(r"bert_model.ckpt.data-00000-of-00001: wrong checksum of bert/embeddings/word_embeddings; "):
        Bundle(prefix).tensor(WORDS)
    assert_bit_equal(
        {"x": Bundle(prefix).tensor("bert/pooler/dense/bias")}, {"x": expected("published")["bert/pooler/dense/bias"]}
    )


def test_a_missing_data_file(tmp_path):
    prefix = copy("sharded", tmp_path / "copy")
    bundle = Bundle(prefix)
    bundle.shard_path(1).unlink()
    lost = next(name for name, entry in bundle.entries.items() if entry.shard == 1)
    with one_line_error(r"data-00001-of-00003: no such file; this checkpoint has 3 data file\(s\), put all of them"):
        bundle.tensor(lost)


def test_a_data_file_that_was_cut_short(prefix):
    path = Bundle(prefix).shard_path(0)
    path.write_bytes(path.read_bytes()[:-10])
    last = max(Bundle(prefix).entries.items(), key=lambda item: item[1].offset)[0]
    with one_line_error(f"cut short: it has 7294 bytes, but {last} ends at byte 7304; copy it again"):
        Bundle(prefix).tensor(last)
    path.write_bytes(b"")
    with one_line_error("data-00000-of-00001 is empty"):
        Bundle(prefix).tensor(last)


def test_a_name_that_is_not_there(prefix):
    with one_line_error("no tensor 'bert/pooler/dense/bais' in it; did you mean 'bert/pooler/dense/bias'"):
        Bundle(prefix).tensor("bert/pooler/dense/bais")


def test_what_is_not_read():
    bundle = Bundle(PREFIXES["kinds"])
    assert "sliced" in bundle.entries
    with one_line_error(r"kinds.ckpt.index: sliced was saved in slices \(a partitioned variable\), which is not"):
        bundle.tensor("sliced")
    with one_line_error(r"text has dtype 7 of TensorFlow's list \(7 is text\), which is not supported; there is: "):
        bundle.tensor("text")
    with one_line_error(r"quantized has dtype 11 of TensorFlow's list"):
        bundle.tensor("quantized")


def test_entries_that_contradict_themselves(prefix):
    change_entry(prefix, WORDS, shape=(40, 9))
    with one_line_error(r"word_embeddings has 1280 bytes, not those of float32 \(40, 9\)"):
        Bundle(prefix).tensor(WORDS)
    change_entry(prefix, WORDS, shape=(40, 8), shard=4)
    with one_line_error("word_embeddings in data file 4 of 1"):
        Bundle(prefix).tensor(WORDS)


def test_a_table_that_is_no_checkpoint(tmp_path):
    prefix = tmp_path / "x.ckpt"
    path = tmp_path / "x.ckpt.index"
    path.write_bytes(write_table([(b"key", entry_bytes(Entry(1, (), 0, 0, 4, 0)))]))
    with one_line_error("x.ckpt.index: no header in it; this is a table of TensorFlow, but no checkpoint"):
        Bundle(prefix)
    path.write_bytes(write_table([(b"key", b"\xff\xff\xff")]))
    with one_line_error(r"x.ckpt.index: the entry b'key' is not one of a checkpoint"):
        Bundle(prefix)


def test_a_later_format(prefix):
    change_index(prefix, {b"": header_bytes(Header(min_consumer=2))})
    with one_line_error("version 2 of the format; dokkai reads version 1"):
        Bundle(prefix)
