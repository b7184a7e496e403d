"""One tiny example of every kind of task, for the tests that hold for all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dokkai.data.choices import ChoiceQuestion
from dokkai.data.columns import Sentence
from dokkai.data.label_sets import LabelledText
from dokkai.data.rows import Row
from dokkai.data.squad import Question, read_squad
from dokkai.model.config import ModelConfig
from dokkai.model.heads import Model
from dokkai.settings import (
    ClassificationSettings,
    MultiLabelSettings,
    MultipleChoiceSettings,
    PretrainingSettings,
    QuestionAnsweringSettings,
    RegressionSettings,
    SimilaritySettings,
    TokenClassificationSettings,
)
from dokkai.tasks import Task, create_task
from dokkai.tasks.token_classification import tagged_text
from dokkai.tokenization import Tokenizer

LABELS = ("animal", "plant", "stone")
TAGS = ("O", "B-ANIMAL", "I-ANIMAL", "B-PLANT")
TEXTS = [
    "a bee",
    "an oak tree",
    "the grey slab of granite",
    "an octopus with eight arms",
    "grass",
    "a red stone",
    "fir",
]


@dataclass
class Case:
    task: Task
    examples: Sequence[Any]
    unlabelled: Callable[[], Sequence[Any]]
    """The same kind of examples without labels, as ``predict`` gets them."""


def rows(with_pair: bool = False) -> list[Row]:
    """Eight labelled rows."""
    texts = [*TEXTS, "a penguin"]
    labels = [LABELS[i] for i in (0, 1, 2, 0, 1, 2, 1, 0)]
    return [
        Row(text, texts[-1 - i] if with_pair else None, label, f"row{i}", f"line {i + 2}")
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]


def label_sets() -> list[LabelledText]:
    """Eight rows: none of three labels, one, two or all."""
    sets = [(), ("animal",), ("plant",), ("stone",), ("animal", "plant"), ("plant", "stone"), LABELS, ("stone",)]
    return [LabelledText(row.text, None, labels, row.id, row.place) for row, labels in zip(rows(), sets, strict=True)]


def numbers() -> list[Row]:
    """Eight pairs with a number."""
    values = ("0", "5", "2.5", "1", "4.25", "3", "0.5", "2")
    return [Row(row.text, row.pair, value, row.id, row.place) for row, value in zip(rows(True), values, strict=True)]


def choices() -> list[ChoiceQuestion]:
    """Eight questions about a text, with two choices to four."""
    return [
        ChoiceQuestion(
            f"There is {row.text}.", "What is it?", (*LABELS, "a long list of things")[: 2 + i % 3], i % 2, row.id, i
        )
        for i, row in enumerate(rows())
    ]


def sentences() -> list[Sentence]:
    """Eight sentences of two documents; the words are cut into pieces, and one sentence is longer than the others."""
    texts = [
        "a/O bee/B-ANIMAL",
        "an/O oak/B-PLANT tree/O",
        "the/O grey/O slab/O of/O granite/O",
        "an/O octopus/B-ANIMAL with/O eight/O arms/O",
        "grass/B-PLANT",
        "a/O polar/B-ANIMAL bear/I-ANIMAL sees/O moss/B-PLANT",
        "fir/B-PLANT",
        " ".join(["a/O", "penguin/B-ANIMAL"] * 9),
    ]
    pairs = [[word.split("/") for word in text.split()] for text in texts]
    return [
        Sentence(tuple(word for word, _ in pair), tuple(tag for _, tag in pair), f"s{i}", f"line {i + 1}", i // 4)
        for i, pair in enumerate(pairs)
    ]


def questions(examples: Path) -> list[Question]:
    """Eight questions over two passages, some without an answer."""
    found = read_squad(examples / "train.json")
    contexts = list(dict.fromkeys(q.context for q in found))[:2]
    chosen = [q for context in contexts for q in [q for q in found if q.context == context][-4:]]
    assert any(q.is_impossible for q in chosen)
    return chosen


def build(kind: str, tokenizer: Tokenizer, prepared: Path, examples: Path) -> Case:
    match kind:
        case "pretraining" | "masked-lm":
            settings = PretrainingSettings(next_sentence=kind == "pretraining", lengths=[64], heldout_sequences=8)
            task = create_task(settings, tokenizer)
            return Case(task, task.read(prepared), lambda: [])
        case "classification" | "pair-classification":
            pair = "pair" if kind.startswith("pair") else None
            task = create_task(ClassificationSettings(pair=pair, max_length=32), tokenizer, LABELS)
            records = [{"text": text, "pair": "a moth", "id": f"r{i}"} for i, text in enumerate(TEXTS)]
            return Case(
                task, rows(pair is not None), lambda: [task.parse(record, i) for i, record in enumerate(records)]
            )
        case "multi-label":
            task = create_task(MultiLabelSettings(max_length=32), tokenizer, LABELS)
            records = [{"text": text, "id": f"r{i}"} for i, text in enumerate(TEXTS)]
            return Case(task, label_sets(), lambda: [task.parse(record, i) for i, record in enumerate(records)])
        case "regression":
            task = create_task(RegressionSettings(pair="pair", max_length=32), tokenizer)
            records = [{"text": text, "pair": "a moth", "id": f"r{i}"} for i, text in enumerate(TEXTS)]
            return Case(task, numbers(), lambda: [task.parse(record, i) for i, record in enumerate(records)])
        case "multiple-choice":
            task = create_task(MultipleChoiceSettings(context="text", question="question", max_length=48), tokenizer)
            records = [
                {"text": text, "question": "What?", "choices": ["a bee", "fir"], "id": f"r{i}"}
                for i, text in enumerate(TEXTS)
            ]
            return Case(task, choices(), lambda: [task.parse(record, i) for i, record in enumerate(records)])
        case "token-classification" | "document-tags":
            tags = TokenClassificationSettings(max_length=24, stride=8, document_context=kind == "document-tags")
            task = create_task(tags, tokenizer, TAGS)
            records = [{"text": text, "id": f"r{i}"} for i, text in enumerate(TEXTS)]
            records[0] = {"tokens": ["A", "bee"], "id": "r0"}
            return Case(
                task,
                [tagged_text(sentence) for sentence in sentences()],
                lambda: [task.parse(record, i) for i, record in enumerate(records)],
            )
        case "similarity":
            task = create_task(SimilaritySettings(positive=0.5, max_length=32), tokenizer)
            scored = [replace(row, label=str(number)) for number, row in enumerate(rows(with_pair=True), start=1)]
            records = [{"text": text, "pair": "a moth", "id": f"r{i}"} for i, text in enumerate(TEXTS)]
            return Case(task, scored, lambda: [task.parse(record, i) for i, record in enumerate(records)])
        case _:
            no_answer = kind == "squad2"
            settings = QuestionAnsweringSettings(max_length=96, stride=32, no_answer=no_answer)
            task = create_task(settings, tokenizer)
            chosen = [q for q in questions(examples) if no_answer or not q.is_impossible]
            records = [{"question": q.question, "context": q.context, "id": q.id} for q in chosen]
            return Case(task, chosen, lambda: [task.parse(record, i) for i, record in enumerate(records)])


KINDS = [
    "pretraining",
    "masked-lm",
    "classification",
    "pair-classification",
    "multi-label",
    "regression",
    "multiple-choice",
    "token-classification",
    "document-tags",
    "squad1",
    "squad2",
    "similarity",
]


def tiny_model(task: Task, vocab_size: int, hidden_size: int = 32, std: float = 0.3) -> Model:
    """Two layers, no dropout, weights large enough that logits differ."""
    config = ModelConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * hidden_size,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=384,
        initializer_range=std,
    )
    return Model(config, task.heads, len(task.labels) or 2)


def overfit(model: Model, task: Task, batch: dict[str, torch.Tensor], steps: int, rate: float) -> float:
    """Train on one batch; the loss at the end."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    counts = task.counts(batch)
    total = torch.zeros(())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 10, (steps - step) / (steps / 2))
        losses = task.losses(model(batch), batch)
        total = torch.stack([losses[name] / counts[name] for name in losses]).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return float(total.detach())


def predict(task: Task, model: Model, examples: Sequence[Any]) -> list[dict[str, Any]]:
    """What a pipeline does, in one batch."""
    features = task.encode(examples, training=False)
    batch = task.collate(features, max(len(item.input_ids) for item in features))
    with torch.inference_mode():
        outputs = task.decode(model(batch), batch, features)
    return task.merge(examples, features, outputs)
