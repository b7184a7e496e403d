"""The losses of transformers' models, from the directories that ours save, at equal weights."""

import pytest
import torch
import transformers
from tiny_tasks import build, tiny_model

from dokkai.converting import convert
from dokkai.pipeline import Pipeline, load

CLASSES = {
    "classification": "SequenceClassification",
    "pair-classification": "SequenceClassification",
    "multi-label": "SequenceClassification",
    "regression": "SequenceClassification",
    "multiple-choice": "MultipleChoice",
    "token-classification": "TokenClassification",
    "document-tags": "TokenClassification",
    "squad1": "QuestionAnswering",
}


def their_inputs(kind, batch):
    """Our batch as their models take it: choices of a question in a row, the two ends of an answer apart."""
    inputs = {name: batch[name] for name in ("input_ids", "token_type_ids", "attention_mask")}
    if kind == "multiple-choice":
        inputs = {name: part[batch["choice_rows"]] for name, part in inputs.items()}
    if kind == "squad1":
        return inputs | {"start_positions": batch["starts"], "end_positions": batch["ends"]}
    return inputs | {"labels": batch["labels"]}


@pytest.mark.parametrize("kind", CLASSES)
def test_losses(kind, tokenizer, prepared, examples, tmp_path):
    case = build(kind, tokenizer, prepared, examples)
    task = case.task
    found = list(case.examples)
    if kind == "multiple-choice":  # theirs needs equally many choices
        found = [item for item in found if len(item.choices) == len(found[1].choices)]
    ours = tiny_model(task, tokenizer.vocab_size).eval()
    Pipeline(ours, tokenizer, task, torch.device("cpu")).save(tmp_path)
    features = task.encode(found, training=True)
    if kind == "squad1":  # in theirs padding competes for the answer
        features = [item for item in features if len(item.input_ids) == len(features[0].input_ids)]
    batch = task.collate(features, max(len(item.input_ids) for item in features))
    counts, losses = task.counts(batch), task.losses(ours(batch), batch)
    assert len(losses) == 1
    mean = sum(float(losses[name].detach()) / counts[name] for name in losses)
    theirs, info = getattr(transformers, f"BertFor{CLASSES[kind]}").from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert theirs.config.problem_type == task.problem_type
    if task.labels:
        assert tuple(theirs.config.id2label.values()) == task.labels
    with torch.inference_mode():
        expected = theirs.eval()(**their_inputs(kind, batch)).loss
    assert mean == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("kind", sorted(set(CLASSES) - {"squad1"}))
def test_a_directory_without_our_file_opens_as_the_same_kind(kind, tokenizer, prepared, examples, tmp_path):
    """By what transformers writes too: its class, problem_type and id2label; converting keeps them."""
    case = build(kind, tokenizer, prepared, examples)
    Pipeline(tiny_model(case.task, tokenizer.vocab_size), tokenizer, case.task, torch.device("cpu")).save(
        tmp_path / "saved"
    )
    (tmp_path / "saved" / "task.json").unlink()
    convert(tmp_path / "saved", tmp_path / "half", dtype="bfloat16")
    for name in ("saved", "half"):
        opened = load(tmp_path / name, "cpu", "fp32").task
        assert opened is not None
        assert (opened.kind, opened.labels) == (case.task.kind, case.task.labels)
