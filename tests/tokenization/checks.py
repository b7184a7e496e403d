"""What must be true of the tokens of any text: in order, within the text, and each slice spells its token."""

import re
from itertools import pairwise

from rules_of_2018 import words_of_2018
from tokenizers import pre_tokenizers

from dokkai.tokenization import Tokenizer
from dokkai.tokenization.tokens import Tokens

CUTTER = pre_tokenizers.BertPreTokenizer()


def words_of(tokenizer: Tokenizer, text: str) -> list[str]:
    """The words of a text as its pieces are looked up, by the plain rules of 2018 or by Hugging Face's own parts."""
    if tokenizer.behaviour == "original":
        return words_of_2018(text, tokenizer.lowercase)
    # Half a surrogate pair, which Rust refuses, counts as a replacement character.
    text = re.sub("[\ud800-\udfff]", "\ufffd", text)
    return [
        word for word, _ in CUTTER.pre_tokenize_str(tokenizer.backend.wordpiece.rust_normalizer().normalize_str(text))
    ]


def spelt(tokenizer: Tokenizer, text: str) -> str:
    # Whether a sigma ends its word is not to be seen from a slice: both small ones count as one.
    return "".join(words_of(tokenizer, text)).replace("ς", "σ")


def check_places(tokenizer: Tokenizer, text: str, tokens: Tokens) -> None:
    """Raise unless every token knows its place: by its offsets, its word and the word's span."""
    assert len(tokens) == len(tokens.ids) == len(tokens.offsets) == len(tokens.word_ids)
    assert all(0 <= start < end <= len(text) for start, end in tokens.offsets)
    for before, after in pairwise(tokens.offsets):
        assert before[0] <= after[0] and before[1] <= after[1]
    assert list(dict.fromkeys(tokens.word_ids)) == list(range(len(set(tokens.word_ids))))
    assert not tokenizer.special_ids.difference([tokenizer.unk_id]) & set(tokens.ids)

    words = [word.replace("ς", "σ") for word in words_of(tokenizer, text)]
    assert [spelt(tokenizer, text[start:end]) for start, end in spans(tokens)] == words
    assert all(before[1] <= after[0] for before, after in pairwise(spans(tokens)))
    for index, word in enumerate(words):
        ids = [i for i, word_id in zip(tokens.ids, tokens.word_ids, strict=True) if word_id == index]
        if ids != [tokenizer.unk_id]:  # [UNK] stands for a whole word, and nothing else stands beside it
            assert "".join(piece(tokenizer, i) for i in ids) == word

    for token, (start, end) in zip(tokens.ids, tokens.offsets, strict=True):
        shared = [first for first, last in tokens.offsets if first < end and start < last]
        if token == tokenizer.unk_id:
            assert len(shared) == 1
        elif len(shared) == 1:
            assert spelt(tokenizer, text[start:end]) == piece(tokenizer, token)
        else:  # one character taken apart, as Hangul is, or marks put in order: their pieces share the place
            assert piece(tokenizer, token) in spelt(tokenizer, text[start:end])


def spans(tokens: Tokens) -> list[tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for (start, end), word in zip(tokens.offsets, tokens.word_ids, strict=True):
        found[word] = (found.get(word, (start, end))[0], end)
    return list(found.values())


def piece(tokenizer: Tokenizer, token: int) -> str:
    text = tokenizer.token(token)
    return (text[2:] if tokenizer.is_continuation[token] else text).replace("ς", "σ")
