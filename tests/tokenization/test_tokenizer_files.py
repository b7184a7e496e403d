"""A tokenizer on disk, ours and Hugging Face's: the same ids both ways, and plain words for what is wrong."""

import json

import pytest
from small_vocabulary import VOCABULARY, build

from dokkai.errors import UserError
from dokkai.tokenization import Tokenizer, load_tokenizer, save_tokenizer, train_tokenizer
from dokkai.tokenization.tokenizer import SpecialTokens
from dokkai.tokenization.wordpiece import AddedWord, WordPieceBackend

transformers = pytest.importorskip("transformers")

TEXTS = ["The café, unwanted!", "Paris 東京 타", "running\u0000 #1 [ x ] cafe\u0301", "", "x" * 120 + " the"]


def edit(path, **changes):
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")


@pytest.fixture
def saved(tmp_path, tokenizer):
    save_tokenizer(tokenizer, tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("settings", [{}, {"lowercase": False}, {"strip_accents": False}, {"clean_text": False}])
@pytest.mark.parametrize("without", [None, "tokenizer.json", "vocab.txt"])
def test_saving_and_loading_changes_nothing(tmp_path, settings, without):
    tokenizer = build(**settings)
    save_tokenizer(tokenizer, tmp_path)
    if without:
        (tmp_path / without).unlink()
    loaded = load_tokenizer(tmp_path)
    assert loaded.fingerprint == tokenizer.fingerprint and loaded.model_max_length is None
    assert loaded.tokens_batch(TEXTS) == tokenizer.tokens_batch(TEXTS)


def test_extra_tokens_and_the_length_survive(tmp_path):
    tokenizer = train_tokenizer(["the cat sat on the mat"] * 5, 64, special_tokens=["[E1]", "[/E1]"])
    save_tokenizer(tokenizer, tmp_path, model_max_length=512)
    loaded = load_tokenizer(tmp_path)
    assert loaded.fingerprint == tokenizer.fingerprint and loaded.model_max_length == 512
    assert loaded.special.extra == ("[E1]", "[/E1]")
    save_tokenizer(loaded, tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").model_max_length == 512
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert {"[E1]", "[/E1]"} <= set(theirs.all_special_tokens) and theirs.model_max_length == 512
    assert theirs.convert_tokens_to_ids("[E1]") == loaded.id("[E1]") == 5


@pytest.mark.parametrize("lowercase", [True, False])
def test_transformers_opens_ours(tmp_path, lowercase):
    tokenizer = build(lowercase)
    save_tokenizer(tokenizer, tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(TEXTS)["input_ids"] == [tokenizer.encode(text).input_ids for text in TEXTS]
    pair, ours = theirs("The cat", "unwanted"), tokenizer.encode("The cat", "unwanted")
    assert (pair["input_ids"], pair["token_type_ids"]) == (ours.input_ids, ours.token_type_ids)
    assert [theirs.pad_token_id, theirs.unk_token_id, theirs.mask_token_id] == [0, 1, 4]
    assert len(theirs) == tokenizer.vocab_size


def test_we_open_what_transformers_writes(tmp_path, saved):
    theirs = transformers.AutoTokenizer.from_pretrained(saved)
    theirs.add_special_tokens({"additional_special_tokens": ["[E1]"]})
    theirs.add_tokens(["c++"])
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_tokenizer(tmp_path / "theirs")
    assert ours.vocab_size == len(theirs) and ours.special.extra == ("[E1]",)
    texts = [*TEXTS, "the c++ cat"]
    assert ours.token_ids_batch(texts) == theirs(texts, add_special_tokens=False)["input_ids"]
    assert ours.id("[E1]") not in ours.tokens("[E1]").ids
    save_tokenizer(ours, tmp_path / "back")
    assert load_tokenizer(tmp_path / "back").fingerprint == ours.fingerprint
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    assert again(texts)["input_ids"] == theirs(texts)["input_ids"]


def test_other_names_for_the_special_tokens(tmp_path):
    names = {"pad": "<pad>", "unk": "<unk>", "cls": "<cls>", "sep": "<sep>", "mask": "<mask>"}
    vocabulary = [*names.values(), *VOCABULARY[5:]]
    special = SpecialTokens(**names)
    tokenizer = Tokenizer(WordPieceBackend(vocabulary, "<unk>", special.all()), special)
    save_tokenizer(tokenizer, tmp_path)
    assert load_tokenizer(tmp_path).fingerprint == tokenizer.fingerprint
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    edit(tmp_path / "special_tokens_map.json", **{f"{role}_token": {"content": t} for role, t in names.items()})
    assert load_tokenizer(tmp_path).encode("the").input_ids == tokenizer.encode("the").input_ids


@pytest.mark.parametrize(("extra", "lowercase"), [([], False), (None, True)])
def test_a_bare_vocabulary_shows_its_case(tmp_path, capsys, extra, lowercase):
    words = [token for token in VOCABULARY if extra is not None or token != "Paris"]
    (tmp_path / "vocab.txt").write_bytes("".join(f"{token}\r\n" for token in [*words, "\u2028"]).encode())
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.lowercase is lowercase and tokenizer.vocab_size == len(words) + 1
    assert "nothing says do_lower_case" in capsys.readouterr().err


def test_a_byte_order_mark_is_no_part_of_the_first_token(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8-sig")
    assert load_tokenizer(tmp_path).id(VOCABULARY[0]) == 0


def test_added_tokens_beside_a_vocabulary(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    edit(tmp_path / "added_tokens.json", **{"c++": len(VOCABULARY)})
    edit(tmp_path / "tokenizer_config.json", do_lower_case=True, additional_special_tokens=["cat"])
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.backend.added == (AddedWord("c++"),) and tokenizer.special.extra == ("cat",)
    assert tokenizer.tokens("c++").ids == [len(VOCABULARY)]


def test_an_entry_that_stands_twice(tmp_path, capsys):
    (tmp_path / "vocab.txt").write_text("\n".join([*VOCABULARY, "the"]), encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    assert "1 of" in capsys.readouterr().err and tokenizer.id("the") == len(VOCABULARY)
    save_tokenizer(tokenizer, tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").fingerprint == tokenizer.fingerprint


def test_the_configuration_decides_and_says_so(saved, capsys):
    edit(saved / "tokenizer_config.json", do_lower_case=False)
    assert not load_tokenizer(saved).lowercase
    assert "says do_lower_case=False, tokenizer.json True" in capsys.readouterr().err
    assert transformers.AutoTokenizer.from_pretrained(saved)("The")["input_ids"] == [2, 1, 3]


def test_a_setting_that_is_neither_true_nor_false(saved):
    edit(saved / "tokenizer_config.json", do_lower_case="false")
    with pytest.raises(UserError, match=r"tokenizer_config\.json says do_lower_case='false'; it must be true or false"):
        load_tokenizer(saved)


def test_no_limit_is_none(saved):
    edit(saved / "tokenizer_config.json", model_max_length=1e30)
    assert load_tokenizer(saved).model_max_length is None


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="missing: no such model directory"):
        load_tokenizer(tmp_path / "missing")
    with pytest.raises(UserError, match=r"has no vocabulary: neither tokenizer\.json nor vocab\.txt is there"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"type": "BPE"}}, "its model is BPE; choose a BERT model"),
        ({"normalizer": {"type": "NFC"}}, "its normalizer is NFC, not BertNormalizer"),
        ({"normalizer": None}, "its normalizer is nothing, not BertNormalizer"),
        ({"pre_tokenizer": {"type": "ByteLevel"}}, "its pre_tokenizer is ByteLevel, not BertPreTokenizer"),
        ({"post_processor": {"type": "RobertaProcessing"}}, "its post_processor is RobertaProcessing"),
    ],
)
def test_another_kind_of_tokenizer(saved, change, message):
    edit(saved / "tokenizer.json", **change)
    with pytest.raises(UserError, match=f"is not a BERT WordPiece tokenizer: {message}"):
        load_tokenizer(saved)


def test_another_kind_beside_a_vocabulary(saved):
    (saved / "tokenizer.json").unlink()
    edit(saved / "tokenizer_config.json", tokenizer_class="BertJapaneseTokenizer")
    with pytest.raises(UserError, match="it says it is BertJapaneseTokenizer; choose a BERT model"):
        load_tokenizer(saved)
    edit(saved / "tokenizer_config.json", tokenizer_class=None)
    (saved / "config.json").write_text('{"tokenizer_class": "BertJapaneseTokenizer"}', encoding="utf-8")
    with pytest.raises(UserError, match="it says it is BertJapaneseTokenizer; choose a BERT model"):
        load_tokenizer(saved)
    edit(saved / "tokenizer_config.json", tokenizer_class=["BertTokenizer"])
    with pytest.raises(UserError, match=r"it says it is \['BertTokenizer'\]; choose a BERT model"):
        load_tokenizer(saved)


def test_a_tokenizer_without_its_vocabulary(saved):
    edit(saved / "tokenizer.json", model={"type": "WordPiece"})
    with pytest.raises(UserError, match=r"tokenizer\.json: no model\.vocab in it, the ids of the tokens"):
        load_tokenizer(saved)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("tokenizer.json", {"model": [1]}, r"json: model must be an object with names, not \[1\]"),
        ("tokenizer.json", {"normalizer": "BertNormalizer"}, "json: normalizer must be an object with names"),
        ("tokenizer.json", {"added_tokens": [{"id": -1, "content": "x"}]}, "added_tokens.0.id must be at least 0"),
        ("tokenizer.json", {"added_tokens": [{"id": 1 << 40, "content": "x"}]}, "added_tokens.0.id must be at most"),
        ("tokenizer.json", {"added_tokens": [{"id": 3}]}, "json: added_tokens.0.content: Field required"),
        ("tokenizer_config.json", {"mask_token": {"a": 1}}, "mask_token must be a word, not None"),
        ("tokenizer_config.json", {"extra_special_tokens": 3}, "extra_special_tokens must be a list, not 3"),
        ("tokenizer_config.json", {"added_tokens_decoder": [1]}, "added_tokens_decoder must be an object with names"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"a": {"content": "b"}}}, "a must be a whole number"),
    ],
)
def test_malformed_parts_are_named(saved, name, changes, message):
    edit(saved / name, **changes)
    with pytest.raises(UserError, match=message) as caught:
        load_tokenizer(saved)
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize("vocabulary", [{"[PAD]": "0"}, {"[PAD]": -1}, {"[PAD]": None}])
def test_ids_that_are_none(saved, vocabulary):
    edit(saved / "tokenizer.json", model={"type": "WordPiece", "vocab": vocabulary})
    with pytest.raises(UserError, match=r"tokenizer\.json: model\.vocab: \[PAD\] must be"):
        load_tokenizer(saved)


def test_a_missing_special_token_is_named(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(t for t in VOCABULARY if t != "[MASK]"), encoding="utf-8")
    with pytest.raises(UserError, match=r"the vocabulary has no \[MASK\] \(the mask token\), which BERT needs"):
        load_tokenizer(tmp_path)


def test_damaged_files(tmp_path, saved):
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(UserError, match="not UTF-8 at byte 6; a vocabulary is one UTF-8 token a line"):
        load_tokenizer(tmp_path)
    (saved / "tokenizer.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="the tokenizer must be a JSON object, not a list"):
        load_tokenizer(saved)


def test_only_wordpiece_can_be_saved(tmp_path, tokenizer):
    tokenizer.backend = object()
    with pytest.raises(TypeError, match="object is not the WordPiece backend"):
        save_tokenizer(tokenizer, tmp_path)
