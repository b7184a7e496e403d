"""The release of 2018 or Hugging Face: one switch, its documented differences, and the original against its rules."""

import ast
import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nasty_text import nasty_texts
from rules_of_2018 import tokens_of_2018, words_of_2018
from small_vocabulary import SPECIAL, VOCABULARY, build

from dokkai.errors import UserError
from dokkai.tokenization import load_tokenizer, save_tokenizer, train_tokenizer
from dokkai.tokenization.normalization import NEVER, OriginalNormalizer
from dokkai.tokenization.wordpiece import AddedWord, WordPieceBackend, WordPieceSettings

GUIDE = (Path(__file__).resolve().parent.parent.parent / "docs" / "guide" / "vocab.md").read_text(encoding="utf-8")
SETTINGS = {
    "uncased": {},
    "cased": {"lowercase": False},
    "uncased, keeping accents": {"strip_accents": False},
    "cased, without accents": {"lowercase": False, "strip_accents": True},
}
ORIGINAL = {lowercase: build(lowercase, behaviour="original") for lowercase in (True, False)}


def documented():
    for line in GUIDE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[3] in SETTINGS:
            yield pytest.param(*cells[3:], id=f"{cells[0]}: {cells[4]}")


def code(cell):
    """The code spans of a cell, each as often as it says: `a` `##a` × 149."""
    return [
        ast.literal_eval(f'"{text}"')
        for text, times in re.findall(r"`([^`]+)`(?: × (\d+))?", cell)
        for _ in range(int(times or 1))
    ]


def test_the_guide_has_the_four_differences():
    rows = [row.id.split(":")[0] for row in documented()]
    assert {"longest word", "Chinese characters", "control characters", "accents"} < set(rows) and len(rows) == 11


@pytest.mark.parametrize(("settings", "text", "original", "huggingface"), list(documented()))
def test_a_difference_is_as_the_guide_says(settings, text, original, huggingface):
    shown = [piece for row in documented() for cell in row.values[2:] for piece in code(cell)]
    vocabulary = list(dict.fromkeys([*SPECIAL, *shown]))  # of all rows: what is unknown is so for its own reason
    for behaviour, expected in (("original", original), ("huggingface", huggingface)):
        if expected == "refused":
            with pytest.raises(UserError, match="the original behaviour has no such choice"):
                build(behaviour=behaviour, **SETTINGS[settings])
            continue
        tokenizer = build(vocabulary=vocabulary, behaviour=behaviour, **SETTINGS[settings])
        ids = tokenizer.tokens("".join(code(text))).ids
        assert [tokenizer.token(i) for i in ids] == code(expected)


def prepared_words(text, lowercase):
    """The words of 2018 as our normalizer hands them on."""
    return [re.sub("[\ud800-\udfff]", NEVER, word) for word in words_of_2018(text, lowercase)]


def check_every(codes, lowercase):
    """Every character, between letters: our form of it, against the rules; preparing it twice changes no word."""
    normalizer = OriginalNormalizer(lowercase)
    for number in codes:
        text = f"a{chr(number)}b"
        words = prepared_words(text, lowercase)
        assert [word for word in normalizer.normalize_str(text).split(" ") if word] == words, hex(number)
        assert NEVER in "".join(words) or normalizer.normalize_str(" ".join(words)).split() == words, hex(number)


@pytest.mark.parametrize("lowercase", [True, False])
def test_characters_one_by_one(lowercase):
    near = [
        range(0x3100),
        range(0xA000, 0xAC10),
        range(0xD700, 0xE010),
        range(0xF8F0, 0x12000),
        range(0x1D100, 0x1D250),
    ]
    far = [range(0x3100, 0x110000, 251), *(range(n - 2, n + 2) for n in (0x2A6E0, 0x2B740, 0x2B820, 0x2B920, 0x2CEB0))]
    check_every(itertools.chain(*near, *far), lowercase)


@pytest.mark.slow
@pytest.mark.parametrize("lowercase", [True, False])
def test_all_characters_one_by_one(lowercase):
    check_every(range(0x110000), lowercase)


