"""The shard format, its errors, and a corpus of shards."""

import json
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dokkai.data import shards
from dokkai.data.shards import Corpus, Shard, ShardWriter, token_dtype, write_shard
from dokkai.errors import UserError

FINGERPRINT = "f" * 64
EXAMPLE = [[[7, 8], [9]], [[5, 6, 7]]]


def write_documents(path, documents, vocab_size=30_016, fingerprint=FINGERPRINT):
    write_shard(
        path,
        np.array([token for document in documents for sentence in document for token in sentence]),
        np.array([len(sentence) for document in documents for sentence in document]),
        np.array([len(document) for document in documents]),
        vocab_size=vocab_size,
        fingerprint=fingerprint,
    )
    return path


def read_back(shard):
    sentences = [
        shard.tokens[start:end].tolist()
        for start, end in zip(shard.sentence_starts[:-1], shard.sentence_starts[1:], strict=True)
    ]
    return [
        sentences[start:end] for start, end in zip(shard.document_starts[:-1], shard.document_starts[1:], strict=True)
    ]


def test_the_worked_example_of_the_format(tmp_path):
    data = write_documents(tmp_path / "a.shard", EXAMPLE).read_bytes()
    assert data[:6] == b"DOKKAI"
    assert data[6:8] == b"\x01\x00"
    length = int.from_bytes(data[8:12], "little")
    header = json.loads(data[12 : 12 + length])
    assert {key: header[key] for key in ("version", "fingerprint", "vocab_size", "dtype", "index_dtype")} == {
        "version": 1,
        "fingerprint": FINGERPRINT,
        "vocab_size": 30_016,
        "dtype": "uint16",
        "index_dtype": "uint32",
    }
    assert (header["num_tokens"], header["num_sentences"], header["num_documents"]) == (6, 3, 2)
    start = -(-(12 + length) // 64) * 64
    assert np.frombuffer(data[start : start + 12], "<u2").tolist() == [7, 8, 9, 5, 6, 7]
    assert np.frombuffer(data[start + 64 : start + 80], "<u4").tolist() == [0, 2, 3, 6]
    assert np.frombuffer(data[start + 128 : start + 140], "<u4").tolist() == [0, 2, 3]
    assert len(data) == start + 140


@pytest.mark.parametrize("vocab_size, name", [(65_535, "uint16"), (65_536, "uint32")])
def test_token_types(tmp_path, vocab_size, name):
    assert token_dtype(vocab_size) == name
    shard = Shard.open(write_documents(tmp_path / "a.shard", EXAMPLE, vocab_size))
    assert shard.tokens.dtype == name
    assert shard.vocab_size == vocab_size
    assert read_back(shard) == EXAMPLE


@given(
    st.lists(st.lists(st.lists(st.integers(0, 69_999), min_size=1, max_size=40), min_size=1), min_size=1, max_size=9)
)
def test_what_is_written_is_read(tmp_path_factory, documents):
    path = write_documents(tmp_path_factory.mktemp("shard") / "a.shard", documents, 70_000)
    assert read_back(Shard.open(path, fingerprint=FINGERPRINT)) == documents


def test_a_shard_is_read_only_and_not_copied(tmp_path):
    shard = Shard.open(write_documents(tmp_path / "a.shard", EXAMPLE))
    with pytest.raises(ValueError, match="read-only"):
        shard.tokens[0] = 1
    assert not shard.tokens.flags.owndata


@pytest.mark.parametrize("sentence_lengths, document_lengths", [([2, 1], [2]), ([2, 2], [1]), ([], [])])
def test_lengths_must_add_up(tmp_path, sentence_lengths, document_lengths):
    sentences, documents = np.array(sentence_lengths, int), np.array(document_lengths, int)
    with pytest.raises(ValueError, match="do not add up"):
        write_shard(tmp_path / "a.shard", np.arange(4), sentences, documents, vocab_size=10, fingerprint="")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_file(tmp_path):
    path = tmp_path / "a.shard"
    for data in (b"DOK", b"not a shard at all"):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"a\.shard is not a dokkai shard; give a file that `dokkai prepare` wrote"):
            Shard.open(path)
    with pytest.raises(UserError, match="no such file"):
        Shard.open(tmp_path / "b.shard")


