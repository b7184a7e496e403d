"""The fast way to many ids: words that were met before are looked up, and the ids are those of the engine."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nasty_text import PHRASES, nasty_texts
from small_vocabulary import build

from dokkai.tokenization import known_words
from dokkai.tokenization.known_words import KnownWords

TOKENIZERS = {
    f"{behaviour}, lowercase={lowercase}": build(lowercase=lowercase, behaviour=behaviour)
    for behaviour, lowercase in itertools.product(("original", "huggingface"), (True, False))
}
PLAIN = [
    "The cat sat.",
    "",
    " ",
    "un-wanted\tcat  Paris\n",
    "$5.00 a_b^c`d|e~f",
    "A\x7fB \x00c\x1f",
    "x" * 101,
    "Y" * 201,
]
ANY = st.text(st.sampled_from(" \t\x07aBcé\u0301東Σ.,_'$\ud800\u3000") | st.characters(), max_size=30)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(texts=st.lists(ANY, max_size=4))
def test_any_texts_have_the_ids_of_the_engine(name, texts):
    tokenizer = TOKENIZERS[name]
    ids, lengths = tokenizer.flat_ids(texts)
    rows = [tokenizer.tokens(text).ids for text in texts]
    assert lengths.tolist() == [len(row) for row in rows]
    assert ids.tolist() == [id for row in rows for id in row]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_hard_texts_again_and_again(name, monkeypatch):
    tokenizer = build(lowercase="True" in name, behaviour=name.split(",")[0])
    texts = [*PLAIN, *PHRASES, *nasty_texts(100, seed=5)]
    rows = [tokenizer.tokens(text).ids for text in texts]
    for most in (known_words._MOST, 0, 50):  # it forgets never, always, now and then
        monkeypatch.setattr(known_words, "_MOST", most)
        for begin in range(0, len(texts), 7):
            assert tokenizer.token_ids_batch(texts[begin : begin + 7]) == rows[begin : begin + 7]


def test_the_engine_sees_a_word_once(monkeypatch):
    seen: list[str] = []

    def encode(words):
        seen.extend(words)
        return [[len(word)] * len(word) for word in words]

    known = KnownWords(encode, lowercase=True)
    ids, lengths = known.ids(["The cat, the CAT", "", "a café"])
    assert ids.tolist() == [3] * 6 + [1] + [3] * 6 + [1, 4, 4, 4, 4] and lengths.tolist() == [13, 0, 5]
    assert seen == ["the", "cat", ",", "a", "café"]
    assert known.ids(["cat the", "café"])[1].tolist() == [6, 4]
    assert len(seen) == 5
    monkeypatch.setattr(known_words, "_MOST", 10)
    assert known.ids(["cat"])[0].tolist() == [3, 3, 3]
    assert seen[5:] == ["cat"]


def test_long_words_take_room(monkeypatch):
    """One that is unknown has a single id, however long it is: of Thai, most parts between two spaces."""
    seen: list[str] = []

    def encode(words):
        seen.extend(words)
        return [[1] for _ in words]

    known = KnownWords(encode, lowercase=False)
    monkeypatch.setattr(known_words, "_MOST", 100)
    for text in ("ก" * 200, "ก" * 200, "ข", "ข"):
        known.ids([text])
    assert seen == ["ก" * 200, "ก" * 200, "ข"]


def test_no_texts():
    ids, lengths = TOKENIZERS["original, lowercase=True"].flat_ids([])
    assert ids.shape == lengths.shape == (0,) and ids.dtype == lengths.dtype == np.int64


def test_words_whose_ids_failed_are_asked_for_again():
    """Ctrl-C may come while the engine works: a word with a number but without ids would shift all behind it."""
    fails = [True]

    def encode(words):
        if fails.pop():
            raise KeyboardInterrupt
        fails.append(False)
        return [[len(word)] for word in words]

    known = KnownWords(encode, lowercase=False)
    with pytest.raises(KeyboardInterrupt):
        known.ids(["one two"])
    fails.append(False)
    ids, lengths = known.ids(["three two", "one"])
    assert (ids.tolist(), lengths.tolist()) == ([5, 3, 3], [2, 1])
