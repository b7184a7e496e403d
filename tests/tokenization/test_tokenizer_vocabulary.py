"""Learning a vocabulary: its layout, its size, and that it never depends on chance."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from dokkai.errors import UserError
from dokkai.tokenization import train_tokenizer
from dokkai.tokenization.vocabulary import _copy


def lines(count: int = 300, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    syllables = ["ba", "ke", "Ti", "lo", "mu", "sch", "tion", "é", "x"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(200)]
    return [" ".join(draw.choices(words, k=10)) + "." for _ in range(count)]


def tokens(tokenizer):
    return list(tokenizer.backend.vocabulary)


def test_layout_of_a_vocabulary():
    tokenizer = train_tokenizer(lines(), 128, special_tokens=["[E1]", "[SEP]", "[E2]"])
    vocabulary = tokens(tokenizer)
    assert vocabulary[:7] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[E1]", "[E2]"]
    assert tokenizer.vocab_size == 128 == len(set(vocabulary)) and tokenizer.lowercase
    assert vocabulary[7:9] == [".", "a"] and "##a" in vocabulary and "##." not in vocabulary
    assert "tion" in vocabulary or "##tion" in vocabulary
    assert tokenizer.special_ids == frozenset(range(7))
    assert not any(token.lower() != token for token in vocabulary[7:])
    unknown = [i for ids in tokenizer.token_ids_batch(lines()) for i in ids if i == tokenizer.unk_id]
    assert unknown == []


def test_cased():
    tokenizer = train_tokenizer(lines(), 128, lowercase=False)
    assert "T" in tokens(tokenizer) and "é" in tokens(tokenizer) and not tokenizer.lowercase


def test_the_size_is_rounded_up_and_said(capsys):
    assert train_tokenizer(lines(), 100).vocab_size == 128
    assert capsys.readouterr().err.count("vocabulary size 100 rounded up to 128") == 1


def test_little_text_fills_up_with_unused(capsys):
    tokenizer = train_tokenizer(["aa aa bb bb [unused1]"] * 3, 1000)
    vocabulary = tokens(tokenizer)
    assert tokenizer.vocab_size == 64 and vocabulary[-1].startswith("[unused") and "[unused0]" in vocabulary
    assert "the text yields" in capsys.readouterr().err
    assert tokenizer.unk_id not in tokenizer.tokens("[unused0]").ids[:1]


def test_a_generator_a_list_and_a_file_give_the_same(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines()), encoding="utf-8")
    expected = train_tokenizer(lines(), 256).fingerprint
    assert train_tokenizer((line for line in lines()), 256).fingerprint == expected
    with path.open(encoding="utf-8") as file:
        assert train_tokenizer(file, 256).fingerprint == expected


def test_another_process_learns_the_same():
    learn = "t.train_tokenizer(t.lines(2000), 512, limit_alphabet=20)"
    program = f"import test_tokenizer_vocabulary as t\nprint({learn}.fingerprint)"
    expected = train_tokenizer(lines(2000), 512, limit_alphabet=20).fingerprint
    for _ in range(2):
        path = [str(Path(__file__).parent), *(folder for folder in sys.path if folder)]
        run = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{program}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == expected


def test_rare_characters_are_left_out_and_counted(capsys):
    tokenizer = train_tokenizer([*(["ab ba"] * 9), "q"], 64, limit_alphabet=2)
    assert "1 of 3 characters are too rare for the alphabet of 2" in capsys.readouterr().err
    assert "q" not in tokens(tokenizer) and tokenizer.tokens("q").ids == [tokenizer.unk_id]


def test_the_alphabet_covers_a_text_of_many_characters(capsys):
    """Chinese characters are thousands; a small vocabulary keeps room for words."""
    texts = ["".join(map(chr, range(0x4E00, 0x4E00 + 1500)))] * 9
    assert train_tokenizer(texts, 8000).tokens(texts[0]).ids.count(1) == 0
    assert "too rare" not in capsys.readouterr().err
    assert train_tokenizer(texts, 5000).tokens(texts[0]).ids.count(1) == 1500 - 5056 // 4
    assert train_tokenizer(texts, 2000).tokens(texts[0]).ids.count(1) == 1500 - 1000


def test_half_a_surrogate_pair_does_no_harm():
    assert train_tokenizer(["ab \ud800 ab"] * 3, 64).tokens("ab").ids


@pytest.mark.parametrize("texts", [[], ["", " \n"], iter([])])
def test_no_text(texts):
    with pytest.raises(UserError, match="there is no text to learn a vocabulary from"):
        train_tokenizer(texts)


def test_too_small_a_size():
    with pytest.raises(UserError, match="a vocabulary of 64 is too small: special tokens and the characters"):
        train_tokenizer(["".join(map(chr, range(0x3041, 0x3080)))], 64)


@pytest.mark.parametrize("token", ["", "[A B]", " [A]"])
def test_a_special_token_with_white_space(token):
    with pytest.raises(UserError, match="is empty or has white space in it"):
        train_tokenizer(lines(3), 64, special_tokens=[token])


def test_a_full_disk_is_a_plain_message():
    class Full:
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot copy the text to a temporary file in .*No space left"):
        _copy("text", Full())
