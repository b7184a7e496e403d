"""Documents to sentences and token arrays."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencex.sentencex import segment

from dokkai.data import sentences
from dokkai.data.sentences import Encoder, sentence_around, split_sentences


class Letters:
    """A tokenizer for tests: one token per letter a-z, nothing for anything else."""

    vocab_size = 30_000

    def __init__(self):
        self.longest = 0

    def flat_ids(self, texts):
        self.longest = max(self.longest, *map(len, texts))
        ids = [[ord(letter) for letter in text if letter.isascii() and letter.islower()] for text in texts]
        return np.array([token for part in ids for token in part], dtype=np.int64), np.array(
            list(map(len, ids)), dtype=np.int64
        )


def test_sentences_of_a_line():
    line = "Dr. Smith went home.  He slept 7.5 hours! Did he? "
    assert split_sentences(line) == ["Dr. Smith went home.", "He slept 7.5 hours!", "Did he?"]
    assert split_sentences("これは文です。次の文。", "ja") == ["これは文です。", "次の文。"]
    assert split_sentences("  ") == []


@pytest.mark.parametrize(("language", "unit"), [("ja", "これは文です。「次だ。」"), ("en", "He saw Dr. Smith go. ")])
def test_a_long_line_is_shown_to_the_library_in_parts(language, unit, monkeypatch):
    """Without spaces its time grows with the square of what it is shown."""
    shown = []
    monkeypatch.setattr(sentences, "segment", lambda code, text: shown.append(len(text)) or segment(code, text))
    line = unit * 2000
    assert split_sentences(line, language) == [piece.strip() for piece in segment(language, line)]
    assert max(shown) <= sentences._WINDOW
    endless = "word " * 10_000 + "ends."
    assert split_sentences(f"First. {endless} Next.") == ["First.", endless, "Next."]


@pytest.mark.parametrize("end", ["と書いた人がいる」", "と書いた人がいる（昔のことである）", "と書いた人がいる。"])
def test_a_japanese_line_that_ends_with_a_bracket_was_not_wrapped(end):
    """Speech needs no full stop."""
    first = "「" + "灯台は岬の上に立つ" * 6 + end
    text = f"{first}\nこれは次の段落である。"
    assert text[slice(*sentence_around(text, (5, 7)))] == first
    wrapped = f"{first[:-12]}\n{first[-12:]}"
    assert text.replace(first, wrapped)[slice(*sentence_around(wrapped, (5, 7)))] == wrapped


def test_a_japanese_line_of_half_the_letters_is_as_wide():
    lines = [
        "灯台は岬の上に立ち、遠くの船にも",
        "光が届くように、毎晩その火が灯されるのだと、灯台守の娘は",
        "話した。彼女は島で育った。",
    ]
    text = "\n".join(["拝啓", *lines, "短い行", "次の行"])
    assert text[slice(*sentence_around(text, (text.index("毎晩"), text.index("毎晩") + 2)))] == "\n".join(
        [lines[1], "話した。"]
    )
    assert text[slice(*sentence_around(text, (text.index("短い"), text.index("短い") + 2)))] == "短い行"


def test_the_language_matters_and_an_unknown_one_is_english():
    line = "Er kam z. B. am 3. Mai. Dann ging er."
    assert split_sentences(line, "de") == ["Er kam z. B. am 3. Mai.", "Dann ging er."]
    assert split_sentences(line, "zz") == split_sentences(line, "en") != split_sentences(line, "de")


@given(st.text())
def test_sentences_lose_nothing_but_spaces(line):
    assert "".join("".join(split_sentences(line)).split()) == "".join(line.split())


@pytest.mark.parametrize("space", ["\u00a0", "\u202f", "\u3000", "\u2028", "\u0085"])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_letters_before_other_spaces(space, language):
    """The library panics on them; half a surrogate pair it cannot read at all."""
    line = f"Blood of group A{space}. It is rare."
    assert "".join(split_sentences(line, language)).replace(" ", "") == line.replace(" ", "")
    assert split_sentences(f"So{space}it is. And \ud800 then.") == [f"So{space}it is.", "And \ud800 then."]


def test_documents_become_arrays_and_empty_ones_are_counted():
    encoded = Encoder(Letters(), "en")([["Aab. Bc!", "?"], ["123"], ["xyz. 77. Abc. "]])
    assert encoded.tokens.dtype == np.uint16
    assert bytes(encoded.tokens.astype(np.uint8)) == b"abcxyzbc"
    assert encoded.sentence_lengths.tolist() == [2, 1, 3, 2]
    assert encoded.document_lengths.tolist() == [2, 2]
    assert (encoded.num_empty_sentences, encoded.num_empty_documents) == (3, 1)
    assert [(len(tokens), lengths.tolist()) for tokens, lengths in encoded.documents()] == [(3, [2, 1]), (5, [3, 2])]


def test_nothing_but_empty_documents():
    encoded = Encoder(Letters(), "en")([["1"], ["2", "3"]])
    assert len(encoded.tokens) == 0
    assert list(encoded.documents()) == []
    assert (encoded.num_empty_sentences, encoded.num_empty_documents) == (3, 2)


def test_a_large_vocabulary_takes_four_bytes():
    tokenizer = Letters()
    tokenizer.vocab_size = 1 << 16
    assert Encoder(tokenizer, "en")([["abc"]]).tokens.dtype == np.uint32


@pytest.mark.parametrize("longest, batch", [(1, 1), (7, 20), (50, 10_000)])
def test_long_sentences_reach_the_tokenizer_in_pieces_and_stay_whole(monkeypatch, longest, batch):
    documents = [["abc defghijk " * 30 + "x" * 99], ["ab. Cd."]]
    whole = Encoder(Letters(), "en")(documents)
    monkeypatch.setattr(sentences, "_LONGEST_TEXT", longest)
    monkeypatch.setattr(sentences, "_BATCH", batch)
    tokenizer = Letters()
    pieces = Encoder(tokenizer, "en")(documents)
    assert tokenizer.longest <= 99 + longest + len("defghijk ")
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_encoder_can_be_sent_to_a_process():
    encoder = pickle.loads(pickle.dumps(Encoder(Letters(), "en")))
    assert encoder([["ab"]]).tokens.tolist() == [97, 98]
