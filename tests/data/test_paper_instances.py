"""Instances of 2018, beside the release's algorithm written again with plain lists."""

import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_corpus import SIZE, VOCABULARY, make_corpus, split_pair

from dokkai.data.order import generator
from dokkai.data.paper_instances import PaperPairs, _random_texts, walk_documents


def paper_pairs(corpus, length, short_share=0.1, random_next_share=0.5, duplicates=10):
    return PaperPairs(corpus, VOCABULARY, length, short_share, random_next_share, duplicates)


def release_instances(documents, max_seq_length, short_seq_prob, rng):
    """``create_instances_from_document`` for all documents: ``(document, A, B, is_random)``; sentences are lists."""
    for number, document in enumerate(documents):
        max_num_tokens = max_seq_length - 3
        target = max_num_tokens
        if rng.random() < short_seq_prob:
            target = rng.randint(2, max_num_tokens)
        chunk, length, i = [], 0, 0
        while i < len(document):
            chunk.append(document[i])
            length += len(document[i])
            if i == len(document) - 1 or length >= target:
                a_end = rng.randint(1, len(chunk) - 1) if len(chunk) >= 2 else 1
                a = [token for sentence in chunk[:a_end] for token in sentence]
                if is_random := len(chunk) == 1 or rng.random() < 0.5:
                    for _ in range(10):
                        other = rng.randint(0, len(documents) - 1)
                        if other != number:
                            break
                    b = []
                    for sentence in documents[other][rng.randint(0, len(documents[other]) - 1) :]:
                        b += sentence
                        if len(b) >= target - len(a):
                            break
                    i -= len(chunk) - a_end
                else:
                    b = [token for sentence in chunk[a_end:] for token in sentence]
                while len(a) + len(b) > max_num_tokens:
                    longer = a if len(a) > len(b) else b
                    del longer[0 if rng.random() < 0.5 else -1]
                yield number, a, b, is_random
                chunk, length = [], 0
            i += 1


def as_lists(documents):
    """Documents of numbered tokens, from their sentence lengths."""
    tokens = iter(range(sum(map(sum, documents))))
    return [[[next(tokens) for _ in range(length)] for length in document] for document in documents]


def check_document(document, first, found, room, documents):
    """Follow the release through a document, with the choices that were made; which targets fit what came of them.

    ``document`` has its sentence lengths, ``first`` is the number of its first sentence, ``found`` its instances.
    """
    targets = set(range(2, room + 1))
    bounds = np.cumsum([0, *map(len, documents)])
    i = 0
    for a_first, a_last, b_first, b_last, is_random in found:
        fitting = {}
        for target in targets:
            n, length = 0, 0
            while i + n < len(document) and length < target:
                length += document[i + n]
                n += 1
            fitting.setdefault(n, set()).add(target)
        assert a_first == first + i
        a_end = a_last - a_first
        if is_random:  # a random number of the n sentences; the rest is pushed back
            targets = set().union(*(t for n, t in fitting.items() if a_end == n == 1 or 1 <= a_end < n))
            i += a_end
            owner = int(np.searchsorted(bounds, b_first, side="right")) - 1
            taken = np.concatenate(documents)[b_first:b_last].tolist()
            assert b_last <= bounds[owner + 1]
            a_length = sum(document[a_first - first : a_last - first])
            targets = {  # sentences until the rest of the target is full, or the document ends
                t
                for t in targets
                if sum(taken[:-1]) < max(1, t - a_length)
                and (sum(taken) >= t - a_length or b_last == bounds[owner + 1])
            }
        else:
            assert b_first == a_last
            n = b_last - a_first
            assert 1 <= a_end < n
            targets = fitting[n]
            i += n
        assert targets
    assert i == len(document)
    return targets


documents_strategy = st.lists(
    st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=1, max_size=6, unique_by=tuple
)


