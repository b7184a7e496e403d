"""Several labels: rows to features, predictions, errors, and a tiny overfit."""

import numpy as np
import pytest
import torch
from tiny_tasks import LABELS, label_sets, overfit, predict, tiny_model

from dokkai.data.label_sets import LabelledText
from dokkai.errors import UserError
from dokkai.settings import MultiLabelSettings
from dokkai.tasks import MultiLabel


def create(tokenizer, classes=LABELS, **settings):
    return MultiLabel(MultiLabelSettings(**settings), tokenizer, classes)


def test_labels(tokenizer, tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text('text,labels\na bee,"animal, small"\nan oak,plant\nair,\n')
    task = create(tokenizer, ())
    rows = task.read(table)
    assert task.find_labels(rows, table) == ("animal", "plant", "small")
    assert create(tokenizer, (), labels=["plant", "small", "animal"]).find_labels(rows, table)[0] == "plant"
    with pytest.raises(UserError, match=r"rows\.csv line 2: unknown label 'small'; "):
        create(tokenizer).read(table)
    with pytest.raises(UserError, match=r"rows\.csv: no text in it has a label \(column 'labels'\)"):
        task.find_labels(rows[2:], table)


def test_predictions(tokenizer):
    task = create(tokenizer, threshold=0.7)
    examples = label_sets()[3:5]
    features = task.encode(examples, training=True)
    batch = task.collate(features, 16)
    assert batch["labels"].tolist() == [[0, 0, 1], [1, 1, 0]]
    assert task.counts(batch) == {"multi_label": 6}
    logits = {"classification": torch.tensor([[0.0, 0.5, 2.0], [5.0, -5.0, 1.0]])}
    found = task.merge(examples, features, task.decode(logits, batch, features))
    assert [item["labels"] for item in found] == [["stone"], ["animal", "stone"]]
    assert found[0]["probabilities"] == pytest.approx(dict(zip(LABELS, 1 / (1 + np.exp([0, -0.5, -2])), strict=True)))
    assert task.score(examples, found) == pytest.approx(
        {"f1_micro": 2 * 2 / 6, "f1_macro": (1 + 0 + 2 / 3) / 3, "accuracy": 0.5}
    )


def test_errors(tokenizer):
    unlabelled = [LabelledText("x", None, None, "0", "line 1")]
    with pytest.raises(UserError, match="rows without labels to train on; each needs them, or an empty field for none"):
        create(tokenizer).encode(unlabelled, training=True)
    with pytest.raises(UserError, match="the examples have no labels, so there is nothing to compare with"):
        create(tokenizer).score(unlabelled, [{"id": "0", "labels": []}])


def test_tiny_overfit(tokenizer):
    task, examples = create(tokenizer), label_sets()
    features = task.encode(examples, training=True)
    batch = task.collate(features, max(len(item.input_ids) for item in features))
    model = tiny_model(task, tokenizer.vocab_size, std=0.1)
    assert overfit(model, task, batch, steps=80, rate=3e-3) < 0.1
    assert task.score(examples, predict(task, model, examples)) == {"f1_micro": 1, "f1_macro": 1, "accuracy": 1}
