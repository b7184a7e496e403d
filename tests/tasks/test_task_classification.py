"""Classification: rows to features, labels, errors, and a tiny overfit."""

import numpy as np
import pytest
import torch
from tiny_tasks import LABELS, overfit, predict, rows, tiny_model

from dokkai.data.rows import Row
from dokkai.errors import UserError
from dokkai.settings import ClassificationSettings
from dokkai.tasks import Classification


def create(tokenizer, classes=LABELS, **settings):
    return Classification(ClassificationSettings(**settings), tokenizer, classes)


def test_read(tokenizer, examples):
    found = create(tokenizer, ()).read(examples / "topics-train.csv")
    assert len(found) == len({row.id for row in found}) > 200
    labels = tuple(sorted({row.label for row in found}))
    assert len(labels) == 6
    again = create(tokenizer, labels).read(examples / "topics-dev.csv")
    assert {row.label for row in again} == set(labels)


def test_features(tokenizer):
    row = Row("a bee", "the tree", "plant", "7", "line 1")
    single = create(tokenizer).encode([row], training=True)[0]
    assert tokenizer.decode(single.input_ids, skip_special_tokens=False) == "[CLS] a bee [SEP]"
    assert not single.token_type_ids.any()
    assert single.label == 1
    pair = create(tokenizer, pair="pair").encode([row], training=True)[0]
    assert tokenizer.decode(pair.input_ids, skip_special_tokens=False) == "[CLS] a bee [SEP] the tree [SEP]"
    assert pair.token_type_ids.tolist() == [0] * (len(single.input_ids)) + [1] * int(pair.token_type_ids.sum())
    assert pair.input_ids[pair.token_type_ids == 1][-1] == tokenizer.sep_id
    assert pair.input_ids[pair.token_type_ids == 0][-1] == tokenizer.sep_id


def test_long_texts_are_cut_and_counted(tokenizer, capsys):
    task = create(tokenizer, max_length=8)
    features = task.encode(
        [Row("bee " * 50, None, "plant", "0", "line 1"), Row("bee", None, "plant", "1", "line 2")], training=True
    )
    assert len(features[0].input_ids) == 8
    assert features[0].input_ids[-1] == tokenizer.sep_id
    assert "1 of 2 examples are cut to 8 tokens" in capsys.readouterr().err


def test_parse(tokenizer):
    task = create(tokenizer, text="sentence", pair="other", id="key")
    assert task.parse({"sentence": "x", "other": "y", "key": 5}, 0) == Row("x", "y", None, "5", "line 1")
    assert create(tokenizer).parse({"text": "x"}, 3) == Row("x", None, None, "3", "line 4")


def test_predictions(tokenizer):
    task = create(tokenizer)
    examples = rows()[:2]
    features = task.encode(examples, training=False)
    logits = {"classification": torch.tensor([[0.0, 2.0, 1.0], [5.0, -5.0, 0.0]])}
    batch = task.collate(features, 16)
    assert batch["labels"].tolist() == [0, 1]
    found = task.merge(examples, features, task.decode(logits, batch, features))
    expected = np.exp([0, 2, 1]) / np.exp([0, 2, 1]).sum()
    assert found[0]["label"] == "plant"
    assert found[0]["probability"] == pytest.approx(expected[1])
    assert found[0]["probabilities"] == pytest.approx(dict(zip(LABELS, expected, strict=True)))
    assert found[1]["label"] == "animal"
    scores = task.score(examples, found)
    assert scores["accuracy"] == 0
    assert set(scores) == {"accuracy", "f1_macro", "f1_micro", "matthews"}
    loss = task.losses(logits, batch)["classification"]
    logits_BY = logits["classification"]
    assert float(loss) == pytest.approx(-float(logits_BY.log_softmax(-1)[0, 0] + logits_BY.log_softmax(-1)[1, 1]))


def test_declared_labels_and_the_metric(tokenizer, tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("text,label\na bee,animal\nan oak,plant\na fir,plnat\n")
    with pytest.raises(UserError, match=r"rows\.csv line 4: unknown label 'plnat'; did you mean 'plant'\?"):
        create(tokenizer, (), labels=["plant", "animal"]).read(table)
    declared = create(tokenizer, (), labels=["plant", "animal", "plnat"], metric="f1_macro")
    assert declared.find_labels(declared.read(table), table) == ("plant", "animal", "plnat")
    assert declared.primary_metric == "f1_macro"
    found = create(tokenizer, ())
    assert found.find_labels(found.read(table), table) == ("animal", "plant", "plnat")
    with pytest.raises(UserError, match=r"rows\.csv: 3 labels in it, and task\.metric=f1_binary is for two"):
        create(tokenizer, (), metric="f1_binary").find_labels(found.read(table), table)
    with pytest.raises(UserError, match=r"rows\.csv: only one label \('animal'\) in it; a classification needs two"):
        found.find_labels(found.read(table)[:1], table)


def test_errors(tokenizer, tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("text,label\na bee,animal\nan oak,plnat\n")
    with pytest.raises(UserError, match=r"rows\.csv line 3: unknown label 'plnat'; did you mean 'plant'\?"):
        create(tokenizer).read(table)
    with pytest.raises(UserError, match="line 4: no text under 'pair'; found: text, label"):
        create(tokenizer, pair="pair").parse({"text": "x", "label": "y"}, 3)
    with pytest.raises(UserError, match="line 1: no text under 'text'; found: nothing"):
        create(tokenizer).parse({}, 0)
    unlabelled = [Row("x", None, None, "0", "line 1")]
    with pytest.raises(UserError, match="rows without labels to train on; each needs one"):
        create(tokenizer).encode(unlabelled, training=True)
    with pytest.raises(UserError, match="the examples have no labels, so there is nothing to compare with"):
        create(tokenizer).score(unlabelled, [{"id": "0", "label": "plant"}])


def test_tiny_overfit(tokenizer, examples):
    found = create(tokenizer, ()).read(examples / "topics-train.csv")
    labels = tuple(sorted({row.label for row in found}))
    task = create(tokenizer, labels, max_length=64)
    chosen = [row for label in labels for row in [r for r in found if r.label == label][:2]]
    features = task.encode(chosen, training=True)
    batch = task.collate(features, max(len(item.input_ids) for item in features))
    model = tiny_model(task, tokenizer.vocab_size, std=0.1)
    assert overfit(model, task, batch, steps=60, rate=3e-3) < 0.1
    scores = task.score(chosen, predict(task, model, chosen))
    assert scores["accuracy"] == scores["f1_macro"] == 1
