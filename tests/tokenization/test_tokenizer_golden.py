"""Published vocabularies on hard texts: the ids of transformers, and the tokens of the 2018 release."""

import json
import shutil

import pytest

from dokkai.tokenization import load_tokenizer

transformers = pytest.importorskip("transformers")


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["bert-base-uncased", "bert-base-cased", "bert-base-chinese", "bert-base-multilingual-cased"]
)
def test_golden_texts(data, tmp_path, name):
    golden = (data / "golden" / "tokenization-original.jsonl").read_text(encoding="utf-8")
    rows = [row for row in map(json.loads, golden.split("\n")[:-1]) if row["vocab"] == name]
    lowercase = rows[0]["do_lower_case"]
    shutil.copy(data / "vocab" / f"{name}.vocab.txt", tmp_path / "vocab.txt")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}), encoding="utf-8")
    ours = load_tokenizer(tmp_path)
    theirs = transformers.BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"), do_lower_case=lowercase)
    # Theirs reads "[SEP]" in a text as the special token; for us text is text.
    rows = [row for row in rows if not any(token in row["text"] for token in ours.special.all())]
    assert len(rows) > 400
    texts = [row["text"] for row in rows]
    assert ours.token_ids_batch(texts) == theirs(texts, add_special_tokens=False)["input_ids"]
    for row, tokens in zip(rows, ours.tokens_batch(texts), strict=True):
        # The code of 2018 takes words of up to 200 characters apart, Hugging Face's files and ours of up to 100.
        if max(map(len, row["text"].split()), default=0) <= 100:
            assert [ours.token(i) for i in tokens.ids] == row["tokens"]