@pytest.mark.parametrize("lowercase", [True, False])
@given(text=st.text() | st.text(st.sampled_from("aΑΣσς.'\u0301\u0327\u302e\U0001d165 \u00ad\ud800İ東A")))
def test_any_text_gives_what_the_rules_of_2018_give(lowercase, text):
    tokenizer = ORIGINAL[lowercase]
    expected = tokens_of_2018(text, set(VOCABULARY), lowercase)
    for ids in (tokenizer.tokens(text).ids, *tokenizer.token_ids_batch([text])):
        assert [tokenizer.token(i) for i in ids] == expected
    prepared = OriginalNormalizer(lowercase).normalize_str(text)
    assert [word for word in prepared.split(" ") if word] == prepared_words(text, lowercase)


@pytest.mark.parametrize("lowercase", [True, False])
def test_hard_texts_give_what_the_rules_of_2018_give(lowercase):
    tokenizer, texts = ORIGINAL[lowercase], nasty_texts(500, seed=4)
    for text, tokens in zip(texts, tokenizer.tokens_batch(texts), strict=True):
        assert [tokenizer.token(i) for i in tokens.ids] == tokens_of_2018(text, set(VOCABULARY), lowercase)


def test_half_a_pair_a_null_and_a_replacement_character():
    vocabulary = [*VOCABULARY, "\0", "\ufffd", "##\0", "##\ufffd"]
    original, huggingface = (build(vocabulary=vocabulary, behaviour=b) for b in ("original", "huggingface"))
    for text, ours, theirs in (
        ("\ud83d", ["[UNK]"], []),
        ("cat\udc00 the", ["[UNK]", "the"], ["cat", "the"]),
        ("c\0at \ufffd", ["cat"], ["cat"]),
        ("東\0京\0", ["東", "京"], ["東", "京"]),
    ):
        assert [original.token(i) for i in original.tokens(text).ids] == ours
        assert [huggingface.token(i) for i in huggingface.tokens(text).ids] == theirs


def test_entries_with_white_space_are_read_as_in_2018(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*VOCABULARY, "dog ", "cat\u3000"]) + "\n", encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path, "original")
    assert tokenizer.tokens("dog").ids == [len(VOCABULARY)] and tokenizer.tokens("cat").ids == [len(VOCABULARY) + 1]
    assert load_tokenizer(tmp_path).tokens("cat").ids == [VOCABULARY.index("cat")]


def test_the_fingerprint():
    # Those of the default are older than the switch: prepared data and models name them.
    assert build().fingerprint == "94a14c52d7d9ccc73263daf0d51df3eb41fe9a3542f2265008880cbbd85866de"
    stripped = build(lowercase=False, strip_accents=True)
    assert stripped.fingerprint == "cf479f292f9760761065f96d7b0e4e5b1199f080458475ac2566a0bfed7e5951"
    original = build(behaviour="original")
    assert original.fingerprint not in (build().fingerprint, build(max_word_length=200).fingerprint)
    assert original.fingerprint == build(behaviour="original", strip_accents=True, max_word_length=200).fingerprint


