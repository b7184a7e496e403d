"""How the release of 2018 prepares a text, and where in a text each character of the prepared one comes from."""

import string
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import Protocol

_IDEOGRAPHS = (  # the blocks of Chinese characters in tokenization.py of the release; kana and Hangul are not there
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
NEVER = "\0"  # stands for half a surrogate pair: the engine refuses those, and no text brings this one so far


class Normalizer(Protocol):
    """Anything that prepares a text, such as the normalizers of the Rust package."""

    def normalize_str(self, text: str, /) -> str:
        """The text as its words are looked up."""


class Forms(dict[int, str]):
    """What each character becomes where it stands alone, by code point; worked out when it is first met."""

    def __init__(self, normalize: Callable[[str], str]) -> None:
        super().__init__()
        self._normalize = normalize

    def __missing__(self, code: int) -> str:
        form = self[code] = self._normalize(chr(code))
        return form


class OriginalNormalizer:
    """``BasicTokenizer`` of the release's ``tokenization.py``; its words are what spaces separate in the result.

    Categories are those of Python's ``unicodedata``, as in the release: a character younger than that is unassigned.
    Half a surrogate pair, which the release keeps and finds in no vocabulary, becomes ``NEVER``.
    """

    def __init__(self, lowercase: bool) -> None:
        self._lowercase = lowercase
        self._forms = Forms(self._alone)
        self._heedful: set[str] = set()  # characters met whose form depends on the ones beside them

    def normalize_str(self, text: str, /) -> str:
        """The text with every word lower-cased and stripped, if so set, and with spaces between words."""
        apart = text.translate(self._forms)
        return apart if self._heedful.isdisjoint(text) else self._at_once(text)

    def _alone(self, character: str) -> str:
        form = self._at_once(character)
        # Capital sigma has another small form at the end of a word; NFD sorts marks that stand side by side.
        if self._lowercase and (character == "Σ" or any(map(unicodedata.combining, form))):
            self._heedful.add(character)
        return form

    def _at_once(self, text: str) -> str:
        # The release cuts at white space first; nothing below looks across a space, so that the order is no matter.
        prepared = "".join(map(_cleaned, text))
        if self._lowercase:
            prepared = unicodedata.normalize("NFD", prepared.lower())
            prepared = "".join(character for character in prepared if unicodedata.category(character) != "Mn")
        return "".join(f" {character} " if _is_punctuation(character) else character for character in prepared)


def places(text: str, normalized: str, forms: Forms) -> tuple[list[int], list[int]]:
    """For each character of ``normalized`` where in ``text`` its origin starts and ends; neither ever decreases.

    ``forms`` are those of the normalizer that made ``normalized``. Characters that come from one, as those of a Hangul
    syllable do, share its place; marks that were sorted into canonical order share the place of all of them.
    """
    starts: list[int] = []
    for index, character in enumerate(text):
        starts += [index] * len(forms[ord(character)])
    ends = [start + 1 for start in starts]
    apart = "".join([forms[ord(character)] for character in text])
    if apart != normalized:
        _share_places(_same_sigma(apart), _same_sigma(normalized), starts, ends)
    return starts, ends


def _share_places(apart: str, normalized: str, starts: list[int], ends: list[int]) -> None:
    # The two differ in nothing but order. Where all met so far are the same characters, a block of moved ones ends.
    surplus: Counter[str] = Counter()
    first = 0
    for index, (before, after) in enumerate(zip(apart, normalized, strict=True)):
        if before != after:
            surplus[before] += 1
            surplus[after] -= 1
        if not any(surplus.values()):
            length = index + 1 - first
            starts[first : index + 1] = [starts[first]] * length
            ends[first : index + 1] = [ends[index]] * length
            first = index + 1
            surplus.clear()


def _same_sigma(text: str) -> str:
    return text.replace("ς", "σ")


def _cleaned(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\t\n\r" or category in ("Zs", "Zl", "Zp"):
        return " "
    if character in "\0\ufffd" or category in ("Cc", "Cf"):
        return ""
    if category == "Cs":
        return NEVER
    code = ord(character)
    return f" {character} " if any(first <= code <= last for first, last in _IDEOGRAPHS) else character


def _is_punctuation(character: str) -> bool:
    # Some of ASCII's, such as "$", are symbols for Unicode.
    return character in string.punctuation or unicodedata.category(character).startswith("P")
