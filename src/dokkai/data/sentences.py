"""Documents to sentences, and sentences to arrays of token ids."""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple
from unicodedata import east_asian_width

import numpy as np
from numpy.typing import NDArray
from sentencex.sentencex import segment

from dokkai.data.shards import token_dtype
from dokkai.tokenization import Tokenizer

_BATCH = 1 << 20  # characters that the tokenizer gets at once
_LONGEST_TEXT = 100_000  # characters that the tokenizer gets as one string
_WINDOW = 1 << 14  # characters of a line that the splitter is shown at once
_OTHER_SPACE = re.compile(r"[^\S\x00-\x7f]|[\ud800-\udfff]")  # and halves of surrogate pairs, which Rust does not know

_WHOLE = re.compile(r"([.!?…。！？][\"'”’)\]]*|[」』）])\s*$")  # no full stop is needed before the last three
_ITEM = re.compile(r"\s*([-*+•#|>]|\d+[.)]\s)")  # of a list, a heading, a table: they begin anew
_WRAPPED = 50  # columns, of which a Chinese character takes two: shorter lines end where they end
_MOST_WRAPPED = 30  # lines of one sentence


def split_sentences(line: str, language: str = "en") -> list[str]:
    """Cut a line into its sentences, stripped, none empty; ``language`` is an ISO 639-1 code.

    Rules and abbreviations are those of the library ``sentencex``, which treats a code it does not know as English. It
    is shown plain spaces in place of all others: behind a single letter those make it panic.
    """
    shown = line if line.isascii() else _OTHER_SPACE.sub(" ", line)
    ends = _sentence_ends(shown, language)
    return [sentence for begin, end in pairwise([0, *ends]) if (sentence := line[begin:end].strip())]


def _sentence_ends(line: str, language: str) -> list[int]:
    """Of a long line a window at a time: where no spaces are, the library's time grows with the square of the length.

    What ends in the second half of a window may depend on what follows it, and is looked at again.
    """
    ends: list[int] = []
    begin, size = 0, _WINDOW
    while begin < len(line):
        found = list(accumulate(map(len, segment(language, line[begin : begin + size])), initial=begin))[1:]
        if begin + size < len(line):
            found = [end for end in found if end <= begin + size // 2]
        if found:
            ends += found
            begin, size = ends[-1], _WINDOW
        else:  # a sentence without end
            size *= 2
    return ends


def sentence_around(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """``[start, end)`` of the sentences that ``span`` lies in (a span may run over a full stop).

    A line's end is a sentence's end, unless the line is long and breaks off: then it was wrapped, and goes on below.
    """
    begin, end = _line_around(text, span)
    line = text[begin:end].replace("\n", " ")
    places, position = [], 0
    for sentence in split_sentences(line):
        position = line.index(sentence, position)
        places.append((begin + position, begin + position + len(sentence)))
        position += len(sentence)
    touched = [place for place in places if place[1] > span[0] and place[0] < span[1]]
    return (touched[0][0], touched[-1][1]) if touched else span


def _line_around(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """The line that a span lies in, with those that it was wrapped from and into: a few, or it is a list."""
    begin, end = text.rfind("\n", 0, span[0]) + 1, text.find("\n", span[1])
    end = end if end >= 0 else len(text)
    for _ in range(_MOST_WRAPPED):
        above = text.rfind("\n", 0, max(begin - 1, 0)) + 1
        if begin == 0 or not is_wrapped(text[above : begin - 1], text[begin:end]):
            break
        begin = above
    for _ in range(_MOST_WRAPPED):
        below = text.find("\n", end + 1)
        below = below if below >= 0 else len(text)
        if end >= len(text) or not is_wrapped(text[text.rfind("\n", 0, end) + 1 : end], text[end + 1 : below]):
            break
        end = below
    return begin, end


def is_wrapped(line: str, following: str) -> bool:
    """Whether a line was broken off because it was full, and goes on below."""
    is_whole = _WHOLE.search(line) is not None or _num_columns(line) < _WRAPPED
    return not is_whole and following.strip() != "" and _ITEM.match(following) is None


def _num_columns(line: str) -> int:
    return len(line) if line.isascii() else len(line) + sum(east_asian_width(character) in "WF" for character in line)


class Encoded(NamedTuple):
    """Some documents as arrays, without empty ones.

    ``tokens`` uint16 or uint32 (num_tokens,); ``sentence_lengths`` (num_sentences,) in tokens; ``document_lengths``
    (num_documents,) in sentences. Empty is what the tokenizer makes no token of.
    """

    tokens: NDArray[Any]
    sentence_lengths: NDArray[np.int64]
    document_lengths: NDArray[np.int64]
    num_empty_sentences: int
    num_empty_documents: int

    def documents(self) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """Yield the tokens and the sentence lengths of each document, as views."""
        sentence_ends = np.cumsum(self.document_lengths)
        token_ends = np.cumsum(self.sentence_lengths)[sentence_ends - 1]
        sentence = token = 0
        for sentence_end, token_end in zip(sentence_ends.tolist(), token_ends.tolist(), strict=True):
            yield self.tokens[token:token_end], self.sentence_lengths[sentence:sentence_end]
            sentence, token = sentence_end, token_end


class Encoder:
    """Cuts documents, given as lists of lines, into sentences and tokenizes them. Can be pickled."""

    def __init__(self, tokenizer: Tokenizer, language: str) -> None:
        self._tokenizer, self._language = tokenizer, language
        self._dtype = token_dtype(tokenizer.vocab_size)

    def __call__(self, documents: Sequence[Sequence[str]]) -> Encoded:
        sentences: list[str] = []
        ends: list[int] = []
        for lines in documents:
            for line in lines:
                sentences += split_sentences(line, self._language)
            ends.append(len(sentences))
        tokens, all_lengths = self._tokenize(sentences)
        is_filled = all_lengths > 0
        per_document = np.diff(np.concatenate([[0], np.cumsum(is_filled)])[[0, *ends]])
        return Encoded(
            tokens,
            all_lengths[is_filled],
            per_document[per_document > 0],
            int((~is_filled).sum()),
            int((per_document == 0).sum()),
        )

    def _tokenize(self, sentences: list[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """All tokens, and how many belong to each sentence; a batch at a time, which bounds the memory."""
        arrays: list[NDArray[Any]] = []
        lengths = np.zeros(len(sentences), np.int64)
        texts: list[str] = []
        owners: list[int] = []
        size = 0
        for number, sentence in enumerate(sentences):
            for text in _pieces(sentence):
                texts.append(text)
                owners.append(number)
                size += len(text)
            if size >= _BATCH or number == len(sentences) - 1:
                ids, sizes = self._tokenizer.flat_ids(texts)
                np.add.at(lengths, owners, sizes)
                arrays.append(ids.astype(self._dtype))
                texts, owners, size = [], [], 0
        return np.concatenate(arrays) if arrays else np.empty(0, self._dtype), lengths


def _pieces(sentence: str) -> Iterator[str]:
    """A sentence of endless length cut at spaces, where no token crosses, to bound the tokenizer's memory."""
    start = 0
    while len(sentence) - start > _LONGEST_TEXT and (space := sentence.find(" ", start + _LONGEST_TEXT)) >= 0:
        yield sentence[start:space]
        start = space + 1
    yield sentence[start:]
