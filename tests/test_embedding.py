"""Vectors of a file: the lines of the release beside transformers, long lines, mistakes."""

import json
import re

import numpy as np
import pytest
import torch

from command_line import dokkai, fails, works
from dokkai.tokenization import save_tokenizer

LINES = ["John Smeaton built it.", "Who was he? ||| An engineer.", "", "a ||| b ||| c", "volcano " * 40, "東京 ||| "]
PAIRS = [(LINES[0], None), ("Who was he?", "An engineer."), ("", None), ("a ||| b", "c"), (LINES[4], None)]
PAIRS.append(("東京 |||", None))  # the line is stripped first, as in the release


@pytest.fixture(scope="module")
def bert(tokenizer, tmp_path_factory):
    """``transformers``' model with wide weights, and the directory it was saved to."""
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
    torch.manual_seed(11)
    config = BertConfig(vocab_size=tokenizer.vocab_size, max_position_embeddings=40, initializer_range=0.4, **sizes)
    model = BertModel(config, add_pooling_layer=False).eval()  # embedding has no use for a pooler
    path = tmp_path_factory.mktemp("bert")
    model.save_pretrained(path)
    save_tokenizer(tokenizer, path)
    return model, path


def features_of_the_release(model, tokenizer, first, second, layers, most):
    """``[(token, {layer: values})]`` by transformers; the hidden states begin with the embeddings."""
    words = [tokenizer.token(i) for i in tokenizer.tokens(first).ids]
    others = [] if second is None else [tokenizer.token(i) for i in tokenizer.tokens(second).ids]
    room = most - (2 if second is None else 3)
    while len(words) + len(others) > room:
        (words if len(words) > len(others) else others).pop()
    tokens = ["[CLS]", *words, "[SEP]"] + ([] if second is None else [*others, "[SEP]"])
    types = [0] * (len(words) + 2) + [1] * (len(tokens) - len(words) - 2)
    ids = torch.tensor([[tokenizer.id(token) for token in tokens]])
    with torch.no_grad():
        states = model(ids, token_type_ids=torch.tensor([types]), output_hidden_states=True).hidden_states[1:]
    return [(token, {layer: states[layer][0, place] for layer in layers}) for place, token in enumerate(tokens)]


@pytest.mark.parametrize(("layers", "length"), [((-1, -2, -3), None), ((0, 2, -1), 12)])
def test_the_lines_of_the_release(bert, tokenizer, layers, length):
    model, path = bert
    words = ["embed", path, "--layers", ",".join(map(str, layers)), "--format", "google"]
    words += [] if length is None else ["--max-length", length]
    done = dokkai(*words, stdin="\n".join(LINES))
    assert done.code == 0
    cut = 1 if length is None else 2
    assert f"{cut} of 6 lines are cut to {length or 40} tokens" in done.err
    lines = done.out.splitlines()
    assert len(lines) == len(LINES)
    for number, (text, (first, second)) in enumerate(zip(lines, PAIRS, strict=True)):
        line = json.loads(text)
        assert text == json.dumps(line) and text.isascii()  # the separators of the release
        assert list(line) == ["linex_index", "features"] and line["linex_index"] == number
        expected = features_of_the_release(model, tokenizer, first, second, layers, length or 40)
        assert [item["token"] for item in line["features"]] == [token for token, _ in expected]
        for item, (_, states) in zip(line["features"], expected, strict=True):
            assert list(item) == ["token", "layers"]
            assert [list(entry) for entry in item["layers"]] == [["index", "values"]] * len(layers)
            assert [entry["index"] for entry in item["layers"]] == list(layers)
            for entry in item["layers"]:
                np.testing.assert_allclose(entry["values"], states[entry["index"]], atol=1e-5)
                assert all(value == round(value, 6) for value in entry["values"])


def test_128_tokens_by_default(tokenizer, tmp_path):
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=tokenizer.vocab_size, **sizes)).save_pretrained(tmp_path)
    save_tokenizer(tokenizer, tmp_path)
    words = ["embed", tmp_path, "--format", "google"]
    (line,) = map(json.loads, works(*words, stdin="a " * 300).splitlines())
    assert len(line["features"]) == 128
    (line,) = map(json.loads, works(*words, "--max-length", 200, stdin="a " * 300).splitlines())
    assert len(line["features"]) == 200
    (line,) = map(json.loads, works("embed", tmp_path, "--pooling", "none", stdin="a " * 300).splitlines())
    assert len(line["tokens"]) == 302


