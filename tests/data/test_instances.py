"""Instances that are drawn anew in each epoch."""

import math
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_corpus import CLS, FIRST, SEP, VOCABULARY, make_corpus, split_pair

from dokkai.data.instances import FullSequences, SentencePairs, _truncate_pair
from dokkai.data.order import generator


def pairs(corpus, length, short_share=0.1, random_next_share=0.5):
    return SentencePairs(corpus, VOCABULARY, length, short_share, random_next_share)


def epoch_of(instances, epoch=0, seed=0):
    return [instances.instance(i, generator(seed, "instances", 0, epoch, i)) for i in range(len(instances))]


def places(documents):
    """The document of each token."""
    return np.repeat(np.arange(len(documents)), [sum(document) for document in documents])


def check_pair(item, length, document_of):
    a, b = split_pair(item)
    assert len(item.input_ids) <= length
    assert len(a) > 0
    assert len(b) > 0
    for part in (a, b):  # an unbroken piece of one document
        assert np.array_equal(part, np.arange(part[0], part[0] + len(part)))
        assert document_of[part[0]] == document_of[part[-1]]
    assert (document_of[a[0]] != document_of[b[0]]) == item.is_random_next
    if not item.is_random_next:
        assert b[0] > a[-1]
        if len(item.input_ids) < length:  # nothing was cut away between them
            assert b[0] == a[-1] + 1
    return a, b


documents_strategy = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(documents_strategy, st.integers(8, 64), st.integers(1, 3))
def test_pairs_of_any_corpus(tmp_path_factory, documents, length, num_shards):
    """Short and long sentences and documents, one document or several, one shard or several."""
    if documents == [[1]]:
        documents = [[2]]  # a corpus of one token has no pairs
    corpus = make_corpus(tmp_path_factory.mktemp("corpus"), documents, min(num_shards, len(documents)))
    document_of = places(documents)
    if len(documents) == 1:
        document_of = np.zeros(sum(documents[0]), dtype=int)
    instances = pairs(corpus, length)
    seen = set()
    for item in epoch_of(instances):
        if len(documents) == 1:
            assert not item.is_random_next
        a, _ = check_pair(item, length, document_of)
        seen.add(int(document_of[a[0]]))
    assert seen == set(range(len(documents)))


@settings(max_examples=60, deadline=None)
@given(documents_strategy, st.integers(8, 64), st.integers(1, 3))
def test_full_sequences_of_any_corpus(tmp_path_factory, documents, length, num_shards):
    corpus = make_corpus(tmp_path_factory.mktemp("corpus"), documents, min(num_shards, len(documents)))
    ends = set(accumulate(sum(document) for document in documents))
    for item in epoch_of(FullSequences(corpus, VOCABULARY, length)):
        ids = item.input_ids
        assert not item.is_random_next
        assert not item.token_type_ids.any()
        assert ids[0] == CLS
        assert ids[-1] == SEP
        text = ids[1:-1]
        tokens = text[text != SEP] - FIRST
        assert np.array_equal(tokens, np.arange(tokens[0], tokens[0] + len(tokens)))
        shard = next(s for s in corpus.shards if s.tokens[0] <= tokens[0] + FIRST <= s.tokens[-1])
        if len(shard.tokens) >= length - 2:
            assert len(ids) == length
        expected = [CLS]  # [SEP] behind the last token of every document inside, and nowhere else
        for token in tokens.tolist():
            if token in ends and len(expected) > 1:
                expected.append(SEP)
            expected.append(token + FIRST)
        expected = expected[: len(ids) - 1]
        if text[-1] == SEP and len(expected) < len(ids) - 1:
            assert int(tokens[-1]) + 1 in ends
            expected.append(SEP)
        assert ids.tolist() == [*expected, SEP]


def test_an_instance_is_a_function_of_seed_epoch_and_index(tmp_path):
    corpus = make_corpus(tmp_path, [[7, 12, 20, 9] * 5] * 20, 2)
    for instances in (pairs(corpus, 32), FullSequences(corpus, VOCABULARY, 32)):
        first, again, epoch, seed = (
            [item.input_ids.tolist() for item in epoch_of(instances, *key)] for key in ((0, 0), (0, 0), (1, 0), (0, 1))
        )
        assert first == again
        for other in (epoch, seed):
            same = sum(x == y for x, y in zip(first, other, strict=True))
            assert same < 0.1 * len(first)


def test_shares_of_the_paper(tmp_path):
    """Over 400,000 tokens: half of the pairs random, a tenth of the sequences short, in both kinds alike."""
    length = 64
    documents = [[1] * 13_000] * 4  # sentences of one token: a sequence that is not short is exactly full
    corpus = make_corpus(tmp_path, documents, 2)
    instances = pairs(corpus, length)
    items = [item for epoch in range(8) for item in epoch_of(instances, epoch)]
    assert sum(len(item.input_ids) for item in items) > 100_000
    is_random = np.array([item.is_random_next for item in items])
    is_full = np.array([len(item.input_ids) == length for item in items])
    room = length - 3
    short = 0.1 * (1 - 1 / (room - 1))  # of the lengths 2 to ``room`` one is full all the same
    for found, share in (
        (is_random, 0.5),
        (~is_full, short),
        (~is_full[is_random], short),
        (~is_full[~is_random], short),
    ):
        assert abs(found.mean() - share) < 3 * math.sqrt(share * (1 - share) / len(found))
    lengths = np.array([len(item.input_ids) for item in items])[~is_full] - 3
    middle, spread = (2 + room - 1) / 2, (room - 2) / math.sqrt(12)
    assert abs(lengths.mean() - middle) < 3 * spread / math.sqrt(len(lengths))  # short ones are evenly short


