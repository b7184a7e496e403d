"""The seam of the tokenizer: a backend finds words in a text and gives the ids of one word; all else stands on that."""

import unicodedata
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

CONTINUATION = "##"  # the mark of a piece that continues a word

_SPELLED = 3  # letters from which a word of one piece for each is called spelled

Span = tuple[int, int]  # start and end, in code points of the original string


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text without special tokens; three lists of equal length.

    ``offsets`` point into the original text, ``word_ids`` count its words from 0; neither ever decreases.
    """

    ids: list[int]
    offsets: list[Span]
    word_ids: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    def share_foreign(self, text: str, unk_id: int) -> float:
        """The share of words that the vocabulary lacks, or has only letter by letter: of another language, most likely.

        ``text`` is what was tokenized, ``unk_id`` the id of [UNK]. Punctuation does not count, nor do single letters
        that it has; but Chinese characters do, each of which is a word.
        """
        words: dict[int, list[int]] = defaultdict(list)
        for place, number in enumerate(self.word_ids):
            words[number].append(place)
        foreign = known = 0
        for places in words.values():
            word = text[self.offsets[places[0]][0] : self.offsets[places[-1]][1]]
            if not any(map(str.isalnum, word)):
                continue
            is_unknown = any(self.ids[place] == unk_id for place in places)
            if is_unknown or len(places) >= max(len(word), _SPELLED):
                foreign += 1
            elif len(word) > 1 or unicodedata.name(word, "").startswith("CJK"):
                known += 1
        return foreign / (foreign + known) if foreign else 0.0


class Backend(ABC):
    """How one kind of tokenizer cuts text. ``words`` and ``pieces`` are enough; the rest may be overridden for speed.

    ``vocabulary`` holds the token of each id; ``lowercase`` says whether the ids ignore case; ``behaviour`` says whose
    WordPiece it follows, "original" or "huggingface", and is None for what is no WordPiece.
    """

    vocabulary: Sequence[str]
    lowercase: bool
    behaviour: str | None = None

    @abstractmethod
    def words(self, text: str) -> list[Span]:
        """The words of the text in order, as spans of the text."""

    @abstractmethod
    def pieces(self, word: str) -> list[int]:
        """The ids of one word as it stands in the text (not yet lower-cased)."""

    @abstractmethod
    def settings(self) -> dict[str, object]:
        """Everything besides the vocabulary that the ids depend on, as JSON values."""

    def tokens(self, text: str) -> Tokens:
        """The whole text through ``words`` and ``pieces``, one word at a time: right for every backend, and slow."""
        ids: list[int] = []
        offsets: list[Span] = []
        word_ids: list[int] = []
        for word_id, (start, end) in enumerate(self.words(text)):
            word = self.pieces(text[start:end])
            ids += word
            offsets += self._place(word, start, end)
            word_ids += [word_id] * len(word)
        return Tokens(ids, offsets, word_ids)

    def tokens_batch(self, texts: Sequence[str]) -> list[Tokens]:
        """``tokens`` for many texts."""
        return [self.tokens(text) for text in texts]

    def token_ids_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Only the ids, for many texts."""
        return [tokens.ids for tokens in self.tokens_batch(texts)]

    def flat_ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ids of all texts, one after the other ``(num_tokens,)``, and how many each text has ``(len(texts),)``."""
        rows = self.token_ids_batch(texts)
        return np.fromiter(chain.from_iterable(rows), np.int64), np.fromiter(map(len, rows), np.int64, len(rows))

    def join(self, tokens: Sequence[str]) -> str:
        """Readable text from tokens: words apart, pieces together."""
        return " ".join(tokens).replace(f" {CONTINUATION}", "")

    def _place(self, ids: list[int], start: int, end: int) -> list[Span]:
        lengths = [len(self.vocabulary[i].removeprefix(CONTINUATION)) for i in ids]
        if sum(lengths) != end - start:  # [UNK], or letters that were taken apart: each piece stands for the whole word
            return [(start, end)] * len(ids)
        spans = []
        for length in lengths:
            spans.append((start, start + length))
            start += length
        return spans
