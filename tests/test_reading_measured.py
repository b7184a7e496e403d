"""The rules by which benchmarks/reading.py sorts questions, and what it counts."""

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import reading
from dokkai.data.squad import Answer, Question
from dokkai.settings import QuestionAnsweringSettings
from dokkai.tasks import QuestionAnswering


@pytest.mark.parametrize(
    ("question", "answer", "kind"),
    [
        ("When?", "in May 1759", "date"),
        ("How many?", "21 ships", "number"),
        ("How many?", "three ships", "number"),
        ("Who built it?", "John Smeaton", "person"),
        ("In which city?", "Cherbourg", "place"),
        ("Which prize?", "Nobel Prize", "name"),
        ("Why?", "because the old mill had burned", "clause"),
        ("What?", "a lens", "phrase"),
    ],
)
def test_kinds_of_answers(question, answer, kind):
    assert reading.kind_of_answer(question, answer) == kind


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("How many ships did who see?", "how many"),
        ("In what year did it burn, and how?", "what"),
        ("Name the king.", "other"),
        ("Whoever came?", "other"),
    ],
)
def test_question_words(question, word):
    assert reading.question_word(question) == word


def ask(context, answer="", place=0):
    answers = (SimpleNamespace(text=answer),) if answer else ()
    return SimpleNamespace(id=f"{context}{place}", context=context, answers=answers, is_impossible=not answer)


def test_groups_go_from_large_to_small():
    long, short = "word " * 130, "word " * 90
    questions = [ask(long, "a man", 0), ask(long, "b", 1), ask(short, "c")]
    found = [{"id": item.id, "answer": item.answers[0].text} for item in questions]
    groups = reading.by(questions, found, lambda q: reading.length_of_passage(q.context))
    assert list(groups) == ["121 to 160", "81 to 120"]
    assert groups["121 to 160"] == {"questions": 2, "exact": 100, "f1": 100}


def test_what_is_refused_and_what_is_believed():
    questions = [ask("a", "x"), ask("b"), ask("c", "y"), ask("d")]
    shown = [("x", 0.95), ("", 0.9), ("", 0.6), ("z", 0.15)]
    found = [{"id": q.id, "answer": text, "probability": p} for q, (text, p) in zip(questions, shown, strict=True)]
    assert reading.refused(questions, found) == {"caught": 50, "falsely_refused": 50}
    believed = reading.believed(found, [True, True, False, False])
    assert believed["answers"] == 2, "only what is shown counts"
    assert believed["tenths"] == [{"from": 0.1, "answers": 1, "right": 0}, {"from": 0.9, "answers": 1, "right": 1}]
    assert believed["calibration_error"] == pytest.approx((0.15 + 0.05) / 2)


def test_the_first_question_of_each_passage():
    assert reading.first_of_each([ask("a"), ask("a"), ask("b"), ask("c"), ask("c")]) == [0, 2, 3]


def test_what_one_half_needs_is_measured_on_the_other(tokenizer):
    """Questions of "a" and "c" have an answer from a margin of 2 up, of "b" and "d" from -2 up."""
    task = QuestionAnswering(QuestionAnsweringSettings(no_answer=True), tokenizer)
    questions, predictions = [], []
    for title, margin in itertools.product("abcd", (-3.0, -1.0, 1.0, 3.0)):
        answers = (Answer("x", 0),) * (margin > (2 if title in "ac" else -2))
        questions.append(Question(f"{title} {margin}", "What?", "x", answers, title))
        entry = {"answer": "x", "start": 0, "end": 1, "start_logit": margin, "end_logit": 0.0}
        none = {"answer": "", "start": 0, "end": 0, "start_logit": 0.0, "end_logit": 0.0}
        predictions.append({"id": questions[-1].id, "null_odds": -margin, "nbest": [entry, none]})
    found = reading.fitted_elsewhere(task, questions, task.decide(predictions), lambda item: item.title)
    assert [half["threshold"] for half in found["halves"]] == [-3, 1]
    assert [half["without an answer"] for half in found["halves"]] == [0.75, 0.25]
    assert found["refused"] == {"caught": 50, "falsely_refused": 50}, "by their own thresholds 100 and 0"
    assert found["scores"]["f1"] == 50
