"""Inputs from texts: special tokens, truncation, windows, masks; ids and tokens; the fingerprint."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_vocabulary import VOCABULARY, build

from dokkai.errors import UserError
from dokkai.tokenization import Tokenizer
from dokkai.tokenization.tokenizer import SpecialTokens
from dokkai.tokenization.tokens import Tokens
from dokkai.tokenization.wordpiece import WordPieceBackend

TOKENIZER = build()


def letters(count: int, letter: str = "a") -> str:
    return " ".join([letter] * count)


def test_a_pair(tokenizer):
    encoding = tokenizer.encode("The cat", "unwanted")
    cls_id, sep_id = tokenizer.cls_id, tokenizer.sep_id
    the, cat, un, want, ed = (tokenizer.id(token) for token in ["the", "cat", "un", "##want", "##ed"])
    assert encoding.input_ids == [cls_id, the, cat, sep_id, un, want, ed, sep_id]
    assert encoding.token_type_ids == [0, 0, 0, 0, 1, 1, 1, 1]
    assert encoding.offsets == [(0, 0), (0, 3), (4, 7), (0, 0), (0, 2), (2, 6), (6, 8), (0, 0)]
    assert encoding.word_ids == [None, 0, 1, None, 0, 0, 0, None]
    assert encoding.sequence_ids == [None, 0, 0, None, 1, 1, 1, None]
    assert len(encoding) == 8 and encoding.num_truncated == 0


def test_one_text_and_an_empty_one(tokenizer):
    assert tokenizer.encode("cat").token_type_ids == [0, 0, 0]
    assert tokenizer.encode("").input_ids == [tokenizer.cls_id, tokenizer.sep_id]
    assert tokenizer.encode("", "").input_ids == [tokenizer.cls_id, tokenizer.sep_id, tokenizer.sep_id]


@given(st.integers(0, 12), st.integers(0, 12), st.integers(3, 24))
def test_truncation_is_that_of_the_original(first, second, max_length):
    a, b = ["a"] * first, ["b"] * second
    while len(a) + len(b) > max_length - 3:
        (a if len(a) > len(b) else b).pop()
    encoding = TOKENIZER.encode(letters(first), letters(second, "b"), max_length)
    tokens = [TOKENIZER.token(i) for i in encoding.input_ids]
    assert tokens == ["[CLS]", *a, "[SEP]", *b, "[SEP]"]
    assert encoding.num_truncated == first + second - len(a) - len(b)


def test_a_single_text_loses_its_end(tokenizer):
    encoding = tokenizer.encode("the cat sat", max_length=4)
    assert tokenizer.decode(encoding.input_ids) == "the cat" and encoding.num_truncated == 1


def test_no_room_for_special_tokens(tokenizer):
    assert len(tokenizer.encode("cat", max_length=2)) == 2
    with pytest.raises(UserError, match="max_length=2 has no room for the 3 special tokens"):
        tokenizer.encode("cat", "cat", max_length=2)


@given(st.integers(0, 40), st.integers(1, 12), st.integers(1, 20))
def test_windows_are_those_of_the_original(length, room, stride):
    starts, start = [], 0
    while start < length:
        size = min(length - start, room)
        starts.append((start, size))
        if start + size == length:
            break
        start += min(size, stride)
    context = letters(length)
    windows = TOKENIZER.windows("the cat", context, room + 5, stride)
    found = []
    for window in windows:
        assert window.input_ids[:4] == [TOKENIZER.cls_id, TOKENIZER.id("the"), TOKENIZER.id("cat"), TOKENIZER.sep_id]
        assert len(window) <= room + 5 and window.input_ids[-1] == TOKENIZER.sep_id
        words = [w for w, s in zip(window.word_ids, window.sequence_ids, strict=True) if s == 1]
        spans = [o for o, s in zip(window.offsets, window.sequence_ids, strict=True) if s == 1]
        assert spans == [(2 * w, 2 * w + 1) for w in words if w is not None]
        found.append((words[0] if words else 0, len(words)))
    assert found == (starts or [(0, 0)])


def test_a_long_question_is_cut_and_counted(tokenizer):
    windows = tokenizer.windows("the cat sat", "a b c d", 8, 2, max_question_length=2)
    assert [tokenizer.decode(window.input_ids) for window in windows] == ["the cat a b c", "the cat c d"]
    assert [window.num_truncated for window in windows] == [1, 1]


def test_windows_without_room(tokenizer):
    with pytest.raises(UserError, match="max_length=6 leaves no room for the context beside a question of 3 tokens"):
        tokenizer.windows("the cat sat", "a b", 6, 2)
    with pytest.raises(UserError, match="stride=0: windows must start at least 1 token apart"):
        tokenizer.windows("the cat sat", "a b", 10, 0)


def test_masks(tokenizer):
    text = "The [MASK] sat[MASK]."
    tokens = tokenizer.mask_tokens(text)
    assert [tokenizer.token(i) for i in tokens.ids] == ["the", "[MASK]", "sat", "[MASK]", "."]
    assert [text[start:end] for start, end in tokens.offsets] == ["The", "[MASK]", "sat", "[MASK]", "."]
    assert tokens.word_ids == [0, 1, 2, 3, 4]
    assert tokenizer.mask_tokens("[MASK]").ids == [tokenizer.mask_id] and tokenizer.mask_token == "[MASK]"
    assert tokenizer.mask_tokens("no mask") == tokenizer.tokens("no mask")


def test_ids_and_tokens(tokenizer):
    assert tokenizer.vocab_size == len(VOCABULARY)
    assert [tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id] == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert tokenizer.special_ids == frozenset(range(5))
    assert all(tokenizer.id(tokenizer.token(i)) == i for i in range(tokenizer.vocab_size))
    assert tokenizer.lowercase and not build(lowercase=False).lowercase
    with pytest.raises(UserError, match="'elephant' is not a token of this vocabulary"):
        tokenizer.id("elephant")
    with pytest.raises(UserError, match="there is no token 999: this vocabulary has the ids 0 to"):
        tokenizer.token(999)
    with pytest.raises(UserError, match="there is no token -1"):
        tokenizer.token(-1)


def test_continuations(tokenizer):
    marked = tokenizer.is_continuation
    assert marked.dtype == np.bool_ and marked.shape == (tokenizer.vocab_size,)
    assert marked[tokenizer.id("##ed")] and not marked[tokenizer.id("cat")] and not marked[tokenizer.id("#")]


def test_decode(tokenizer):
    ids = tokenizer.encode("The unwanted cat, sat.").input_ids
    assert tokenizer.decode(ids) == "the unwanted cat, sat."
    assert tokenizer.decode(ids, skip_special_tokens=False) == "[CLS] the unwanted cat, sat. [SEP]"


@given(st.text(st.sampled_from("the cat sat")))
def test_decoding_gives_the_words_back(text):
    assert TOKENIZER.decode(TOKENIZER.tokens(text).ids).split() == text.split()


def test_the_fingerprint_follows_what_decides_the_ids(tokenizer):
    same = [build(), pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)]
    assert {other.fingerprint for other in same} == {tokenizer.fingerprint}
    assert [other.tokens("Café") for other in same] == [tokenizer.tokens("Café")] * 3
    other = [build(lowercase=False), build(strip_accents=False), build(vocabulary=[*VOCABULARY, "new"])]
    other.append(Tokenizer(tokenizer.backend, SpecialTokens(extra=("cat",))))
    assert len({t.fingerprint for t in [tokenizer, *other]}) == 5
    assert build(strip_accents=True).fingerprint == tokenizer.fingerprint  # None meant True
    assert len(tokenizer.fingerprint) == 64 and int(tokenizer.fingerprint, 16) >= 0


def test_a_vocabulary_without_a_special_token():
    with pytest.raises(UserError, match=r"the vocabulary has no \[MASK\], which BERT needs"):
        Tokenizer(WordPieceBackend([token for token in VOCABULARY if token != "[MASK]"]))


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("a b c", 0.0),
        ("\u96ea \u96ea a", 1.0),  # not in the vocabulary at all; "a" says nothing
    ],
)
def test_words_that_are_foreign(text, share, tokenizer):
    assert tokenizer.tokens(text).share_foreign(text, tokenizer.unk_id) == pytest.approx(share)


def test_a_word_that_is_spelled_is_foreign(tokenizer):
    """One piece for each of three letters or more; not "ab" in two pieces, nor three pieces for six letters."""
    spelled = Tokens([9, 9, 9, 9, 9, 8], [(0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (7, 10)], [0, 0, 0, 1, 1, 2])
    assert spelled.share_foreign("abc ab abc", 1) == pytest.approx(1 / 3)
    assert Tokens([9, 9, 9], [(0, 2), (2, 4), (4, 6)], [0, 0, 0]).share_foreign("abcdef", 1) == 0


def test_one_rare_character_makes_no_question_foreign():
    """Where each character is a word (Chinese, Japanese) and quotation marks are none."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"\u5bcc\u58eb\u5c71\u306e\u9ad8\u306f"]
    tokenizer = build(vocabulary=vocabulary)
    for text, share in (
        ("\u5bcc\u58eb\u5c71\u306e\u6a19\u9ad8\u306f\uff1f", 1 / 5),
        ("\u201c\u5bcc\u58eb\u5c71\u201d", 0.0),
    ):
        assert tokenizer.tokens(text).share_foreign(text, tokenizer.unk_id) == pytest.approx(share)
