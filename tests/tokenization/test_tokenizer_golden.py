"""Published vocabularies on hard texts: the tokens of the 2018 release, and the ids and places of transformers."""

import json
import os
import shutil
import unicodedata
from functools import cached_property
from pathlib import Path

import pytest
from checks import check_places
from nasty_text import nasty_texts
from rules_of_2018 import tokens_of_2018

from dokkai.tokenization import load_tokenizer

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.data


class Published:
    """A published vocabulary with the goldens made from it, opened by both behaviours and by transformers."""

    def __init__(self, name, directory):
        data = Path(os.environ["DOKKAI_DATA"])
        lines = (data / "golden" / "tokenization-original.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
        assert len(lines) == 1776
        self.name, self.path = name, directory / "vocab.txt"
        self.rows = [row for row in map(json.loads, lines) if row["vocab"] == name]
        assert len(self.rows) == 444
        self.texts = [row["text"] for row in self.rows]
        self.lowercase = self.rows[0]["do_lower_case"]
        shutil.copy(data / "vocab" / f"{name}.vocab.txt", self.path)
        config = {"do_lower_case": self.lowercase}
        (directory / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")

    @cached_property
    def original(self):
        return load_tokenizer(self.path.parent, "original")

    @cached_property
    def huggingface(self):
        return load_tokenizer(self.path.parent)

    @cached_property
    def transformers(self):
        return transformers.BertTokenizerFast(vocab=str(self.path), do_lower_case=self.lowercase)

    @cached_property
    def entries(self):
        return {line.strip() for line in self.path.read_bytes().decode().split("\n")}


@pytest.fixture(
    scope="module",
    params=["bert-base-uncased", "bert-base-cased", "bert-base-chinese", "bert-base-multilingual-cased"],
)
def published(request, tmp_path_factory):
    return Published(request.param, tmp_path_factory.mktemp(request.param))


def test_original_gives_the_tokens_of_the_release_on_every_row(published):
    ours = published.original
    ids = ours.token_ids_batch(published.texts)
    assert [[ours.token(i) for i in row] for row in ids] == [row["tokens"] for row in published.rows]
    for text, expected, tokens in zip(published.texts, ids, ours.tokens_batch(published.texts), strict=True):
        assert tokens.ids == expected == ours.tokens(text).ids
        check_places(ours, text, tokens)


def test_the_rules_that_other_tests_compare_with_give_them_too(published):
    for row in published.rows:
        assert tokens_of_2018(row["text"], published.entries, published.lowercase) == row["tokens"]


def test_huggingface_gives_ids_and_places_of_transformers_on_every_row(published):
    assert compare_with_transformers(published, published.texts) == 0


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_both_behaviours_on_random_texts(published, count):
    texts = nasty_texts(count, seed=len(published.name))
    assert compare_with_transformers(published, texts) < 0.05 * count
    ours = published.original
    for text, ids in zip(texts, ours.token_ids_batch(texts), strict=True):
        assert [ours.token(i) for i in ids] == tokens_of_2018(text, published.entries, published.lowercase)


def compare_with_transformers(published, texts):
    """How many texts transformers loses its way in; raises for any difference that has no reason."""
    ours, theirs = published.huggingface, published.transformers
    # Theirs reads "[SEP]" in a text as the special token, unless it is told not to; for us text is text.
    found = theirs(texts, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True)
    assert ours.token_ids_batch(texts) == found["input_ids"]
    tokens_of_all, num_misplaced = ours.tokens_batch(texts), 0
    assert [tokens.ids for tokens in tokens_of_all] == found["input_ids"]
    for text, places, tokens in zip(texts, found["offset_mapping"], tokens_of_all, strict=True):
        places = [tuple(place) for place in places]
        if tokens.offsets == places:
            continue
        # Ours differ for two reasons only. Marks that are stripped belong to the letter before them ...
        assert published.lowercase
        if [without_marks(text, *pair) for pair in zip(tokens.offsets, places, strict=True)] != places:
            # ... and theirs lose their way among marks out of canonical order: their slices spell other pieces.
            assert not in_canonical_order(text)
            num_misplaced += 1
        check_places(ours, text, tokens)
    return num_misplaced


def without_marks(text, ours, theirs):
    start, end = ours
    while end > theirs[1] and unicodedata.category(text[end - 1]) == "Mn":
        end -= 1
    return start, end


def in_canonical_order(text):
    return unicodedata.normalize("NFD", text) == "".join(unicodedata.normalize("NFD", c) for c in text)
