"""A small vocabulary with a bit of everything, and tokenizers over it."""

from typing import Any

from dokkai.tokenization import Tokenizer
from dokkai.tokenization.tokenizer import SpecialTokens
from dokkai.tokenization.wordpiece import WordPieceBackend, WordPieceSettings

WORDS = ["the", "cat", "sat", "cafe", "café", "un", "want", "Paris", "paris", "run", "東", "京", "ᄒ", "mask", "sep"]
PIECES = ["want", "ed", "ing", "s", "n", "ᅡ", "ᆫ", "タ", "ワ", "ー"]
LETTERS = list("abcdefghijklmnopqrstuvwxyzé0123456789,.!?-[]'#タ")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [*SPECIAL, *LETTERS, *(f"##{c}" for c in "abcdefghijklmnopqrtuvwxyzé0"), *WORDS]
VOCABULARY += [f"##{piece}" for piece in PIECES if f"##{piece}" not in VOCABULARY]


def build(lowercase: bool = True, vocabulary: list[str] | None = None, **settings: Any) -> Tokenizer:
    special = SpecialTokens()
    wordpiece = WordPieceSettings(lowercase=lowercase, **settings)
    return Tokenizer(WordPieceBackend(vocabulary or VOCABULARY, "[UNK]", special.all(), wordpiece), special)
