"""Sentences as sequences: alone, with the text around them, or cut into windows where they are too long.

W words read in a sequence
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np


@dataclass(slots=True)
class Pieces:
    """A sentence in pieces: the ids of each of its words, none empty; ``starts`` are the places of their first ones."""

    words: list[list[int]]
    ids: list[int] = field(init=False)
    starts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Put the pieces in a row."""
        self.ids = list(chain.from_iterable(self.words))
        self.starts = np.cumsum([0, *map(len, self.words)])[:-1]


@dataclass(frozen=True, slots=True)
class Window:
    """Ids without special tokens; ``words`` ``(W,)`` are the words of the sentence that are read here, ``starts``
    ``(W,)`` the places of their first pieces among the ids.
    """

    ids: list[int]
    words: np.ndarray
    starts: np.ndarray


def sentence_windows(
    sentences: Sequence[Pieces], documents: Sequence[int] | None, room: int, stride: int
) -> Iterator[list[Window]]:
    """The windows of each sentence, at most ``room`` pieces long; every word is read in one of them.

    A sentence that is longer is cut: its windows start ``stride`` pieces apart, and a word is read in the one with the
    most around it on its poorer side, the first at a tie. With ``documents``, the number of each sentence's document,
    a shorter one is filled up with the pieces before and behind it in its document: equally many of both, or more of
    one where the other ends.
    """
    streams = _streams(sentences, documents) if documents is not None else None
    for number, sentence in enumerate(sentences):
        if len(sentence.ids) > room:
            yield _cut(sentence, room, min(stride, room))
        elif streams is None:
            yield [Window(sentence.ids, np.arange(len(sentence.words)), sentence.starts)]
        else:
            yield [_surrounded(sentence, *streams[number], room)]


def _streams(sentences: Sequence[Pieces], documents: Sequence[int]) -> list[tuple[list[int], int]]:
    """For each sentence all pieces of its document, and where it begins among them."""
    out: list[tuple[list[int], int]] = []
    stream: list[int] = []
    for number, sentence in enumerate(sentences):
        if number and documents[number] != documents[number - 1]:
            stream = []
        out.append((stream, len(stream)))
        stream += sentence.ids
    return out


def _surrounded(sentence: Pieces, stream: list[int], begin: int, room: int) -> Window:
    end = begin + len(sentence.ids)
    free = room - len(sentence.ids)
    before, behind = min(begin, free // 2), min(len(stream) - end, free - free // 2)
    before = min(begin, free - behind)
    behind = min(len(stream) - end, free - before)
    ids = stream[begin - before : end + behind]
    return Window(ids, np.arange(len(sentence.words)), sentence.starts + before)


def _cut(sentence: Pieces, room: int, stride: int) -> list[Window]:
    size = len(sentence.ids)
    begins = [0]
    while begins[-1] + room < size:
        begins.append(begins[-1] + stride)
    starts = sentence.starts
    shown = [np.searchsorted(starts, (begin, begin + room)) for begin in begins]  # few of many: a document may be long
    owner, best = np.zeros(len(starts), dtype=np.int64), np.full(len(starts), -1)
    for number, (begin, (low, high)) in enumerate(zip(begins, shown, strict=True)):
        inside, end = starts[low:high], min(begin + room, size)
        view = np.minimum(inside - begin, end - 1 - inside)  # how many pieces are around a word on its poorer side
        is_better = view > best[low:high]
        owner[low:high][is_better] = number
        best[low:high][is_better] = view[is_better]
    windows = []
    for number, (begin, (low, high)) in enumerate(zip(begins, shown, strict=True)):
        words = low + np.flatnonzero(owner[low:high] == number)
        if not len(words):
            continue
        windows.append(Window(sentence.ids[begin : begin + room], words, starts[words] - begin))
    return windows
