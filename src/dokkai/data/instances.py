"""Pre-training instances cut from a prepared corpus: sentence pairs as in the paper, or full sequences.

An instance is a function of (seed, phase, epoch, index): nothing is stored, so pairs and masks are drawn anew in each
epoch and can be drawn again exactly when a run is resumed. Those of 2018 are in ``paper_instances.py``.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dokkai.data.masking import Vocabulary
from dokkai.data.order import generator, permutation
from dokkai.data.shards import Corpus


@dataclass(frozen=True, slots=True)
class Instance:
    """One sequence before masking: ``[CLS] A [SEP] B [SEP]`` or ``[CLS] text [SEP]``."""

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    is_random_next: bool
    """B is not the text that follows A."""


class Instances(Protocol):
    """A corpus seen as numbered instances."""

    def __len__(self) -> int:
        """How many make an epoch."""
        ...

    def draw(self, number: int, seed: int, phase: int) -> tuple[int, np.random.Generator]:
        """The index of sequence ``number`` of a phase, counted over all epochs, and the source of its choices."""
        ...

    def instance(self, index: int, rng: np.random.Generator) -> Instance:
        """Instance ``index``, its random choices taken from ``rng``."""
        ...


class SentencePairs:
    """The paper's A/B pairs (section 3.1, task 2; release: ``create_instances_from_document``).

    Each document is cut every ``length - 3`` tokens; an instance starts with the first sentence behind a cut and takes
    sentences until it is full. A is a random number of them. B is the rest, or with ``random_next_share`` text from a
    random place of another document. Unlike the release, a stretch of one sentence is not always given a random B
    (that made more than half of the pairs random): it is extended by a sentence, or cut in two; a random B is about as
    long as the text it stands for, so that the length of a pair does not tell its class; and sentences that fill a
    sequence alone are read in pieces of half a sequence, or only their middle would ever be seen.
    """

    def __init__(
        self, corpus: Corpus, vocabulary: Vocabulary, length: int, short_share: float, random_next_share: float
    ) -> None:
        self._corpus, self._vocabulary = corpus, vocabulary
        self._room = length - 3  # [CLS], [SEP], [SEP]
        self._short_share, self._random_next_share = short_share, random_next_share
        self._shards = np.cumsum([0, *(len(shard.tokens) for shard in corpus.shards)])
        sentences = np.concatenate([[0], np.cumsum(corpus.sentence_lengths, dtype=np.int64)])
        self._starts = _cut_long_sentences(sentences, self._room)
        self._documents = np.searchsorted(self._starts, sentences[corpus.document_starts])
        document_tokens = np.diff(self._starts[self._documents])
        self._chunks = np.concatenate([[0], np.cumsum(np.maximum(1, -(-document_tokens // self._room)))])

    def __len__(self) -> int:
        return int(self._chunks[-1])

    def draw(self, number: int, seed: int, phase: int) -> tuple[int, np.random.Generator]:
        """Another order and other choices in each epoch."""
        return _draw_anew(len(self), number, seed, phase)

    def instance(self, index: int, rng: np.random.Generator) -> Instance:
        document = int(np.searchsorted(self._chunks, index, side="right")) - 1
        first, last = self._stretch(document, index - int(self._chunks[document]), rng)
        num_documents = len(self._documents) - 1
        is_random = num_documents > 1 and bool(rng.random() < self._random_next_share)
        if last - first == 1:
            text = self._text(first, last)
            cut = int(rng.integers(1, max(2, len(text))))
            a, b = text[:cut], text[cut:]
            is_random |= num_documents > 1 and not len(b)  # nothing follows the one token of such a document
        else:
            cut = first + int(rng.integers(1, last - first))
            a, b = self._text(first, cut), self._text(cut, last)
        if is_random:
            b = self._random_text(document, max(1, len(b)), rng)
        return join_pair(a, b, is_random, self._room, self._vocabulary, rng)

    def _stretch(self, document: int, chunk: int, rng: np.random.Generator) -> tuple[int, int]:
        """Sentences ``[first, last)`` of an instance: at least two where the document has two."""
        begin, end = int(self._documents[document]), int(self._documents[document + 1])
        target = self._room
        if rng.random() < self._short_share:
            target = int(rng.integers(2, self._room + 1))
        position = int(self._starts[begin]) + chunk * self._room
        first = min(end - 1, begin + int(np.searchsorted(self._starts[begin:end], position)))
        filled = int(np.searchsorted(self._starts[first : end + 1], self._starts[first] + target))
        last = min(end, first + max(1, filled))
        if last - first == 1 and last < end:
            last += 1
        elif last - first == 1 and first > begin:
            first -= 1
        return first, last

    def _random_text(self, document: int, target: int, rng: np.random.Generator) -> np.ndarray:
        other = int(rng.integers(0, len(self._documents) - 2))
        other += other >= document
        begin, end = int(self._documents[other]), int(self._documents[other + 1])
        enough = int(np.searchsorted(self._starts[begin:end], self._starts[end] - target, side="right"))
        first = begin + int(rng.integers(0, max(1, enough)))  # where ``target`` tokens follow, if there are so many
        filled = int(np.searchsorted(self._starts[first : end + 1], self._starts[first] + target))
        return self._text(first, min(end, first + max(1, filled)))

    def _text(self, first: int, last: int) -> np.ndarray:
        """The tokens of the sentences ``[first, last)`` of one document, which lies in one shard."""
        begin, end = int(self._starts[first]), int(self._starts[last])
        number = int(np.searchsorted(self._shards, begin, side="right")) - 1
        base = int(self._shards[number])
        tokens: np.ndarray = self._corpus.shards[number].tokens[begin - base : end - base]
        return tokens


class FullSequences:
    """Masked LM alone: the corpus as one long text, cut into pieces that are exactly full.

    A piece that runs over the end of a document has a [SEP] there. Pieces begin a random distance behind their place,
    so an epoch shows five sixths of the text, each epoch others. A shard shorter than a piece is one short piece.
    """

    def __init__(self, corpus: Corpus, vocabulary: Vocabulary, length: int) -> None:
        self._corpus, self._vocabulary = corpus, vocabulary
        self._room = length - 2  # [CLS], [SEP]
        pieces = [max(1, len(shard.tokens) // self._room) for shard in corpus.shards]
        self._pieces = np.concatenate([[0], np.cumsum(pieces)])
        self._ends = [shard.sentence_starts[shard.document_starts[1:]].astype(np.int64) for shard in corpus.shards]

    def __len__(self) -> int:
        return int(self._pieces[-1])

    def draw(self, number: int, seed: int, phase: int) -> tuple[int, np.random.Generator]:
        """Another order and other choices in each epoch."""
        return _draw_anew(len(self), number, seed, phase)

    def instance(self, index: int, rng: np.random.Generator) -> Instance:
        number = int(np.searchsorted(self._pieces, index, side="right")) - 1
        tokens, ends = self._corpus.shards[number].tokens, self._ends[number]
        start = (index - int(self._pieces[number])) * self._room
        start += int(rng.integers(0, self._room))  # not the same cuts in every epoch
        start = max(0, min(start, len(tokens) - self._room))
        text = np.asarray(tokens[start : start + self._room], dtype=np.int64)
        inside = ends[np.searchsorted(ends, start, side="right") : np.searchsorted(ends, start + len(text))] - start
        text = np.insert(text, inside, self._vocabulary.sep_id)[: self._room]
        v = self._vocabulary
        input_ids = np.concatenate([[v.cls_id], text, [v.sep_id]]).astype(np.int64)
        return Instance(input_ids, np.zeros(len(input_ids), dtype=np.int64), False)


def join_pair(
    a: np.ndarray, b: np.ndarray, is_random: bool, room: int, vocabulary: Vocabulary, rng: np.random.Generator
) -> Instance:
    """``[CLS] A [SEP] B [SEP]``, A and B cut to ``room`` tokens together."""
    a, b = _truncate_pair(a, b, room, rng)
    v = vocabulary
    return Instance(
        np.concatenate([[v.cls_id], a, [v.sep_id], b, [v.sep_id]]).astype(np.int64),
        np.repeat(np.array([0, 1], dtype=np.int64), [len(a) + 2, len(b) + 1]),
        is_random,
    )


def _draw_anew(size: int, number: int, seed: int, phase: int) -> tuple[int, np.random.Generator]:
    epoch, place = divmod(number, size)
    index = int(permutation(size, seed, phase, epoch)[place])
    return index, generator(seed, "instances", phase, epoch, index)


def _cut_long_sentences(starts: np.ndarray, room: int) -> np.ndarray:
    """Where sentences start, in tokens, and the end of the last; those longer than ``room`` start again every half."""
    half = -(-room // 2)  # two pieces are enough to fill it
    pieces = [np.arange(starts[i] + half, starts[i + 1], half) for i in np.flatnonzero(np.diff(starts) > room)]
    cut: np.ndarray = np.sort(np.concatenate([starts, *pieces]), kind="stable")
    return cut


def _truncate_pair(a: np.ndarray, b: np.ndarray, room: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Take tokens from the longer of the two, each from the front or the back by a coin (release: same name)."""
    if len(a) + len(b) > room:
        shorter = min(len(a), len(b))
        half = room // 2  # once both are equally long they lose in turns, b first
        keep_a = len(a) if len(a) == shorter <= half else max(room - half, room - len(b))
        keep_b = room - keep_a
        a, b = _cut(a, keep_a, rng), _cut(b, keep_b, rng)
    return a, b


def _cut(tokens: np.ndarray, keep: int, rng: np.random.Generator) -> np.ndarray:
    excess = len(tokens) - keep
    front = int(rng.binomial(excess, 0.5)) if excess else 0
    return tokens[front : front + keep]
