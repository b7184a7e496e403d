"""Multiple choice: sequences of a question, batches of several sizes, predictions, and a tiny overfit."""

import numpy as np
import pytest
import torch
from tiny_tasks import choices, overfit, predict, tiny_model

from dokkai.data.choices import ChoiceQuestion
from dokkai.errors import UserError
from dokkai.pipeline import Pipeline
from dokkai.settings import MultipleChoiceSettings, TrainSettings
from dokkai.tasks import MultipleChoice
from dokkai.training.finetune import FeatureBatches


def create(tokenizer, **settings):
    return MultipleChoice(MultipleChoiceSettings(**{"question": "question"} | settings), tokenizer)


@pytest.mark.parametrize(
    ("context", "question", "expected"),
    [
        ("a bee", "what is red", "[CLS] a bee [SEP] what is red a stone [SEP]"),
        (None, "what is red", "[CLS] what is red [SEP] a stone [SEP]"),
        ("a bee", None, "[CLS] a bee [SEP] a stone [SEP]"),
    ],
)
def test_sequences(tokenizer, context, question, expected):
    task = create(tokenizer)
    (feature,) = task.encode([ChoiceQuestion(context, question, ("fir", "a stone"), 0, "0", "line 1")], training=True)
    assert tokenizer.decode(feature.choices[1].input_ids, skip_special_tokens=False) == expected
    assert feature.input_ids == feature.choices[1].input_ids  # the longer one
    assert feature.token_type_ids == feature.choices[1].token_type_ids
    assert len(feature.rows) == 2


def test_long_contexts_are_cut_and_counted(tokenizer, capsys):
    examples = [ChoiceQuestion("bee " * n, "what", ("fir", "stone"), 0, str(n), "line 1") for n in (50, 2)]
    (long, _) = create(tokenizer, context="text", max_length=16).encode(examples, training=True)
    assert [len(choice.input_ids) for choice in long.choices] == [16, 16]
    assert "stone" in tokenizer.decode(long.choices[1].input_ids)
    assert "1 of 2 questions are cut to 16 tokens with a choice" in capsys.readouterr().err


def test_a_batch_of_several_sizes(tokenizer):
    task, examples = create(tokenizer, context="text"), choices()[:3]
    features = task.encode(examples, training=True)
    batch = task.collate(features, 48)
    assert batch["choice_rows"].tolist() == [[0, 1, -1, -1], [2, 3, 4, -1], [5, 6, 7, 8]]
    logits = {"multiple_choice": torch.tensor([0.0, 1.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.0, 3.0])}
    found = task.merge(examples, features, task.decode(logits, batch, features))
    assert [len(item["probabilities"]) for item in found] == [2, 3, 4]
    assert found[0]["probabilities"] == pytest.approx([1 / (1 + np.e), np.e / (1 + np.e)])
    assert [(item["label"], item["choice"]) for item in found] == [
        (1, "plant"),
        (0, "animal"),
        (3, "a long list of things"),
    ]
    assert [item.label for item in examples] == [0, 1, 0]
    assert task.score(examples, found) == {"accuracy": 0}
    expected = -sum(np.log(found[i]["probabilities"][item.label]) for i, item in enumerate(examples))
    assert float(task.losses(logits, batch)["multiple_choice"]) == pytest.approx(expected)
    letters = create(tokenizer, label_is="letter")
    assert letters.merge(examples, features, task.decode(logits, batch, features))[0]["label"] == "B"


def test_the_choices_of_a_question_stay_together(tokenizer):
    """In micro-batches by tokens, in which every choice counts; all questions once in an epoch."""
    task = create(tokenizer, context="text")
    examples = [
        ChoiceQuestion("a " * (1 + 3 * i % 60), "b", ("c",) * (2 + i % 4), 0, str(i), f"line {i}") for i in range(40)
    ]
    features = task.encode(examples, training=True)
    batches = FeatureBatches(task, features, TrainSettings(batch_size=20, epochs=1, micro_batch_tokens=600))
    assert len(batches) == 2
    parts = [part for step in range(2) for part in batches[step]]
    assert sum(len(part["labels"]) for part in parts) == 40
    assert sum(len(part["input_ids"]) for part in parts) == sum(len(item.choices) for item in examples)
    for part in parts:
        assert part["input_ids"].numel() <= 600 or len(part["labels"]) == 1
        assert sorted(part["choice_rows"][part["choice_rows"] >= 0].tolist()) == list(range(len(part["input_ids"])))


def test_predictions_do_not_depend_on_the_batch(tokenizer):
    """Over several forward passes, where questions are read by length."""
    task = create(tokenizer, context="text", max_length=200)
    examples = [
        ChoiceQuestion("a " * (i * 13 % 180), "b", tuple("cdefg"[: 2 + i % 4]), 0, str(i), f"line {i}")
        for i in range(24)
    ]
    pipeline = Pipeline(tiny_model(task, tokenizer.vocab_size), tokenizer, task, torch.device("cpu"), "fp32")
    together = pipeline.predict(examples)
    for item, found in zip(examples, together, strict=True):
        assert pipeline.predict([item])[0]["probabilities"] == pytest.approx(found["probabilities"], abs=1e-5)


def test_parse(tokenizer):
    task = create(tokenizer, context="sent1", question="sent2", choices=["e0", "e1"], id="key")
    record = {"sent1": "A", "sent2": "b", "e0": "x", "e1": "y"}
    assert task.parse(record | {"key": 5}, 0) == ChoiceQuestion("A", "b", ("x", "y"), None, "5", "line 1")
    assert task.parse(record, 3).id == "3"
    with pytest.raises(UserError, match="line 4: no column 'e0'; there is: sent1"):
        task.parse({"sent1": "A"}, 3)


def test_errors(tokenizer):
    unlabelled = [ChoiceQuestion(None, "q", ("x", "y"), None, "0", "line 1")]
    with pytest.raises(UserError, match="questions without the right choice to train on; each needs one"):
        create(tokenizer).encode(unlabelled, training=True)
    with pytest.raises(UserError, match="the right choices are not known, so there is nothing to compare with"):
        create(tokenizer).score(unlabelled, [{"probabilities": [0.5, 0.5]}])


def test_tiny_overfit(tokenizer):
    task, examples = create(tokenizer, context="text"), choices()
    features = task.encode(examples, training=True)
    batch = task.collate(features, max(len(item.input_ids) for item in features))
    model = tiny_model(task, tokenizer.vocab_size, std=0.1)
    assert overfit(model, task, batch, steps=80, rate=3e-3) < 0.1
    assert task.score(examples, predict(task, model, examples)) == {"accuracy": 1}
