"""Pre-training instances as in 2018: made by a walk through each document, several times over, and then kept.

Release: ``create_pretraining_data.py``. It writes them to files; here only which sentences belong to which instance is
kept (17 bytes for each), and tokens and masks are made when they are asked for, the same each time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dokkai.data.instances import Instance, join_pair
from dokkai.data.masking import Vocabulary
from dokkai.data.order import generator, permutation
from dokkai.data.shards import Corpus

_SEED = 12345  # ``random_seed`` of the release: the instances are those of the text, whatever the seed of a run
_TRIES = 10  # to find a document that is another one


class PaperPairs:
    """A/B pairs as ``create_instances_from_document`` makes them, ``duplicates`` times over with other choices.

    Epoch e shows duplicate e modulo ``duplicates``, in an order of its own; pairs and masks of a duplicate are the same
    each time it comes round. How many instances there are depends on the choices: ``len`` is that of the first epoch.
    """

    def __init__(
        self,
        corpus: Corpus,
        vocabulary: Vocabulary,
        length: int,
        short_share: float,
        random_next_share: float,
        duplicates: int,
    ) -> None:
        self._corpus, self._vocabulary = corpus, vocabulary
        self._length, self._room = length, length - 3  # [CLS], [SEP], [SEP]
        self._shares = short_share, random_next_share
        self._duplicates = duplicates
        self._sizes: list[int] = []  # of the duplicates, as far as they were needed
        self._walks: dict[int, Walk] = {}  # the last two

    def __len__(self) -> int:
        return self._size(0)

    def draw(self, number: int, seed: int, phase: int) -> tuple[int, np.random.Generator]:
        """Only the order depends on ``seed`` and ``phase``."""
        epoch, place = self._locate(number)
        duplicate = epoch % self._duplicates
        chosen = int(permutation(self._size(duplicate), seed, phase, epoch)[place])
        index = chosen * self._duplicates + duplicate
        return index, generator(_SEED, "static", self._length, duplicate, chosen)

    def instance(self, index: int, rng: np.random.Generator) -> Instance:
        """``index`` is (number within the duplicate) * duplicates + duplicate; ``rng`` draws what is cut away."""
        chosen, duplicate = divmod(index, self._duplicates)
        walk = self.walk(duplicate)
        a_first, a_last, b_first, b_last = map(int, walk.sentences[:, chosen])
        a, b = self._corpus.sentence_tokens(a_first, a_last), self._corpus.sentence_tokens(b_first, b_last)
        return join_pair(a, b, bool(walk.is_random[chosen]), self._room, self._vocabulary, rng)

    def walk(self, duplicate: int) -> "Walk":
        """Which sentences make the instances of a duplicate."""
        if duplicate not in self._walks:
            rng = generator(_SEED, "walks", self._length, duplicate)
            made = walk_documents(self._corpus, self._room, *self._shares, rng)
            self._walks = {**dict(list(self._walks.items())[-1:]), duplicate: made}
        return self._walks[duplicate]

    def _size(self, duplicate: int) -> int:
        while len(self._sizes) <= duplicate:
            self._sizes.append(len(self.walk(len(self._sizes)).is_random))
        return self._sizes[duplicate]

    def _locate(self, number: int) -> tuple[int, int]:
        """The epoch of the sequence ``number`` of a run, and its place there."""
        for epoch in range(self._duplicates):
            if number < self._size(epoch):
                return epoch, number
            number -= self._size(epoch)
        rounds, number = divmod(number, sum(self._sizes))
        epoch, place = self._locate(number)
        return (rounds + 1) * self._duplicates + epoch, place

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_walks": {}}  # another process makes them again, sooner than they would be sent


@dataclass(frozen=True, slots=True)
class Walk:
    """N instances in sentences of the corpus."""

    sentences: np.ndarray
    """``(4, N)``: where A starts and ends (exclusive), where B does."""
    is_random: np.ndarray
    """``(N,)`` bool."""


def walk_documents(
    corpus: Corpus, room: int, short_share: float, random_next_share: float, rng: np.random.Generator
) -> Walk:
    """Cut all documents into instances, all of them a step at a time (``create_instances_from_document``).

    A document draws once whether its instances are short, and how short. Sentences are taken until the target is
    reached; A is a random number of them. B is the rest, or, always where one sentence is all there is, text from a
    random place of another document; the sentences it displaced are then taken again. Both may be longer than
    ``room`` together.
    """
    starts = np.concatenate([[0], np.cumsum(corpus.sentence_lengths, dtype=np.int64)])
    documents = corpus.document_starts
    size = corpus.num_documents
    is_short = rng.random(size) < short_share
    target = np.where(is_short, rng.integers(2, room + 1, size), room)
    document, first = np.arange(size), documents[:-1]
    dtype = np.uint32 if len(starts) < 1 << 32 else np.int64
    parts: list[np.ndarray] = []
    while len(document):
        end = documents[document + 1]
        last = np.minimum(end, np.searchsorted(starts, starts[first] + target))
        cut = first + rng.integers(1, np.maximum(2, last - first))
        is_random = (last - first == 1) | (rng.random(len(document)) < random_next_share)
        b_first, b_last = cut.copy(), last.copy()
        wanted = (target - (starts[cut] - starts[first]))[is_random]
        b_first[is_random], b_last[is_random] = _random_texts(document[is_random], wanted, starts, documents, rng)
        parts.append(np.stack([first, cut, b_first, b_last, is_random]).astype(dtype))
        first = np.where(is_random, cut, last)
        goes_on = first < end
        document, first, target = document[goes_on], first[goes_on], target[goes_on]
    joined = np.concatenate(parts, axis=1)
    return Walk(np.ascontiguousarray(joined[:4]), joined[4].astype(bool))


def _random_texts(
    document: np.ndarray, wanted: np.ndarray, starts: np.ndarray, documents: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """From a random sentence of another document on, until ``wanted`` tokens are there or it ends; one at least."""
    size = len(documents) - 1
    other = rng.integers(0, size, len(document))
    for _ in range(_TRIES - 1):
        same = np.flatnonzero(other == document)
        other[same] = rng.integers(0, size, len(same))
    first = rng.integers(documents[other], documents[other + 1])
    filled = np.searchsorted(starts, starts[first] + wanted)
    return first, np.minimum(documents[other + 1], np.maximum(first + 1, filled))
