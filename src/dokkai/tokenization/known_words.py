"""Ids of many texts by words that were met before: language repeats itself, so the engine need not see a word twice."""

import re
from collections.abc import Callable, Sequence
from itertools import chain
from threading import Lock

import numpy as np
from numpy.typing import NDArray

_MOST = 1 << 22  # words, their characters and ids that are kept, about 100 MB; then it starts afresh
_ASCII_WORD = re.compile(r"[A-Za-z0-9]+|[!-/:-@\[-`{-~]")  # of printable ASCII: every punctuation mark is a word

Encode = Callable[[list[str]], list[list[int]]]


class KnownWords:
    """The ids that ``encode`` gives for texts, for an ``encode`` of BERT's kind.

    That is: nothing reaches across a space, and in printable ASCII a run of letters and digits, or one punctuation
    mark, has ids of its own, whatever stands beside it. ``lowercase`` says that those ignore case.
    """

    def __init__(self, encode: Encode, lowercase: bool) -> None:
        self._encode, self._lowercase = encode, lowercase
        self._lock = Lock()
        self._forget()

    def ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ids of all texts, one after the other ``(num_tokens,)``, and how many each text has ``(len(texts),)``."""
        words: list[str] = []
        ends_in_words = [0]
        for text in texts:
            words += self._words(text)
            ends_in_words.append(len(words))
        with self._lock:
            if self._size > _MOST:
                self._forget()
            try:
                numbers = np.fromiter(map(self._numbers.__getitem__, words), np.int64, len(words))
                self._learn()
            except BaseException:  # Ctrl-C too: words with numbers but without ids must not stay
                self._forget()
                raise
            lengths, starts = self._lengths[numbers], self._starts[numbers]
            ends = np.cumsum(lengths)
            # Id number n of all is number n + (start of its word in the table) - (start of its word among all).
            places = np.arange(int(lengths.sum())) + np.repeat(starts - ends + lengths, lengths)
            return self._ids[places], np.diff(np.concatenate([[0], ends])[ends_in_words])

    def _words(self, text: str) -> list[str]:
        """Parts of the text whose ids, one after the other, are those of the text."""
        if text.isascii() and text.isprintable():
            return _ASCII_WORD.findall(text.lower() if self._lowercase else text)
        parts = text.split(" ")
        if len(parts) == 1:
            return parts
        return list(chain.from_iterable(map(self._words, parts)))

    def _forget(self) -> None:
        self._numbers = _Numbers()
        self._size = 0
        self._ids, self._lengths, self._starts = (np.empty(0, np.int64) for _ in range(3))

    def _learn(self) -> None:
        """Put the words that were new into the table."""
        new = [*self._numbers][len(self._lengths) :]
        rows = self._encode(new)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        ids = np.fromiter(chain.from_iterable(rows), np.int64)
        self._starts = np.concatenate([self._starts, len(self._ids) + np.cumsum(lengths) - lengths])
        self._lengths = np.concatenate([self._lengths, lengths])
        self._ids = np.concatenate([self._ids, ids])
        self._size += len(new) + len(ids) + sum(map(len, new))


class _Numbers(dict[str, int]):
    """Words numbered from 0 in the order in which they are first asked for."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number
