"""Corpora in which every token has an id of its own, so that an instance shows where it comes from."""

import numpy as np

from dokkai.data.masking import Vocabulary
from dokkai.data.shards import Corpus, Shard, write_shard

CLS, SEP, FIRST = 2, 3, 10
SIZE = 1 << 22
VOCABULARY = Vocabulary(CLS, SEP, 4, 0, np.arange(FIRST, 100), np.zeros(SIZE, dtype=bool))


def make_corpus(directory, documents, num_shards=1):
    """``documents`` are lists of sentence lengths; token number n of the corpus has the id ``FIRST + n``."""
    shards = []
    begin = FIRST
    for number, part in enumerate(np.array_split(np.arange(len(documents)), num_shards)):
        chosen = [documents[i] for i in part]
        lengths = np.array([length for document in chosen for length in document])
        tokens = np.arange(begin, begin + lengths.sum())
        begin += int(lengths.sum())
        path = directory / f"{number}.shard"
        counts = np.array([len(document) for document in chosen])
        write_shard(path, tokens, lengths, counts, vocab_size=SIZE, fingerprint="f" * 64)
        shards.append(Shard.open(path))
    return Corpus(directory, "train", shards, "f" * 64)


def split_pair(item):
    """The token numbers of A and B, after checking the form of the sequence."""
    ids, types = item.input_ids, item.token_type_ids
    assert ids.dtype == types.dtype == np.int64
    first, second = np.flatnonzero(ids == SEP)
    assert ids[0] == CLS
    assert second == len(ids) - 1
    assert types.tolist() == [0] * (first + 1) + [1] * (second - first)
    return ids[1:first] - FIRST, ids[first + 1 : second] - FIRST