def test_length_does_not_tell_a_random_pair(tmp_path):
    """In documents of many sizes too, pairs of both kinds are full and short about equally often."""
    rng = np.random.default_rng(0)
    documents = [rng.integers(3, 40, rng.integers(5, 200)).tolist() for _ in range(200)]
    instances = pairs(make_corpus(tmp_path, documents), 128)
    items = [item for epoch in range(2) for item in epoch_of(instances, epoch)]
    lengths = {kind: np.array([len(i.input_ids) for i in items if i.is_random_next == kind]) for kind in (True, False)}
    for threshold in (32, 64, 96, 128):
        assert abs((lengths[True] < threshold).mean() - (lengths[False] < threshold).mean()) < 0.05


def test_an_epoch_shows_all_documents_and_nearly_all_tokens(tmp_path):
    rng = np.random.default_rng(0)
    documents = [rng.integers(3, 40, rng.integers(1, 80)).tolist() for _ in range(60)]
    corpus = make_corpus(tmp_path, documents, 3)
    num_tokens = sum(map(sum, documents))
    document_of = places(documents)

    def seen(instances, num_epochs):
        found = np.zeros(num_tokens, dtype=bool)
        for epoch in range(num_epochs):
            for item in epoch_of(instances, epoch):
                found[item.input_ids[item.input_ids >= FIRST] - FIRST] = True
        return found

    in_order = seen(pairs(corpus, 128, short_share=0, random_next_share=0), 1)
    assert in_order.mean() > 0.9  # the rest is cut off where the last sentence does not fit, as in the release
    assert set(document_of[in_order]) == set(range(60))
    # A random B takes the place of text, which is then seen in another epoch, or as the B of another instance.
    as_in_the_paper = [seen(pairs(corpus, 128), num_epochs).mean() for num_epochs in (1, 4)]
    assert as_in_the_paper[0] > 0.7
    assert as_in_the_paper[1] > 0.98
    full = [seen(FullSequences(corpus, VOCABULARY, 128), num_epochs).mean() for num_epochs in (1, 4)]
    assert full[0] > 0.78
    assert full[1] > 0.98


def test_long_sentences_are_seen_from_end_to_end(tmp_path):
    """A sentence of ten sequences: A and B are adjacent, and no part of it is left out."""
    documents = [[1250], [5, 1250, 5], [20] * 20]
    corpus = make_corpus(tmp_path, documents)
    document_of = places(documents)
    found = np.zeros(len(document_of), dtype=bool)
    for epoch in range(3):
        for item in epoch_of(pairs(corpus, 128, random_next_share=0), epoch):
            a, b = check_pair(item, 128, document_of)
            if document_of[a[0]] < 2:
                assert b[0] - a[-1] <= 10
            found[a] = found[b] = True
    assert found.mean() > 0.97


def test_short_documents(tmp_path):
    documents = [[1], [2], [1, 1], [3], [1], [40, 50]]
    corpus = make_corpus(tmp_path, documents, 3)
    document_of = places(documents)
    instances = pairs(corpus, 64, random_next_share=0)
    assert len(instances) == 7
    for epoch in range(10):
        for item in epoch_of(instances, epoch):
            a, _ = check_pair(item, 64, document_of)
            assert item.is_random_next == (document_of[a[0]] in (0, 4))  # of one token there is no other B


def test_random_texts_come_from_all_other_documents(tmp_path):
    documents = [[5, 6, 7]] * 5
    corpus = make_corpus(tmp_path, documents, 2)
    document_of = places(documents)
    counts = np.zeros((5, 5), dtype=int)
    for epoch in range(400):
        for item in epoch_of(pairs(corpus, 16, random_next_share=1), epoch):
            a, b = check_pair(item, 16, document_of)
            counts[document_of[a[0]], document_of[b[0]]] += 1
    assert not counts.diagonal().any()
    others = counts[~np.eye(5, dtype=bool)].reshape(5, 4)
    expected = others.sum(1, keepdims=True) / 4
    assert ((others - expected) ** 2 / expected).sum() < 15 + 3 * math.sqrt(30)


def release_truncation(num_a, num_b, room):
    """``truncate_seq_pair`` of the release, as far as it is not random."""
    while num_a + num_b > room:
        if num_a > num_b:
            num_a -= 1
        else:
            num_b -= 1
    return num_a, num_b


def test_pairs_are_truncated_as_in_the_release():
    rng = np.random.default_rng(0)
    for num_a in range(1, 40):
        for num_b in range(1, 40):
            for room in (5, 12, 13):
                a, b = _truncate_pair(np.arange(num_a), np.arange(num_b), room, rng)
                assert (len(a), len(b)) == release_truncation(num_a, num_b, room)
    removed = [_truncate_pair(np.arange(100), np.arange(10), 60, rng)[0][0] for _ in range(2000)]
    assert abs(np.mean(removed) - 25) < 3 * math.sqrt(50 / 4 / 2000)  # each of the 50 from the front or the back
    assert np.var(removed) == pytest.approx(50 / 4, rel=0.15)
