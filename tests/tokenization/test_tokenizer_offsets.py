"""Every token knows its place in the original text, whatever the text is; the Rust path equals the plain one."""

import pickle

import pytest
from checks import check_places, spans
from hypothesis import assume, given
from hypothesis import strategies as st
from nasty_text import PHRASES, nasty_texts
from small_vocabulary import VOCABULARY, build

from dokkai.tokenization import Tokenizer
from dokkai.tokenization.tokens import Backend, Span, Tokens
from dokkai.tokenization.wordpiece import AddedWord, WordPieceBackend

TOKENIZERS = {
    "uncased": build(),
    "cased": build(lowercase=False),
    "stripped": build(lowercase=False, strip_accents=True),
    "kept": build(lowercase=True, strip_accents=False),
    "original uncased": build(behaviour="original"),
    "original cased": build(lowercase=False, behaviour="original"),
}
HARD = "caféTHE \t\n.,[]#1東京한국タワーバ\u0301\u0327\u200d\ufe0f👩🏽\u0000İßΑΣς\u0f77"
MOVED = "\u0301\u0327\u302e\U0001d165\U00016ff0\U0001d15e\U0001d16d a\u0000\ue000\U0002b820"
ANY_TEXT = st.text() | st.text(st.characters()) | st.text(st.sampled_from(HARD)) | st.text(st.sampled_from(MOVED))


def cut(text: str, tokens: Tokens) -> list[str]:
    return [text[start:end] for start, end in tokens.offsets]


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=ANY_TEXT)
def test_the_slice_of_every_token_normalizes_to_the_token(name, text):
    tokenizer = TOKENIZERS[name]
    tokens = tokenizer.tokens(text)
    check_places(tokenizer, text, tokens)
    assert tokenizer.words(text) == spans(tokens)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_places_of_hard_texts(name):
    tokenizer = TOKENIZERS[name]
    texts = [*PHRASES, *nasty_texts(150, seed=3)]
    for text, tokens in zip(texts, tokenizer.tokens_batch(texts), strict=True):
        check_places(tokenizer, text, tokens)
        assert tokens == tokenizer.tokens(text)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=ANY_TEXT)
def test_the_fast_path_equals_words_and_pieces(name, text):
    tokenizer = TOKENIZERS[name]
    assume(tokenizer.behaviour != "original" or "Σ" not in text)  # its small form depends on what is beside the word
    fast, plain = tokenizer.tokens(text), Backend.tokens(tokenizer.backend, text)
    assert (fast.ids, fast.word_ids) == (plain.ids, plain.word_ids)
    assert tokenizer.tokens_batch([text, "the cat"]) == [fast, tokenizer.tokens("the cat")]
    assert tokenizer.token_ids_batch((text, "the cat")) == [fast.ids, tokenizer.tokens("the cat").ids]


def test_marks_that_are_put_in_order_share_their_place():
    vocabulary = [*VOCABULARY, "##\u302e", "##\U0001d165"]
    for behaviour in ("original", "huggingface"):
        tokenizer = build(vocabulary=vocabulary, behaviour=behaviour)
        tokens = tokenizer.tokens("the \u0301a\u302e\u0323\U0001d165b cat")
        assert [tokenizer.token(i) for i in tokens.ids] == ["the", "a", "##\U0001d165", "##\u302e", "##b", "cat"]
        assert tokens.offsets == [(0, 3), (5, 6), (6, 9), (6, 9), (9, 10), (11, 14)]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("The cat sat.", ["The", "cat", "sat", "."]),
        ("Café au lait", ["Café", "a", "u", "l", "a", "i", "t"]),
        ("cafe\u0301, cafe\u0301", ["cafe\u0301", ",", "cafe\u0301"]),
        ("  un\u0000wanted\t", ["un", "want", "ed"]),
        ("東京cat", ["東", "京", "cat"]),
        ("한", ["한", "한", "한"]),
        ("タワー", ["タ", "ワ", "ー"]),
        ("👩🏽\u200d🚀 cat", ["👩🏽\u200d🚀", "cat"]),
        ("\ufeffthe \u200bcat", ["the", "cat"]),
        ("half \ud83d a pair", ["h", "a", "l", "f", "a", "p", "a", "i", "r"]),
        ("", []),
        ("\u0301 \u00ad", []),
    ],
)
def test_hard_texts(tokenizer, text, pieces):
    assert cut(text, tokenizer.tokens(text)) == pieces
    assert [cut(text, tokens) for tokens in tokenizer.tokens_batch([text])] == [pieces]
    assert tokenizer.token_ids_batch([text]) == [tokenizer.tokens(text).ids]


def test_special_tokens_in_the_text_are_plain_text(tokenizer):
    tokens = tokenizer.tokens("the [SEP] [MASK]")
    assert [tokenizer.token(i) for i in tokens.ids] == ["the", "[", "sep", "]", "[", "mask", "]"]
    assert tokenizer.tokens("[UNK]").ids[0] == tokenizer.id("[")


def test_a_special_token_that_looks_like_a_word_is_never_read_from_text():
    backend = WordPieceBackend(VOCABULARY, hidden=["the"])
    assert [VOCABULARY[i] for i in backend.tokens("the").ids] == ["t", "##h", "##e"]


def test_added_ordinary_words_are_found_before_words_are_cut():
    added = [AddedWord("c++")]
    backend = WordPieceBackend([*VOCABULARY, "c++"], hidden=["[PAD]"], added=added)
    for copy in (backend, pickle.loads(pickle.dumps(backend))):
        tokens = copy.tokens("the c++ cat")
        assert [copy.vocabulary[i] for i in tokens.ids] == ["the", "c++", "cat"]
        assert tokens.offsets == [(0, 3), (4, 7), (8, 11)] and tokens.word_ids == [0, 1, 2]


class Halves(Backend):
    """Words at white space, each in two halves: a backend that has nothing but the seam."""

    lowercase = False
    vocabulary = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "日本", "##語", "東京", "##xxxx")

    def words(self, text: str) -> list[Span]:
        spans, start = [], 0
        for part in text.split(" "):
            spans.append((start, start + len(part)))
            start += len(part) + 1
        return spans

    def pieces(self, word: str) -> list[int]:
        ids = {"日本語": [5, 6], "東京": [7], "大阪": [7, 8]}
        return ids.get(word, [1])

    def settings(self) -> dict[str, object]:
        return {"type": "halves"}


def test_words_and_pieces_are_enough_for_a_whole_tokenizer():
    tokenizer = Tokenizer(Halves())
    tokens = tokenizer.tokens("日本語 東京 京都 大阪")
    assert tokens.ids == [5, 6, 7, 1, 7, 8]
    assert tokens.offsets == [(0, 2), (2, 3), (4, 6), (7, 9), (10, 12), (10, 12)]  # the last does not spell its word
    assert tokens.word_ids == [0, 0, 1, 2, 3, 3]
    assert tokenizer.tokens_batch(["東京"]) == [Tokens([7], [(0, 2)], [0])]
    assert tokenizer.token_ids_batch(["東京", "日本語"]) == [[7], [5, 6]]
    assert tokenizer.encode("東京", "日本語").input_ids == [2, 7, 3, 5, 6, 3]
    assert tokenizer.decode([2, 5, 6, 7, 3]) == "日本語 東京"
