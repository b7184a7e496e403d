"""Regression: rows to features, predictions, errors, and a tiny overfit."""

import pytest
import torch
from tiny_tasks import numbers, overfit, predict, tiny_model

from dokkai.data.rows import Row
from dokkai.errors import UserError
from dokkai.settings import RegressionSettings
from dokkai.tasks import Regression


def create(tokenizer, **settings):
    return Regression(RegressionSettings(**settings), tokenizer)


def test_predictions(tokenizer):
    task = create(tokenizer, pair="pair", label="score")
    assert task.labels == ("score",)
    examples = numbers()[:3]
    features = task.encode(examples, training=True)
    batch = task.collate(features, 32)
    assert batch["labels"].tolist() == [0, 5, 2.5]
    logits = {"classification": torch.tensor([[1.0], [3.0], [2.5]])}
    assert float(task.losses(logits, batch)["regression"]) == pytest.approx(1 + 4)
    found = task.merge(examples, features, task.decode(logits, batch, features))
    assert [(item["id"], item["value"]) for item in found] == [("row0", 1.0), ("row1", 3.0), ("row2", 2.5)]
    assert [(item["text"], item["pair"]) for item in found] == [(row.text, row.pair) for row in examples]
    scores = task.score(examples, found)
    assert scores["mean_squared_error"] == pytest.approx(5 / 3)
    assert scores["spearman"] == pytest.approx(1)
    assert set(scores) == {"pearson", "spearman", "mean_squared_error"}
    assert create(tokenizer, metric="spearman").primary_metric == "spearman"


@pytest.mark.parametrize("value", ["high", "nan", "inf", "1,5"])
def test_what_is_no_number(tokenizer, tmp_path, value):
    table = tmp_path / "rows.tsv"
    table.write_text(f"text\tlabel\na\t1.5\nb\t{value}\n")
    with pytest.raises(UserError, match=rf"rows\.tsv line 3: '{value}' \(column 'label'\) is no number"):
        create(tokenizer).read(table)


def test_errors(tokenizer):
    unlabelled = [Row("x", None, None, "0", "line 1")]
    with pytest.raises(UserError, match="rows without numbers to train on; each needs one"):
        create(tokenizer).encode(unlabelled, training=True)
    with pytest.raises(UserError, match="the examples have no numbers, so there is nothing to compare with"):
        create(tokenizer).score(unlabelled, [{"id": "0", "value": 1.0}])


def test_tiny_overfit(tokenizer):
    task, examples = create(tokenizer, pair="pair"), numbers()
    features = task.encode(examples, training=True)
    batch = task.collate(features, max(len(item.input_ids) for item in features))
    model = tiny_model(task, tokenizer.vocab_size, std=0.1)
    assert overfit(model, task, batch, steps=150, rate=3e-3) < 0.01
    scores = task.score(examples, predict(task, model, examples))
    assert scores["pearson"] > 0.999
    assert scores["spearman"] == pytest.approx(1)
