"""Sentences as sequences: every word once, no piece lost, as much around as there is room for."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dokkai.tasks.sentence_windows import Pieces, sentence_windows

SENTENCES = st.lists(st.lists(st.integers(1, 4), max_size=12), min_size=1, max_size=5)


def make(lengths):
    """Sentences of words of so many pieces; every piece has an id of its own."""
    ids = iter(range(1, 10_000))
    return [Pieces([[next(ids) for _ in range(size)] for size in sentence]) for sentence in lengths]


@given(SENTENCES, st.integers(1, 20), st.integers(1, 20), st.booleans())
def test_every_word_is_read_once_where_it_stands(lengths, room, stride, is_one_document):
    sentences = make(lengths)
    documents = [0] * len(sentences) if is_one_document else None
    found = list(sentence_windows(sentences, documents, room, stride))
    assert len(found) == len(sentences)
    for sentence, windows in zip(sentences, found, strict=True):
        words = np.concatenate([window.words for window in windows])
        assert sorted(words.tolist()) == list(range(len(sentence.words)))
        for window in windows:
            assert len(window.ids) <= room
            first_ids = [window.ids[start] for start in window.starts]
            assert first_ids == [sentence.words[word][0] for word in window.words]
            assert window.ids == list(range(window.ids[0], window.ids[0] + len(window.ids))) if window.ids else True


def test_a_long_document_takes_no_table_of_windows_by_words():
    """Of 200,000 words: a table would have a billion places."""
    tracemalloc.start()
    (windows,) = sentence_windows([Pieces([[1]] * 200_000)], None, room=62, stride=32)
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()
    assert [len(window.words) for window in windows[1:-1]] == [32] * (len(windows) - 2)
    assert sum(len(window.words) for window in windows) == 200_000


def test_windows_show_a_word_where_most_is_around_it():
    (windows,) = sentence_windows(make([[1] * 10]), None, room=6, stride=2)
    assert [window.ids for window in windows] == [[1, 2, 3, 4, 5, 6], [3, 4, 5, 6, 7, 8], [5, 6, 7, 8, 9, 10]]
    assert [window.words.tolist() for window in windows] == [[0, 1, 2, 3], [4, 5], [6, 7, 8, 9]]


@pytest.mark.parametrize(
    ("number", "room", "ids"),
    [
        (1, 7, [2, 3, 4, 5, 6, 7, 8]),  # three pieces of its own, two on each side
        (1, 8, [2, 3, 4, 5, 6, 7, 8, 9]),
        (0, 8, [1, 2, 3, 4, 5, 6, 7, 8]),  # nothing before it
        (2, 8, [2, 3, 4, 5, 6, 7, 8, 9]),  # nothing behind it
        (1, 100, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (3, 100, [10, 11]),  # another document
    ],
)
def test_as_much_of_the_document_as_there_is_room_for(number, room, ids):
    sentences = make([[2, 1], [1, 2], [3], [1, 1]])
    (window,) = list(sentence_windows(sentences, [0, 0, 0, 1], room, stride=4))[number]
    assert window.ids == ids


def test_a_sentence_too_long_for_context_is_cut():
    found = list(sentence_windows(make([[1], [1] * 9]), [0, 0], room=5, stride=2))
    assert [len(windows) for windows in found] == [1, 3]