def test_long_lines_are_counted_once(bert):
    """Over all blocks of lines, in every format."""
    for words in ([], ["--format", "google"]):
        done = dokkai("embed", bert[1], "--max-length", 8, *words, stdin="a\n" * 299 + "a b c d e f g h i\n" * 3)
        assert done.code == 0 and len(done.out.splitlines()) == 302
        assert [line for line in done.err.splitlines() if "cut" in line] == ["3 of 302 lines are cut to 8 tokens"]
    assert "cut" not in dokkai("embed", bert[1], stdin="a\n").err


def test_a_shorter_text_by_max_length(bert, tokenizer):
    (line,) = works("embed", bert[1], "--pooling", "none", "--max-length", 5, stdin="a b c d e\n").splitlines()
    (other,) = works("embed", bert[1], "--pooling", "none", stdin="a b c\n").splitlines()
    assert json.loads(line)["tokens"] == json.loads(other)["tokens"] == ["[CLS]", "a", "b", "c", "[SEP]"]
    np.testing.assert_allclose(json.loads(line)["vectors"], json.loads(other)["vectors"], atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_an_array_of_many_texts(bert, tmp_path, pooling):
    """Written block by block; the same as the lines, in the order of the texts."""
    texts = "\n".join("word " * (1 + 7 * number % 30) for number in range(600))
    works("embed", bert[1], "--pooling", pooling, "--out", tmp_path / "v.npy", stdin=texts)
    array = np.load(tmp_path / "v.npy", mmap_mode="r")
    assert (array.shape, array.dtype) == ((600, 32), np.float32)
    lines = [json.loads(line) for line in works("embed", bert[1], "--pooling", pooling, stdin=texts).splitlines()]
    np.testing.assert_allclose(array, [line["vector"] for line in lines], atol=1e-6)
    (tokens,) = works("embed", bert[1], "--pooling", "none", stdin=texts.splitlines()[5]).splitlines()
    rows = np.array(json.loads(tokens)["vectors"])
    expected = {"mean": rows.mean(0), "cls": rows[0], "max": rows.max(0)}[pooling]
    np.testing.assert_allclose(array[5], expected, atol=2e-6)


def test_the_note_on_vectors_that_were_not_tuned(bert, tmp_path):
    note = (
        "was not tuned for vectors of texts, so their cosines say little about meaning; `dokkai finetune sentence-vec"
    )
    assert dokkai("embed", bert[1], stdin="a\n" * 300).err.count(note) == 1
    assert dokkai("embed", bert[1], "--out", tmp_path / "v.npy", stdin="a\n").err.count(note) == 1
    assert note not in dokkai("embed", bert[1], "--pooling", "none", stdin="a\n").err
    assert note not in dokkai("embed", bert[1], "--format", "google", stdin="a\n").err


@pytest.mark.parametrize("words", [["--pooling", "mean"], ["--pooling", "none"], ["--format", "google"]])
def test_six_decimals(bert, words):
    numbers = re.findall(r"-?\d+\.\d+", works("embed", bert[1], *words, stdin="a b c\n"))
    assert len(numbers) >= 32 and max(len(number.partition(".")[2]) for number in numbers) == 6


def test_the_file_of_the_texts_is_not_replaced(bert, tmp_path):
    (tmp_path / "texts.txt").write_text("a\nb\n")
    line = fails("embed", bert[1], tmp_path / "texts.txt", "--out", tmp_path / "texts.txt")
    assert line.endswith("is the file of the texts; give another name")
    assert (tmp_path / "texts.txt").read_text() == "a\nb\n"


def test_mistakes(bert, tmp_path):
    google = ["embed", bert[1], "--format", "google"]
    assert "unknown format 'gogle'; did you mean 'google'?" in fails("embed", bert[1], "--format", "gogle")
    message = "--format google is JSON lines with a vector per token; leave --pooling and --out away"
    assert fails(*google, "--pooling", "mean") == fails(*google, "--out", tmp_path / "v.npy") == message
    for layer in ("3", "-4"):
        assert "layers go from -3 to 2 with --format google" in fails(*google, "--layers", layer, stdin="a\n")
    line = fails("embed", bert[1], "--max-length", 41, stdin="a\n")
    assert line == "--max-length is 41, but the model has 40 positions; lower it"
    assert "--max-length" in fails("embed", bert[1], "--max-length", 2, stdin="a\n")
    line = fails("embed", bert[1], "--pooling", "none", "--out", tmp_path / "v.npy", stdin="a\n")
    assert line == "an array holds one vector per text; use --pooling mean, cls or max with --out, or leave --out away"
    assert list(tmp_path.iterdir()) == []
