"""What holds for every kind of task."""

import json
import math

import pytest
import torch
from pydantic import BaseModel
from tiny_tasks import KINDS, build, predict, tiny_model

from dokkai.errors import UserError
from dokkai.settings import TrainSettings, describe_settings
from dokkai.tasks import create_task
from dokkai.tasks.base import guessing_of, num_rows
from dokkai.training.finetune import FeatureBatches


@pytest.fixture(params=KINDS)
def case(request, tokenizer, prepared, examples):
    return build(request.param, tokenizer, prepared, examples)


@pytest.fixture
def model(case, tokenizer):
    return tiny_model(case.task, tokenizer.vocab_size)


def longest(features):
    return max(len(item.input_ids) for item in features)


def test_contract(case, model):
    """Examples to features to a batch to losses, predictions and metrics."""
    task, examples = case.task, case.examples
    features = task.encode(examples, training=True)
    assert len(features) >= len(examples) == 8 or task.kind == "question-answering"
    assert task.find_labels(examples, "file") == task.labels
    if task.kind != "pretraining":
        assert sorted({item.example for item in features}) == list(range(len(examples)))
    length = longest(features)
    batch = task.collate(features, length)
    assert batch["input_ids"].shape == batch["token_type_ids"].shape == (num_rows(features).sum(), length)
    assert batch["token_type_ids"].max() <= 1
    logits = model(batch)
    assert set(logits) == set(task.heads or ("states",))
    losses, counts = task.losses(logits, batch), task.counts(batch)
    assert set(losses) == set(counts)
    for name, loss in losses.items():
        assert loss.shape == ()
        assert 0 < float(loss.detach()) < math.inf
        assert counts[name] > 0
    with torch.inference_mode():
        outputs = task.decode(model(batch), batch, features)
    assert len(outputs) == len(features)
    predictions = task.merge(examples, features, outputs)
    assert len(predictions) == len(examples)
    assert json.loads(json.dumps(predictions, allow_nan=False)) == predictions
    if task.kind != "pretraining":
        assert [item["id"] for item in predictions] == [item.id for item in examples]
    scores = task.score(examples, predictions)
    assert task.primary_metric in scores
    assert all(math.isfinite(value) for value in scores.values())


def test_examples_without_labels(case, model):
    """They give predictions, and a loss of nothing."""
    task = case.task
    if task.kind == "pretraining":  # makes its own labels
        with pytest.raises(UserError, match="a pre-trained model predicts masked words: use `dokkai fill-mask`"):
            task.parse({"text": "x"}, 0)
        return
    unlabelled = case.unlabelled()
    predictions = predict(task, model, unlabelled)
    assert [item["id"] for item in predictions] == [item.id for item in unlabelled]
    features = task.encode(unlabelled, training=False)
    batch = task.collate(features, longest(features))
    assert set(task.counts(batch).values()) == {0}
    assert all(float(loss.detach()) == 0 for loss in task.losses(model(batch), batch).values())


def test_what_guessing_comes_to(case, model):
    """The loss of the best logits that are the same for every text; kinds with classes or choices say it."""
    task = case.task
    found = guessing_of(task, case.examples)
    assert (found is not None) is (task.kind in ("classification", "multi-label", "multiple-choice"))
    if found is None:
        return
    features = task.encode(case.examples, training=True)
    batch = task.collate(features, longest(features))
    ((name, like),) = model(batch).items()
    bias = torch.zeros(like.shape[1:], requires_grad=True)
    optimizer = torch.optim.LBFGS([bias], max_iter=50)

    def loss():
        optimizer.zero_grad()
        (value,) = task.losses({name: bias.expand(like.shape)}, batch).values()
        value = value / sum(task.counts(batch).values())
        value.backward()
        return value

    optimizer.step(loss)
    assert found.loss == pytest.approx(float(loss().detach()), abs=1e-5)
    if found.key is not None:
        assert all(found.key in item for item in predict(task, model, case.examples))


def gradients(task, model, batches):
    """Of the update: the sum over losses of (sum over micro-batches / count over micro-batches)."""
    totals: dict[str, int] = {}
    for batch in batches:
        for name, count in task.counts(batch).items():
            totals[name] = totals.get(name, 0) + count
    model.zero_grad()
    value = 0.0
    for batch in batches:
        losses = task.losses(model(batch), batch)
        part = torch.stack([losses[name] / totals[name] for name in losses]).sum()
        part.backward()
        value += float(part.detach())
    return value, [parameter.grad.clone() for parameter in model.parameters()]


def test_accumulated_equals_whole(case, model):
    """Eight at once, two times four, and eight times one, each padded to another length.

    Pairs of ``similarity`` are told apart from each other: their updates must not be cut, however little fits.
    """
    task = case.task
    if task.kind == "similarity":
        settings = TrainSettings(batch_size=4, steps=1, micro_batch_tokens=1)
        batches = FeatureBatches(task, task.encode(case.examples, training=True), settings, torch.device("cpu"))
        assert len(batches[0]) == 1
        return
    features = list(task.encode(case.examples, training=True))[:8]
    assert len(features) == 8
    results = []
    for rows in (8, 4, 1):
        parts = [features[start : start + rows] for start in range(0, 8, rows)]
        batches = [task.collate(part, max(longest(part), 64) + 8 * number) for number, part in enumerate(parts)]
        results.append(gradients(task, model, batches))
    whole, expected = results[0]
    scale = max(float(gradient.abs().max()) for gradient in expected)
    for value, found in results[1:]:
        assert value == pytest.approx(whole, rel=1e-5)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * scale)


def test_padding_changes_no_prediction(case, model):
    task, examples = case.task, case.examples
    features = task.encode(examples, training=False)
    found = []
    for length in (longest(features), longest(features) + 24):
        batch = task.collate(features, length)
        with torch.inference_mode():
            found.append(task.merge(examples, features, task.decode(model(batch), batch, features)))
    assert_close(*found)


def assert_close(first, second):
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_close(first[key], second[key])
    elif isinstance(first, list):
        for x, y in zip(first, second, strict=True):
            assert_close(x, y)
    else:
        assert first == (pytest.approx(second, rel=1e-4, abs=1e-5) if isinstance(second, float) else second)


def test_settings_are_documented(case):
    settings = case.task.settings
    assert isinstance(settings, BaseModel)
    fields = {name: field for name, field in type(settings).model_fields.items() if name != "kind"}
    assert all(field.description for field in fields.values())
    described = {name.split()[0].removeprefix("task."): line for name, _, line in describe_settings(settings.kind)}
    assert described == {name: field.description for name, field in fields.items()}


def test_settings_make_the_same_task_again(case, tokenizer):
    """As when a model directory is opened: from the settings as JSON, and the labels."""
    task = case.task
    settings = type(task.settings).model_validate_json(json.dumps(task.settings.model_dump()))
    again = create_task(settings, tokenizer, task.labels)
    assert type(again) is type(task)
    assert (again.kind, again.heads, again.labels, again.settings) == (
        task.kind,
        task.heads,
        task.labels,
        task.settings,
    )
    assert task.kind == settings.kind