@pytest.mark.parametrize("without", [None, "tokenizer.json", "vocab.txt"])
def test_the_behaviour_is_saved(tmp_path, capsys, without):
    transformers = pytest.importorskip("transformers")
    tokenizer, texts = build(behaviour="original"), ["The cat\ue000 " + "a" * 150, "ΣΑΣ x\U0002b820"]
    save_tokenizer(tokenizer, tmp_path)
    if without:
        (tmp_path / without).unlink()
    loaded = load_tokenizer(tmp_path)
    assert loaded.behaviour == "original" and loaded.fingerprint == tokenizer.fingerprint
    assert loaded.tokens_batch(texts) == tokenizer.tokens_batch(texts)
    assert capsys.readouterr().err == ""
    theirs, huggingface = transformers.AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path, "huggingface")
    assert "saved with the original behaviour, opened with huggingface, as asked" in capsys.readouterr().err
    assert huggingface.token_ids_batch(texts) == theirs(texts, add_special_tokens=False)["input_ids"]
    assert huggingface.token_ids_batch(texts) != loaded.token_ids_batch(texts)
    assert huggingface.fingerprint == build().fingerprint
    theirs.save_pretrained(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").fingerprint == tokenizer.fingerprint


def test_a_directory_of_the_default_says_nothing_of_the_switch(tmp_path, tokenizer):
    save_tokenizer(tokenizer, tmp_path)
    assert "behaviour" not in (tmp_path / "tokenizer_config.json").read_text(encoding="utf-8")
    original = load_tokenizer(tmp_path, "original")
    assert load_tokenizer(tmp_path).behaviour == "huggingface" and original.behaviour == "original"
    assert original.fingerprint == build(behaviour="original").fingerprint


def test_added_words_are_not_looked_for_by_the_original(tmp_path, capsys):
    backend = WordPieceBackend([*VOCABULARY, "c++", "dog"], added=[AddedWord("c++"), AddedWord("dog")])
    tokenizer = build()
    tokenizer.backend, tokenizer._ids = backend, {token: i for i, token in enumerate(backend.vocabulary)}
    save_tokenizer(tokenizer, tmp_path)
    original = load_tokenizer(tmp_path, "original")
    assert "does not look for 'c++' and 1 more added tokens in a text" in capsys.readouterr().err
    assert [original.token(i) for i in original.tokens("c++ dog").ids] == ["c", "[UNK]", "[UNK]", "dog"]
    with pytest.raises(UserError, match=r"'c\+\+' is an added token; the original behaviour knows none"):
        WordPieceBackend(
            [*VOCABULARY, "c++"], wordpiece=WordPieceSettings(behaviour="original"), added=[AddedWord("c++")]
        )


def test_no_such_behaviour(tmp_path, tokenizer):
    for make in (lambda: train_tokenizer(["a"], behaviour="orignal"), lambda: build(behaviour="orignal")):
        with pytest.raises(UserError, match="there is no tokenizer behaviour 'orignal'; did you mean 'original'"):
            make()
    save_tokenizer(tokenizer, tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dokkai_behaviour": "new"}), encoding="utf-8")
    with pytest.raises(UserError, match=f"{tmp_path}: there is no tokenizer behaviour 'new'; there is: hugg"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strip_accents": False}, r"strip_accents=False: the original .* always True there \(with lowercase=True\)"),
        ({"tokenize_chinese_chars": False}, "tokenize_chinese_chars=False: the original behaviour has no such choice"),
        ({"clean_text": False}, "clean_text=False: the original behaviour has no such choice"),
        ({"max_word_length": 100}, "max_word_length=100: the original .* it is always 200 .*; take the behaviour hugg"),
    ],
)
def test_the_original_has_no_other_settings(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        build(behaviour="original", **settings)
    save_tokenizer(build(**settings), tmp_path)
    if "max_word_length" in settings:  # that of a directory is Hugging Face's own
        assert load_tokenizer(tmp_path, "original").behaviour == "original"
    else:
        with pytest.raises(UserError, match=f"{tmp_path}: {message}"):
            load_tokenizer(tmp_path, "original")


def test_a_vocabulary_of_the_original(tmp_path):
    lines = ["ΟΔΟΣ ΑΣ'Α a\ue000b \U0002b820\U0002b821. Cafe\u0301\u2028x"] * 5
    learned = train_tokenizer(lines, 128, behaviour="original")
    assert learned.behaviour == "original"
    assert train_tokenizer((line for line in lines), 128, behaviour="original").fingerprint == learned.fingerprint
    tokens = [learned.token(i) for i in learned.tokens(lines[0]).ids]
    assert tokens == ["οδος", "ασ", "'", "α", "a\ue000b", "\U0002b820", "\U0002b821", ".", "cafe", "x"]
    entries = set(learned.backend.vocabulary)
    assert not {"##\U0002b820", "##.", "é", "Σ"} & entries and {"##ς", "##σ"} <= entries
    default = train_tokenizer(lines, 128)
    assert "a\ue000b" not in default.backend.vocabulary and default.behaviour == "huggingface"
