"""Which passages fit a question, by BM25: rare words that both have, in languages with and without spaces."""

import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

DENSE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao; Burmese; Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana, Chinese characters
    "\uac00-\ud7af\U00020000-\U000323af"  # Hangul; rarer characters
)
"""Scripts that put no spaces between words, and Korean, which joins particles to them: ranges of a character class."""

_TERM = re.compile(rf"(?P<dense>[{DENSE}]+)|(?:(?![{DENSE}])[^\W_])+")
_ACCENT = re.compile("[\u0300-\u036f]")
_CONTRACTED = re.compile(r"(n['’]t|['’](s|re|ll|ve|d|m))\b", re.IGNORECASE)  # don't, who's
_NEEDLESS = ("jax.lax", "numba", "scipy.sparse", "tqdm.auto")


def terms(text: str) -> list[str]:
    """What a text is found by: its words without case and accents, or pairs of characters where none have spaces."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    if not plain.isascii():
        plain = unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", plain)))
    found = []
    for match in _TERM.finditer(plain):
        term = match.group()
        if match.lastgroup and len(term) > 1:
            found += [term[i : i + 2] for i in range(len(term) - 1)]
        else:
            found.append(term)
    return found


def query_terms(question: str) -> list[str]:
    """What texts are looked for by: the terms of a question without English words such as "how" and "does".

    Few texts but those that ask questions have them, so they would count as rare. All, if there are no others.
    """
    found = terms(_CONTRACTED.sub("", question))
    return [term for term in found if term not in _asking_words()] or found


@cache
def _asking_words() -> frozenset[str]:
    """Those of the library, but for what its contractions are broken into: "won", "d" and the like mean something."""
    with _without(_NEEDLESS):
        from bm25s.stopwords import STOPWORDS_EN_PLUS
    return frozenset(STOPWORDS_EN_PLUS) - set("won don ma d m o s t y re ll ve".split())  # noqa: SIM905


def share_without_spaces(text: str) -> float:
    """The share of its letters, 0 to 1, that are of a script without spaces between words."""
    found = list(_TERM.finditer(text))
    dense = sum(len(match.group()) for match in found if match.lastgroup)
    return dense / max(1, sum(len(match.group()) for match in found))


class Ranking:
    """Texts that can be ranked for a question (BM25 as in Lucene: k1 1.5, b 0.75; by the library ``bm25s``).

    Words count as one if their stems are, by the rules of English (Snowball's): "picks" finds "pick".
    """

    def __init__(self, texts: Sequence[str]) -> None:
        from Stemmer import Stemmer

        self._size = len(texts)
        self._stem = Stemmer("english").stemWords  # words of other languages lose an ending at most, on both sides
        found = [self._stem(terms(text)) for text in texts]
        self._index: Any = None
        if any(found):  # of no term at all the library makes no index
            with _without(_NEEDLESS):
                from bm25s import BM25
            self._index = BM25(method="lucene", k1=1.5, b=0.75)
            self._index.index(found, show_progress=False)

    def scores(self, query: Sequence[str]) -> np.ndarray:
        """The score of each text for these terms, ``(len(texts),)`` float32; 0 for a text that has none of them."""
        known = [term for term in self._stem(query) if self._index is not None and term in self._index.vocab_dict]
        if not known:
            return np.zeros(self._size, dtype=np.float32)
        scores: np.ndarray = self._index.get_scores(known)
        return scores


@contextmanager
def _without(modules: Sequence[str]) -> Iterator[None]:
    """Hide what ``bm25s`` imports only if it is there: each takes longer to load than a search, and none is used."""
    hidden: dict[str, Any] = {name: None for name in modules if name not in sys.modules}
    sys.modules.update(hidden)  # None: the import fails, as if it were missing
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