@settings(max_examples=80, deadline=None)
@given(documents_strategy, st.integers(8, 64), st.integers(0, 3), st.booleans())
def test_every_instance_is_one_the_release_could_make(tmp_path_factory, documents, length, duplicate, is_short):
    """Where A and B begin and end, what is pushed back, and that one target holds for a whole document."""
    corpus = make_corpus(tmp_path_factory.mktemp("corpus"), documents)
    walk = paper_pairs(corpus, length, short_share=float(is_short)).walk(duplicate)
    owners = np.searchsorted(corpus.document_starts, walk.sentences[0], side="right") - 1
    for number, document in enumerate(documents):
        rows = [(*map(int, walk.sentences[:, i]), bool(walk.is_random[i])) for i in np.flatnonzero(owners == number)]
        targets = check_document(document, int(corpus.document_starts[number]), rows, length - 3, documents)
        assert is_short or length - 3 in targets


def means(rows, num_documents):
    """What one pass over the documents looks like, in a few numbers."""
    sizes = np.array([(len(a), len(b), is_random) for _, a, b, is_random in rows])
    a, b, is_random = sizes.T
    return {
        "instances": len(sizes),
        "random": is_random.mean(),
        "tokens of A": a.mean(),
        "tokens of B": b.mean(),
        "tokens of A before a random B": a[is_random == 1].mean(),
        "tokens of a random B": b[is_random == 1].mean(),
        "full": (a + b == (a + b).max()).mean(),
        "below half": (a + b < (a + b).max() / 2).mean(),
        "deviation of A": a.std(),
        "documents of one instance": (np.bincount([n for n, *_ in rows], minlength=num_documents) == 1).sum(),
    }


@pytest.mark.parametrize("length", [64, 128])
def test_statistics_are_those_of_the_release(tmp_path, length):
    """12 duplicates of 50,000 tokens beside 12 passes of the plain algorithm: means within three standard errors."""
    rng = np.random.default_rng(7)
    documents = [rng.integers(1, 60, rng.integers(1, 40)).tolist() for _ in range(100)]
    assert sum(map(sum, documents)) > 45_000
    corpus = make_corpus(tmp_path, documents, 2)
    instances = paper_pairs(corpus, length, duplicates=12)
    owner = np.repeat(np.arange(len(documents)), [sum(document) for document in documents])
    ours, theirs = [], []
    plain, draws = as_lists(documents), random.Random(7)
    for duplicate in range(12):
        rows = []
        for chosen in range(len(instances.walk(duplicate).is_random)):
            index = chosen * 12 + duplicate
            item = instances.instance(index, generator(1, "instances", 0, duplicate, chosen))
            a, b = split_pair(item)
            assert np.array_equal(b, np.arange(b[0], b[0] + len(b)))
            assert (owner[a[0]] == owner[b[0]]) != item.is_random_next
            rows.append((int(owner[a[0]]), a, b, item.is_random_next))
        ours.append(means(rows, len(documents)))
        theirs.append(means(list(release_instances(plain, length, 0.1, draws)), len(documents)))
    for name in ours[0]:
        x, y = (np.array([row[name] for row in side], dtype=float) for side in (ours, theirs))
        error = np.sqrt(x.var(ddof=1) / len(x) + y.var(ddof=1) / len(y))
        assert abs(x.mean() - y.mean()) < 3 * error, (name, x.mean(), y.mean(), error)
    assert np.mean([row["random"] for row in ours]) > 0.53  # a stretch of one sentence always has a random B


def test_short_is_drawn_once_per_document(tmp_path):
    """Sentences of one token, no random B: an instance is as long as its target, the last of a document excepted."""
    documents = [[1] * 200] * 2000
    room = 61
    corpus = make_corpus(tmp_path, documents)
    walk = walk_documents(corpus, room, 0.1, 0.0, generator(0, "walks"))
    owners = walk.sentences[0] // 200
    lengths = (walk.sentences[3] - walk.sentences[0]).astype(int)
    targets = []
    for number in range(len(documents)):
        own = lengths[owners == number]
        assert own.sum() == 200
        assert len(set(own[:-1])) == 1 and own[-1] <= own[0]
        targets.append(own[0])
    targets = np.array(targets)
    share = 0.1 * (1 - 1 / (room - 1))  # of the lengths 2 to ``room`` one is full all the same
    found = (targets < room).mean()
    assert abs(found - share) < 3 * (share * (1 - share) / len(targets)) ** 0.5
    short = targets[targets < room]
    assert abs(short.mean() - (2 + room - 1) / 2) < 3 * (room - 2) / 12**0.5 / len(short) ** 0.5


