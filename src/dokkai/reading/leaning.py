"""Which questions say nothing without the one before, "and when?", "How old was she?", and which have their own topic.

Told by the words and the capitals of English.
"""

import re
import unicodedata
from collections.abc import Iterable

from dokkai.reading.ranking import terms

_WORD = re.compile(r"[^\W_]+")
_SENTENCE_START = re.compile(r"(?:^|[.?!])\W*[^\W_]+")
_FEW = 4  # words: a longer question has mostly something to go by
_POINTING = set(terms("he him his she her hers it its they them their theirs this that these those there then"))
_ASKING = set(
    terms(
        "when where who whom whose why how what which long many much often far else since until and but or so then "
        "is was are were did does do has had can could will would in on at of for from to by with about"
    )
)


def leans(question: str) -> bool:
    """Whether a question of few words points at something, or holds nothing but words that ask and join."""
    words = set(terms(question))
    return bool(words) and len(question.split()) <= _FEW and (not words.isdisjoint(_POINTING) or words <= _ASKING)


def has_unknown_name(question: str, texts: Iterable[str]) -> bool:
    """Whether a word within a sentence of the question begins with a capital and is in none of the texts.

    Where every word has a capital, none is a name.
    """
    plain = unicodedata.normalize("NFKC", question)
    inner = _WORD.findall(_SENTENCE_START.sub(" ", plain))
    names = {term for word in inner if word[0].isupper() and word != "I" for term in terms(word)[:1]}
    if not names or not any(word[0].islower() for word in _WORD.findall(plain)):
        return False
    return not names <= {term for text in texts for term in terms(text)}
