"""A temperature is fitted to a task's own predictions, and is then part of the task; what is predicted stays."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_tasks import LABELS, build, label_sets, predict, tiny_model

from dokkai.data.label_sets import LabelledText
from dokkai.data.rows import Row
from dokkai.data.squad import Answer, Question
from dokkai.errors import UserError
from dokkai.evaluation.calibration import temper
from dokkai.settings import ClassificationSettings, MultiLabelSettings, QuestionAnsweringSettings
from dokkai.tasks import create_task
from dokkai.tasks.calibrating import calibrate, can_calibrate
from dokkai.tasks.spans import weigh, weigh_rows

KINDS = ["classification", "multi-label", "multiple-choice"]


def values_of(item):
    found = item["probabilities"]
    return list(found.values()) if isinstance(found, dict) else found


def agreed(example, item):
    """The example, as if what was predicted were right."""
    if isinstance(example, LabelledText):
        return replace(example, labels=tuple(item["labels"]))
    return replace(example, label=item["label"])


@pytest.fixture(params=KINDS)
def case(request, tokenizer, prepared, examples):
    """A task, examples of which a random model gets all but the last two right by definition, and the model."""
    found = build(request.param, tokenizer, prepared, examples)
    model = tiny_model(found.task, tokenizer.vocab_size, std=0.5)
    model.eval()
    own = predict(found.task, model, found.examples)
    rows = [agreed(*pair) for pair in zip(found.examples[:-2], own, strict=False)]
    return found.task, [*rows, *found.examples[-2:]], model


def test_the_task_gives_what_was_promised(case):
    task, examples, model = case
    before = predict(task, model, examples)
    new, promised, found = calibrate(task, examples, before)
    assert found.temperature != 1 and new.settings.temperature == found.temperature
    assert task.settings.temperature == 1.0
    assert found.num_examples == len(examples)
    after = predict(new, model, examples)
    for old, wanted, got in zip(before, promised, after, strict=True):
        assert old.keys() == wanted.keys() == got.keys()
        for key in old.keys() - {"probability", "probabilities"}:  # labels too
            assert old[key] == wanted[key] == got[key]
        assert values_of(got) == pytest.approx(values_of(wanted), abs=1e-5)
        assert values_of(got) != pytest.approx(values_of(old), abs=1e-7)
        if "probability" in old:
            assert got["probability"] == pytest.approx(wanted["probability"], abs=1e-5)
            assert wanted["probability"] == max(values_of(wanted))
    assert task.score(examples, before) == new.score(examples, after)


def test_fitted_twice_is_fitted_once(case):
    task, examples, model = case
    first, _, found = calibrate(task, examples, predict(task, model, examples))
    _, _, again = calibrate(first, examples, predict(first, model, examples))
    assert again.temperature == pytest.approx(found.temperature, rel=1e-2)
    assert again.ece_before == pytest.approx(found.ece_after, abs=1e-3)


def test_the_line_says_before_and_after(case):
    task, examples, model = case
    line = str(calibrate(task, examples, predict(task, model, examples))[2])
    assert re.fullmatch(
        r"temperature \S+ fitted to 8 examples: log loss \S+ before, \S+ after; "
        r"calibration error \(ECE\) \S+ before, \S+ after",
        line,
    )


def decided(tokenizer, number, right):
    """The calibration of ``number`` predictions with a probability of 0.9, so many of them right."""
    task = create_task(ClassificationSettings(), tokenizer, ("no", "yes"))
    examples = [Row("x", None, "yes" if n < right else "no", str(n), f"line {n}") for n in range(number)]
    given = {"label": "yes", "probability": 0.9, "probabilities": {"no": 0.1, "yes": 0.9}}
    return calibrate(task, examples, [given] * number)[2]


def test_a_gain_that_may_be_chance_is_an_objection(tokenizer):
    assert decided(tokenizer, 10, 8).objection == "on so few examples the gain may be chance"
    assert decided(tokenizer, 200, 178).objection == "so small a gain may be chance"
    found = decided(tokenizer, 200, 160)
    assert found.objection is None
    assert (found.loss_before, found.loss_after) == pytest.approx(
        (-0.8 * np.log(0.9) - 0.2 * np.log(0.1), -0.8 * np.log(0.8) - 0.2 * np.log(0.2)), abs=1e-5
    )
    assert (found.ece_before, found.ece_after) == pytest.approx((0.1, 0), abs=1e-3)


def test_a_calibration_error_that_rises_is_an_objection(tokenizer):
    found = replace(decided(tokenizer, 200, 160), ece_after=0.2)
    assert found.objection == "the calibration error rises"


def test_losses_know_no_temperature(case):
    """Training is not calibrated."""
    task, examples, model = case
    features = task.encode(examples, training=True)
    batch = task.collate(features, 48)
    with torch.no_grad():
        logits = model(batch)
    own, warm = task.losses(logits, batch), task.with_temperature(3.0).losses(logits, batch)
    assert own.keys() == warm.keys() and all(torch.equal(own[name], warm[name]) for name in own)


def test_all_right(tokenizer, prepared, examples):
    case = build("classification", tokenizer, prepared, examples)
    predictions = [
        {"label": row.label, "probability": 0.6, "probabilities": dict.fromkeys(LABELS, 0.2) | {row.label: 0.6}}
        for row in case.examples
    ]
    task, same, found = calibrate(case.task, case.examples, predictions)
    assert str(found) == "temperature 1: nothing to fit, all 8 examples are right, or none is"
    assert found.objection is None
    assert task.settings.temperature == 1
    assert found.ece_before == pytest.approx(0.4) == found.ece_after
    assert [item["label"] for item in same] == [row.label for row in case.examples]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("temperature", [0.3, 4.0])
def test_labels_above_a_threshold_stay(tokenizer, threshold, temperature):
    task = create_task(MultiLabelSettings(threshold=threshold), tokenizer, LABELS)
    warm = task.with_temperature(temperature)
    outputs = np.random.default_rng(0).random((8, 3))
    tempered = [temper(np.stack([1 - row, row], axis=1), temperature)[:, 1].tolist() for row in outputs]
    own = task.merge(label_sets(), [], outputs.tolist())
    new = warm.merge(label_sets(), [], tempered)
    assert [item["labels"] for item in own] == [item["labels"] for item in new]
    assert len({len(item["labels"]) for item in own}) > 1


def answers_of(tokenizer, **settings):
    """A task, questions of which it gets the sure half right more often than the unsure, and its predictions."""
    task = create_task(QuestionAnsweringSettings(no_answer=True, **settings), tokenizer)
    examples, predictions = [], []
    for number in range(200):
        is_sure, is_right = number % 2 == 0, number % 10 != 0 if number % 2 == 0 else number % 4 == 1
        gold = (Answer("Ann" if is_right else "built", 0 if is_right else 4),)
        examples.append(Question(str(number), "Who?", "Ann built it.", () if number % 20 == 0 else gold))
        logits = [6.0 if is_sure else 2.0, 1.0, -9.0 if number % 20 else 8.0]
        nbest = [
            {"answer": text, "start": start, "end": start + len(text), "start_logit": logit, "end_logit": 0.0}
            for (text, start), logit in zip((("Ann", 0), ("built", 4), ("", 0)), logits, strict=True)
        ]
        predictions.append({"id": str(number), "question": "Who?", "nbest": nbest, "null_odds": logits[2] - logits[0]})
    return task, examples, task.decide(predictions)


@pytest.mark.parametrize("settings", [{}, {"temperature": 3.0}, {"null_threshold": 1.0}])
def test_answers(tokenizer, settings):
    """Their confidence comes close to the share that is right; what is answered stays."""
    task, examples, before = answers_of(tokenizer, **settings)
    warm, after, found = calibrate(task, examples, before)
    assert [item["answer"] for item in before] == [item["answer"] for item in after]
    assert {item["answer"] for item in after} == {"Ann", ""}
    assert after == warm.decide(before) and warm.settings.temperature == found.temperature
    assert found.ece_after < 0.1 and found.ece_after < found.ece_before
    is_right = np.array(task.is_right(examples, after))
    sure = np.array([item["probability"] for item in after])
    assert abs(sure.mean() - is_right.mean()) < 0.1
    assert warm.settings.null_threshold == task.settings.null_threshold
    _, _, again = calibrate(warm, examples, after)
    assert again.temperature == pytest.approx(found.temperature, rel=1e-2)
    assert warm.score(examples, after) == task.score(examples, before)


def test_answers_and_no_answer_are_not_equally_sure(tokenizer):
    """Two temperatures that were put in are found again: whether there is an answer, and which it is."""
    draw = np.random.default_rng(0)
    settings = QuestionAnsweringSettings(no_answer=True, temperature=0.8, null_temperature=4.0, null_threshold=-0.5)
    true = create_task(settings, tokenizer)
    examples, predictions = [], []
    for number in range(6000):
        logits = np.sort(draw.normal(0, 2, 3))[::-1] + draw.normal(0, 4)
        nbest = [
            {"answer": text, "start": start, "end": start + len(text), "start_logit": float(logit), "end_logit": 0.0}
            for (text, start), logit in zip((("Ann", 0), ("built", 4), ("it", 10), ("", 0)), [*logits, 0], strict=True)
        ]
        given = {"id": str(number), "question": "Who?", "nbest": nbest, "null_odds": -float(logits[0])}
        (item,) = true.decide([given])
        is_right = draw.random() < item["probability"]
        wrong = "it" if item["answer"] or not is_right else ""
        gold = item["answer"] if is_right else wrong
        spans = (Answer(gold, "Ann built it.".index(gold)),) if gold else ()
        examples.append(Question(str(number), "Who?", "Ann built it.", spans))
        predictions.append(given)
    blunt = true.with_temperature(1.0)
    assert blunt.settings.null_temperature is None and blunt.settings.null_threshold == -0.5
    warm, after, found = calibrate(blunt, examples, blunt.decide(predictions))
    assert found.temperature == warm.settings.temperature == pytest.approx(0.8, rel=0.1)
    assert found.null_temperature == warm.settings.null_temperature == pytest.approx(4.0, rel=0.1)
    assert found.ece_after < 0.02 < found.ece_before and found.objection is None
    assert re.match(r'temperature 0\.\d+, of "no answer" [34]\.\d+, fitted to 6,000 examples', str(found))
    for own in ((0.05, None), (0.05, 0.05), (20.0, 20.0), (0.01, 300.0), (found.temperature, found.null_temperature)):
        other = true.with_temperature(*own)
        _, _, again = calibrate(other, examples, other.decide(predictions))
        assert (again.temperature, again.null_temperature) == (found.temperature, found.null_temperature)
        assert "fitted to" in str(again) and again.loss_after == found.loss_after
    assert again.loss_before == again.loss_after and again.objection == "so small a gain may be chance"
    right = {is_null: [] for is_null in (False, True)}
    for item, is_right in zip(after, warm.is_right(examples, after), strict=True):
        right[not item["answer"]].append(item["probability"] - is_right)
    assert all(abs(np.mean(gaps)) < 0.03 for gaps in right.values()), "each kind by itself"


@pytest.mark.parametrize("no_answer", [False, True])
def test_a_temperature_that_nothing_says_anything_of_stays(tokenizer, no_answer):
    """With one text a question which of them it is is no question."""
    task, examples, before = answers_of(tokenizer, temperature=3.0)
    task = create_task(task.settings.model_copy(update={"no_answer": no_answer}), tokenizer)
    one = [item | {"nbest": [entry for entry in item["nbest"] if entry["answer"] != "built"]} for item in before]
    warm, _, found = calibrate(task, examples, task.decide(one))
    assert warm.settings.temperature == found.temperature == 3.0
    assert found.is_fitted is no_answer and (warm.settings.null_temperature is None) is not no_answer
    assert no_answer or str(found) == "temperature 3: nothing to fit, no answer has a rival"


@pytest.mark.parametrize("null_temperature", [None, 0.5, 4.0])
@pytest.mark.parametrize("threshold", [-1.5, 0.0, np.inf])
def test_probabilities_of_answers(null_temperature, threshold):
    """With that of no answer they are 1, which is the likelier half where it is chosen; the order stays."""
    settings = QuestionAnsweringSettings(no_answer=True, temperature=2.0, null_temperature=null_temperature)
    settings = settings.model_copy(update={"null_threshold": threshold})  # infinite where it must answer
    margins_MK = np.array([[3.0, 1.0, -2.0], [0.9, 0.8, -np.inf], [-4.0, -np.inf, -np.inf]])
    answers_MK, null_M = weigh_rows(margins_MK, settings)
    np.testing.assert_allclose(answers_MK.sum(1) + null_M, 1)
    assert (np.diff(answers_MK, axis=1) <= 0).all() and (answers_MK[np.isinf(margins_MK)] == 0).all()
    for row, margins in enumerate(margins_MK.tolist()):
        texts = [margin for margin in margins if margin > -np.inf]
        assert weigh(texts, settings) == (
            pytest.approx(answers_MK[row, : len(texts)].tolist()),
            pytest.approx(null_M[row]),
        )
        if null_temperature:
            assert (null_M[row] > 0.5) == (texts[0] < -threshold)
    assert weigh([], settings) == ([], 1.0)
    assert weigh([], settings.model_copy(update={"no_answer": False})) == ([], 0.0)


def test_the_list_of_the_n_best_knows_no_temperature(tokenizer):
    """It stays that of the release."""
    task, examples, before = answers_of(tokenizer)
    _, after, _ = calibrate(task, examples, before)
    assert [item["nbest"] for item in before] == [item["nbest"] for item in after]


@pytest.mark.parametrize("kind", ["regression", "token-classification"])
def test_other_kinds(kind, tokenizer, prepared, examples):
    task = build(kind, tokenizer, prepared, examples).task
    assert not can_calibrate(task)
    with pytest.raises(
        UserError, match=f"a temperature is for tasks that give .* a probability, and this is {task.kind}"
    ):
        calibrate(task, [], [])
