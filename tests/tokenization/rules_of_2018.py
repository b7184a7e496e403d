"""The tokenizer of the 2018 release, written down once more from its rules and as plainly as can be, to compare with.

It works word by word, as the release does, and knows neither offsets nor speed; nothing here is taken from ``dokkai``.
"""

import unicodedata

IDEOGRAPHS = [
    *(range(0x4E00, 0xA000), range(0x3400, 0x4DC0), range(0x20000, 0x2A6E0), range(0x2A700, 0x2B740)),
    *(range(0x2B740, 0x2B820), range(0x2B820, 0x2CEB0), range(0xF900, 0xFB00), range(0x2F800, 0x2FA20)),
]
SYMBOLS = [*range(33, 48), *range(58, 65), *range(91, 97), *range(123, 127)]


def words_of_2018(text: str, lowercase: bool) -> list[str]:
    words = []
    for word in space_out_ideographs(clean(text)).split():
        if lowercase:
            word = strip_accents(word.lower())
        words += cut_at_punctuation(word)
    return " ".join(words).split()


def clean(text: str) -> str:
    kept = []
    for character in text:
        if character in (" ", "\t", "\n", "\r") or unicodedata.category(character) == "Zs":
            kept.append(" ")
        elif ord(character) not in (0, 0xFFFD) and unicodedata.category(character) not in ("Cc", "Cf"):
            kept.append(character)
    return "".join(kept)


def space_out_ideographs(text: str) -> str:
    return "".join(f" {c} " if any(ord(c) in block for block in IDEOGRAPHS) else c for c in text)


def strip_accents(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn")


def cut_at_punctuation(word: str) -> list[str]:
    words = [""]
    for character in word:
        if ord(character) in SYMBOLS or unicodedata.category(character).startswith("P"):
            words += [character, ""]
        else:
            words[-1] += character
    return [word for word in words if word]


def pieces_of_2018(word: str, vocabulary: set[str]) -> list[str]:
    if len(word) > 200:
        return ["[UNK]"]
    pieces: list[str] = []
    start = 0
    while start < len(word):
        mark = "##" if start else ""
        ends = [end for end in range(len(word), start, -1) if mark + word[start:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(mark + word[start : ends[0]])
        start = ends[0]
    return pieces


def tokens_of_2018(text: str, vocabulary: set[str], lowercase: bool) -> list[str]:
    return [piece for word in words_of_2018(text, lowercase) for piece in pieces_of_2018(word, vocabulary)]