def test_another_format_version(tmp_path):
    path = write_documents(tmp_path / "a.shard", EXAMPLE)
    data = bytearray(path.read_bytes())
    data[6] = 9
    path.write_bytes(data)
    with pytest.raises(UserError, match="shard format 9, this dokkai reads 1; prepare the text again"):
        Shard.open(path)


def test_another_size(tmp_path):
    path = write_documents(tmp_path / "a.shard", EXAMPLE)
    data = path.read_bytes()
    for changed in (data[:-1], data + b"\0"):
        path.write_bytes(changed)
        with pytest.raises(UserError, match=f"has {len(changed)} bytes, but its header says {len(data)}"):
            Shard.open(path, verify=False)


def test_a_flipped_byte_anywhere_in_the_payload(tmp_path):
    path = write_documents(tmp_path / "a.shard", EXAMPLE)
    data = path.read_bytes()
    for place in range(len(data) - 140, len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(UserError, match=r"damaged \(its checksum differs\); prepare the text again"):
            Shard.open(path)
    Shard.open(path, verify=False)


@pytest.mark.parametrize("place, byte", [(12, b"["), (13, b"\xff"), (15, b"X"), (8, b"\x05")])
def test_a_damaged_header(tmp_path, place, byte):
    path = write_documents(tmp_path / "a.shard", EXAMPLE)
    data = path.read_bytes()
    path.write_bytes(data[:place] + byte + data[place + 1 :])
    with pytest.raises(UserError, match=r"damaged \(its header is not readable\); prepare the text again"):
        Shard.open(path)


def test_a_header_with_an_unknown_type(tmp_path):
    path = write_documents(tmp_path / "a.shard", EXAMPLE)
    path.write_bytes(path.read_bytes().replace(b'"uint16"', b'"object"'))
    with pytest.raises(UserError, match="its header is not readable"):
        Shard.open(path)


@pytest.mark.parametrize("name", ["num_tokens", "num_sentences", "num_documents"])
def test_a_header_that_does_not_fit(tmp_path, name):
    """A digit changed in the header, which the checksum does not cover, little enough to stay within the padding."""
    path = write_documents(tmp_path / "a.shard", EXAMPLE)
    data = path.read_bytes()
    place = re.search(rb'"%s": (\d)' % name.encode(), data).start(1)
    path.write_bytes(data[:place] + str(int(data[place : place + 1]) + 1).encode() + data[place + 1 :])
    with pytest.raises(UserError, match=r"damaged|was cut or changed"):
        Shard.open(path)


def test_another_tokenizer(tmp_path):
    path = write_documents(tmp_path / "a.shard", EXAMPLE)
    message = r"made with another tokenizer \(ffffffffffff, not 000000000000\); use that one, or prepare the text again"
    with pytest.raises(UserError, match=message):
        Shard.open(path, fingerprint="0" * 64)


def fill(directory, documents, shard_tokens=4):
    writers = {
        split: ShardWriter(directory, split, shard_tokens, 30_016, FINGERPRINT) for split in ("train", "heldout")
    }
    for document in documents:
        tokens = np.array([token for sentence in document for token in sentence], np.uint16)
        writers["train"].add(tokens, np.array([len(sentence) for sentence in document]))
    splits = {split: writer.close() for split, writer in writers.items()}
    index = {"version": 1, "fingerprint": FINGERPRINT, "splits": splits}
    (directory / "data.json").write_text(json.dumps(index))
    return splits


DOCUMENTS = [[[1, 2], [3]], [[4, 5]], [[6, 7, 8, 9, 10, 11], [12], [13]], [[14]], [[15, 16], [17]]]


def test_the_writer_closes_shards_between_documents(tmp_path):
    splits = fill(tmp_path, DOCUMENTS)
    names = splits["train"]["shards"]
    assert names == ["train-00000.shard", "train-00001.shard", "train-00002.shard"]
    assert [read_back(Shard.open(tmp_path / name)) for name in names] == [DOCUMENTS[:2], DOCUMENTS[2:3], DOCUMENTS[3:]]
    assert (splits["train"]["num_tokens"], splits["train"]["num_sentences"]) == (17, 9)
    assert splits["heldout"] == {"num_tokens": 0, "num_sentences": 0, "num_documents": 0, "shards": []}


@pytest.mark.parametrize("shard_tokens", [1, 4, 8, 1000])
def test_a_corpus_is_one_sequence_of_sentences(tmp_path, shard_tokens):
    fill(tmp_path, DOCUMENTS, shard_tokens)
    corpus = Corpus.open(tmp_path)
    assert (corpus.num_tokens, corpus.num_sentences, corpus.num_documents) == (17, 9, 5)
    assert corpus.sentence_lengths.dtype == np.int32
    assert corpus.sentence_lengths.tolist() == [len(sentence) for document in DOCUMENTS for sentence in document]
    assert corpus.document_starts.tolist() == [0, 2, 3, 6, 7, 9]
    assert corpus.tokenizer_directory == tmp_path / "tokenizer"
    for copy in (corpus, pickle.loads(pickle.dumps(corpus))):
        for document, start in zip(DOCUMENTS, copy.document_starts.tolist(), strict=False):
            for first in range(len(document)):
                for last in range(first + 1, len(document) + 1):
                    expected = [token for sentence in document[first:last] for token in sentence]
                    assert copy.sentence_tokens(start + first, start + last).tolist() == expected


@pytest.mark.parametrize("counted", [1, 3, 1000])
def test_tokens_are_counted(tmp_path, monkeypatch, counted):
    monkeypatch.setattr(shards, "_COUNTED", counted)
    fill(tmp_path, DOCUMENTS, 8)
    tokens = [token for document in DOCUMENTS for sentence in document for token in sentence]
    found = Corpus.open(tmp_path).token_counts(30_016)
    assert found.tolist() == [tokens.count(token) for token in range(30_016)]


@pytest.mark.parametrize("first, last", [(-1, 1), (2, 2), (3, 1), (1, 5), (8, 10), (9, 10)])
def test_sentences_outside_of_a_document(tmp_path, first, last):
    fill(tmp_path, DOCUMENTS, 1)
    with pytest.raises(ValueError, match="do not lie in one document"):
        Corpus.open(tmp_path).sentence_tokens(first, last)


def test_what_is_no_prepared_directory(tmp_path):
    with pytest.raises(
        UserError, match=r"is not a prepared directory \(no data\.json\); make one with `dokkai prepare`"
    ):
        Corpus.open(tmp_path)
    (tmp_path / "unfinished").touch()
    with pytest.raises(UserError, match="its preparation has not finished; wait, or run the same command again"):
        Corpus.open(tmp_path)
    (tmp_path / "data.json").write_text('{"version": 1}')
    with pytest.raises(UserError, match=r"data\.json: damaged .parts of it are missing.; prepare the text again"):
        Corpus.open(tmp_path)
    for text in ('{"version": 7}', "[]"):
        (tmp_path / "data.json").write_text(text)
        with pytest.raises(UserError, match=r"data format .+, this dokkai reads 1; prepare the text again"):
            Corpus.open(tmp_path)


def test_a_split_without_documents_and_a_wrong_one(tmp_path):
    fill(tmp_path, DOCUMENTS)
    with pytest.raises(UserError, match="has no heldout documents; prepare it with a held-out share above 0"):
        Corpus.open(tmp_path, "heldout")
    with pytest.raises(ValueError, match="split must be one of"):
        Corpus.open(tmp_path, "dev")


def test_a_corpus_checks_its_shards(tmp_path):
    fill(tmp_path, DOCUMENTS)
    with pytest.raises(UserError, match="made with another tokenizer"):
        Corpus.open(tmp_path, fingerprint="0" * 64)
    write_documents(tmp_path / "train-00001.shard", EXAMPLE, fingerprint="e" * 64)
    with pytest.raises(UserError, match=r"train-00001\.shard: made with another tokenizer"):
        Corpus.open(tmp_path)
    (tmp_path / "train-00001.shard").unlink()
    with pytest.raises(UserError, match=r"train-00001\.shard: no such file"):
        Corpus.open(tmp_path)