def test_one_sentence_always_gets_a_random_text(tmp_path):
    walk = paper_pairs(make_corpus(tmp_path, [[125, 200, 130], [5], [140]]), 128, 0.0, 0.0).walk(0)
    assert walk.is_random.all()
    assert walk.sentences[0].tolist() == [0, 3, 4, 1, 2]
    alone = paper_pairs(make_corpus(tmp_path, [[125, 200, 130]]), 128).walk(0)
    assert alone.is_random.all() and (alone.sentences[3] <= 3).all()  # the release finds no other document either


def test_ten_tries_to_find_another_document():
    """Of two documents all ten tries hit the same one once in 1,024 times, and the release then takes that."""
    document = np.zeros(1_000_000, dtype=np.int64)
    first, _ = _random_texts(document, document + 1, np.array([0, 5, 9]), np.array([0, 1, 2]), generator(0, "walks"))
    share = 2**-10
    assert abs((first == 0).mean() - share) < 3 * (share * (1 - share) / len(document)) ** 0.5


def shown(instances, first, count, seed=0, phase=0):
    """Sequences of a run by number: index, tokens, and the next choice (masks come from the same source)."""
    found = []
    for number in range(first, first + count):
        index, rng = instances.draw(number, seed, phase)
        found.append((index, instances.instance(index, rng).input_ids.tolist(), float(rng.random())))
    return found


def test_epochs_show_the_duplicates_in_turn(tmp_path):
    rng = np.random.default_rng(0)
    documents = [rng.integers(3, 40, rng.integers(5, 40)).tolist() for _ in range(20)]
    corpus = make_corpus(tmp_path, documents, 2)
    instances = paper_pairs(corpus, 64, duplicates=3)
    sizes = [len(instances.walk(i).is_random) for i in range(3)]
    assert len(set(sizes)) > 1 and len(instances) == sizes[0]
    starts = np.cumsum([0, *sizes, *sizes, *sizes])
    epochs = [shown(instances, int(starts[e]), sizes[e % 3]) for e in range(9)]
    for epoch, rows in enumerate(epochs):
        assert sorted(index for index, *_ in rows) == [i * 3 + epoch % 3 for i in range(sizes[epoch % 3])]
    for early, late in zip(epochs[:3], epochs[3:6], strict=True):
        assert sorted(early) == sorted(late)  # the same pairs, cuts and masks
        assert early != late  # in another order
    assert sorted(epochs[0]) == sorted(epochs[6])
    texts = [{tuple(tokens) for _, tokens, _ in rows} for rows in epochs]
    assert len(texts[0] & texts[1]) < 0.2 * sizes[0]  # another duplicate, other pairs
    again = paper_pairs(corpus, 64, duplicates=3)
    assert shown(again, int(starts[7]), 5) == epochs[7][:5]  # resumed: nothing before it was looked at
    other = shown(instances, 0, sizes[0], seed=1)
    assert sorted(other) == sorted(epochs[0]) and other != epochs[0]  # the seed of a run is for the order alone
    assert shown(instances, 0, sizes[0], phase=1) != epochs[0]


def test_they_travel_to_another_process(tmp_path):
    corpus = make_corpus(tmp_path, [[7, 12, 20, 9] * 5] * 20)
    instances = paper_pairs(corpus, 32)
    instances.walk(0)
    state = instances.__getstate__() | {"_corpus": None}  # this corpus has no directory to be opened again from
    again = PaperPairs.__new__(PaperPairs)
    again.__dict__ |= pickle.loads(pickle.dumps(state)) | {"_corpus": corpus}
    assert not again._walks
    assert shown(again, 3, 20) == shown(instances, 3, 20)
    assert corpus.vocab_size == SIZE
