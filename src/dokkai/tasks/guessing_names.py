"""The names that people give to columns, and which of them belong together."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

from dokkai.data.columns import WORDS
from dokkai.tasks.guessing_values import Columns

TEXTS = ("text", "sentence", "review", "content", "body", "comment", "message", "tweet", "utterance", "document")
_PAIRS = [  # and names that differ in 1 and 2, or in a and b, alone
    ("text", "pair"),  # as the settings are called
    ("premise", "hypothesis"),  # MNLI, SNLI
    ("question", "sentence"),  # QNLI
    ("question", "passage"),  # BoolQ
    ("paragraph", "question"),  # MultiRC
    ("query", "passage"),
    ("query", "document"),
    ("query", "title"),  # of a product: ESCI, Crowdflower
    ("search term", "title"),  # Home Depot
    ("query", "text"),
    ("query", "answer"),
    ("reference answer", "student answer"),
    ("question", "context"),
    ("question", "answer"),  # WikiQA
    ("claim", "evidence"),  # FEVER
    ("context", "response"),
    ("prompt", "response"),
    ("headline", "body"),  # FNC-1
    ("parent comment", "comment"),
    ("original", "translation"),  # MLQE
    ("sentence", "aspect term"),  # SemEval-2014
    ("sentence", "aspect"),
    ("text", "aspect"),
]
_SURE_PAIRS = _PAIRS[:7]  # the second of the others may be a label of the first
WORD_COLUMNS = (*WORDS, "word", "token")
TAG_COLUMNS = ("tag", "tags", "ner", "ner tag", "ner tags", "pos", "pos tag", "upos")
SENTENCE_COLUMNS = ("sentence", "sentence id", "sentence idx", "sentence no", "sentence number", "sent", "sent id")
LABELS = ("label", "labels", "class", "category", "target", "sentiment", "score", "rating", "quality", "stars", "gold")
SURE_LABELS = LABELS[:5]  # beside other columns of 0 and 1
MORE_LABELS = ("topic", "intent", "emotion", "genre", "polarity", "similarity", "relevance", "stance", "tags")
CHOICES = ("choices", "endings", "options", "candidates")
CHOICE = r"(choice|ending|option|answer|alternative)[0-9a-h]|[a-h]"
RIGHT = ("label", "answer", "answerkey", "correct", "gold", "target")
CONTEXTS = ("context", "passage", "article", "story", "paragraph", "sent1", "premise", "text")
QUESTIONS = ("question", "query", "sent2", "stem")
IDS = ("id", "idx", "index", "guid", "uid", "uuid", "key")
_SIDES = [
    *{name for pair in _SURE_PAIRS[1:] for name in pair},
    *(f"{name}{n}" for name in TEXTS for n in "12ab"),
]
_RARE = {"relevance", "stance"}  # a cell of a table without a header line may say that
_USUAL = {*TEXTS, *LABELS, *MORE_LABELS, *CHOICES, *QUESTIONS, *CONTEXTS, *IDS, *_SIDES} - _RARE


def is_usual_name(name: str) -> bool:
    """Whether it is a name that people give to columns."""
    return plain(name) in _USUAL


def find_pair(texts: Sequence[str]) -> tuple[str, str] | None:
    """Two columns whose names belong together: whole ones, those that differ in a digit or a letter, last words."""
    return _known_pair(texts, _PAIRS, plain) or _twins(texts) or _known_pair(texts, _PAIRS[1:], _last_word)


def is_sure_pair(first: str, second: str) -> bool:
    """Whether the second is a text by its name alone."""
    return _known_pair((first, second), _SURE_PAIRS, plain) is not None or _twins((first, second)) is not None


def _known_pair(
    texts: Sequence[str], pairs: Sequence[tuple[str, str]], end: Callable[[str], str]
) -> tuple[str, str] | None:
    """Of names that are those of a pair, or of which the ``end`` is."""
    for pair in pairs:
        found: list[str] = []
        for wanted in map(plain, pair):
            found += [name for of in (plain, end) for name in texts if of(name) == wanted and name not in found][:1]
        if len(found) == 2:
            return found[0], found[1]
    return None


def _twins(texts: Sequence[str]) -> tuple[str, str] | None:
    """Those with the shortest names: beside sentence1 and sentence2 there may be sentence1_parse and its like."""
    found = []
    for first, second in combinations([name for name in texts if not plain(name).strip("12ab").endswith("id")], 2):
        one, other = _letters(first), _letters(second)
        differing = [(x, y) for x, y in zip(one, other, strict=False) if x != y]
        if len(one) == len(other) and differing in ([("1", "2")], [("a", "b")]):
            found.append((first, second))
    return min(found, key=lambda names: len(names[0]), default=None)


def _last_word(name: str) -> str:
    """ "product_title", and "title_text", to "title"."""
    words = re.findall("[a-z0-9]+", name.lower())
    return next((word for word in reversed(words) if word not in ("text", "string")), "")


def plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", _letters(name))


def _letters(name: str) -> str:
    """Letters and digits of all scripts, those of full width as the usual ones."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", name).lower())


def find_named(columns: Columns, names: Iterable[str], without: Iterable[str] = (), whole: bool = False) -> str | None:
    """The first column with one of these names, else (not ``whole``) with one of them as a word of its name."""
    there = [name for name in columns if name not in set(without)]
    words = {name: {plain(name)} for name in there}
    more = {name: set(re.split("[^a-z0-9]+", name.lower())) for name in there}
    for of in [words] if whole else [words, more]:
        for wanted in names:
            for name in there:
                if plain(wanted) in of[name]:
                    return name
    return None


def list_names(names: Sequence[str]) -> str:
    """Five of them at most, in quotes."""
    return ", ".join(f"'{name}'" for name in names[:5]) + (" ..." if len(names) > 5 else "")
