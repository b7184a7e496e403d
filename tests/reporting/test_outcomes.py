"""What predictions came to, kind by kind: the tables, and the worst mistakes first."""

import pytest

from dokkai.data.choices import ChoiceQuestion
from dokkai.data.columns import Sentence
from dokkai.data.label_sets import LabelledText
from dokkai.data.rows import Row
from dokkai.data.squad import Answer, Question
from dokkai.reporting.forms import Matrix, Table
from dokkai.reporting.outcomes import describe
from dokkai.settings import (
    ClassificationSettings,
    MultiLabelSettings,
    MultipleChoiceSettings,
    QuestionAnsweringSettings,
    RegressionSettings,
    SimilaritySettings,
    TokenClassificationSettings,
)
from dokkai.tasks import create_task
from dokkai.tasks.token_classification import tagged_text


def test_classes(tokenizer):
    task = create_task(ClassificationSettings(pair="pair"), tokenizer, ("no", "yes"))
    examples = [Row("a", "b", label, str(i), f"line {i}") for i, label in enumerate(["yes", "yes", "yes", "no"])]
    guesses = [("yes", 0.9), ("no", 0.6), ("no", 0.8), ("yes", 0.7)]
    predictions = [
        {"id": str(i), "text": "a", "pair": "b", "label": label, "probability": value,
         "probabilities": {"no": 1 - value, "yes": value} if label == "yes" else {"no": value, "yes": 1 - value}}
        for i, (label, value) in enumerate(guesses)
    ]  # fmt: skip
    found = describe(task, examples, predictions, "dev")
    matrix, table, _ = found.parts
    assert isinstance(matrix, Matrix) and matrix.counts == [[0, 1], [2, 1]]
    assert matrix.share(1, 0) == pytest.approx(2 / 3)
    assert isinstance(table, Table)
    assert table.rows == [["no", "0.000", "0.000", "0.000", "1"], ["yes", "0.500", "0.333", "0.400", "3"]]
    assert [(item.id, item.gold, item.predicted) for item in found.mistakes] == [
        ("2", "yes", "no"), ("3", "no", "yes"), ("1", "yes", "no")
    ]  # fmt: skip
    assert found.mistakes[0].texts == [("text", [("a", False)]), ("pair", [("b", False)])]
    assert found.mistakes[0].others == [("yes", pytest.approx(0.2))]


def test_many_classes_are_a_table(tokenizer):
    labels = tuple(f"label{i:02}" for i in range(30))
    task = create_task(ClassificationSettings(), tokenizer, labels)
    examples = [Row("x", None, labels[i % 30], str(i), f"line {i}") for i in range(60)]
    guesses = ["label05" if i % 30 in (3, 4) else labels[i % 30] for i in range(60)]
    even = dict.fromkeys(labels, 1 / 30)
    predictions = [
        {"id": str(i), "text": "x", "label": guess, "probability": 1 / 30, "probabilities": even}
        for i, guess in enumerate(guesses)
    ]
    table = describe(task, examples, predictions, "dev").parts[0]
    assert isinstance(table, Table)
    assert table.rows == [["label03 → label05", "2"], ["label04 → label05", "2"]]


def test_sets_of_labels(tokenizer):
    task = create_task(MultiLabelSettings(), tokenizer, ("a", "b"))
    examples = [
        LabelledText("x", None, labels, str(i), f"line {i}") for i, labels in enumerate([("a",), (), ("a", "b")])
    ]
    values = [(["a"], 0.9, 0.1), (["a"], 0.7, 0.3), (["a"], 0.8, 0.05)]
    predictions = [
        {"id": str(i), "text": "x", "labels": labels, "probabilities": {"a": a, "b": b}}
        for i, (labels, a, b) in enumerate(values)
    ]
    found = describe(task, examples, predictions, "dev")
    assert found.parts[0].rows == [["a", "0.667", "1.000", "0.800", "2"], ["b", "0.000", "0.000", "0.000", "1"]]
    assert [(item.id, item.gold, item.predicted, item.weight) for item in found.mistakes] == [
        ("2", "a, b", "a", pytest.approx(0.95)),
        ("1", "(nothing)", "a", pytest.approx(0.7)),
    ]


def test_numbers(tokenizer):
    task = create_task(RegressionSettings(), tokenizer)
    examples = [Row("x", None, str(value), str(value), f"line {value}") for value in (1, 2, 3)]
    predictions = [{"id": str(i), "text": "x", "value": value} for i, value in ((1, 1.5), (2, 0.0), (3, 3.0))]
    found = describe(task, examples, predictions, "dev")
    assert [(item.id, item.gold, item.predicted) for item in found.mistakes][:2] == [("2", "2", "0"), ("1", "1", "1.5")]
    assert found.summary == "Of 3 predictions the 3 farthest off."
    assert [part.title for part in found.parts] == ["Predicted and true", "How far off"]


def test_pairs(tokenizer):
    task = create_task(SimilaritySettings(positive=4.0), tokenizer)
    examples = [Row("x", "y", score, score, f"line {score}") for score in ("0", "2", "4", "5")]
    predictions = [
        {"id": row.id, "text": "x", "pair": "y", "similarity": cosine}
        for row, cosine in zip(examples, (-0.2, 0.9, 0.5, 0.8), strict=True)
    ]
    found = describe(task, examples, predictions, "dev")
    assert [(item.id, item.gold, item.predicted, item.weight) for item in found.mistakes] == [
        ("2", "score 2", "cosine 0.900", 2), ("4", "score 4", "cosine 0.500", 1), ("5", "score 5", "cosine 0.800", 1),
        ("0", "score 0", "cosine -0.200", 0),
    ]  # fmt: skip
    assert found.mistakes[0].texts == [("text", [("x", False)]), ("pair", [("y", False)])]
    assert (found.metric, [part.title for part in found.parts]) == ("spearman", ["How close, and how alike"])
    assert "farthest apart" in found.summary


def test_a_cosine_that_is_rounded_up_is_drawn(tokenizer, monkeypatch):
    drawn = []
    monkeypatch.setattr("dokkai.reporting.outcomes.draw_histogram", lambda groups, *_: drawn.append((groups, _[-1])))
    task = create_task(SimilaritySettings(positive=4.0), tokenizer)
    examples = [Row("x", "x", "5", "0", "line 1")]
    describe(task, examples, [{"id": "0", "text": "x", "pair": "x", "similarity": 1.0000001}], "dev")
    assert drawn == [({"alike": [1.0000001], "others": []}, (0.0, 1.0000001))]


def test_choices(tokenizer):
    task = create_task(MultipleChoiceSettings(question="question"), tokenizer)
    examples = [ChoiceQuestion(None, "Why?", ("red", "green", "blue"), 1, "q", "line 1")]
    predictions = [{"id": "q", "question": "Why?", "label": 2, "probability": 0.5, "probabilities": [0.3, 0.2, 0.5]}]
    (mistake,) = describe(task, examples, predictions, "dev").mistakes
    assert (mistake.gold, mistake.predicted, mistake.probability) == ("green", "blue", 0.5)
    assert mistake.others == [("red", 0.3), ("green", 0.2)]


def test_tags(tokenizer):
    labels = ("O", "B-PER", "I-PER", "B-LOC")
    task = create_task(TokenClassificationSettings(), tokenizer, labels)
    words, gold = ("John", "Smeaton", "left", "Plymouth"), ("B-PER", "I-PER", "O", "B-LOC")
    examples = [tagged_text(Sentence(words, gold, name, "line 1")) for name in ("whole", "cut")]
    guesses = [gold, ("B-PER", "O", "O", "B-LOC")]
    predictions = [
        {"id": example.id, "text": example.text, "tags": list(tags), "probabilities": [0.9, 0.7, 0.8, 0.6]}
        for example, tags in zip(examples, guesses, strict=True)
    ]
    found = describe(task, examples, predictions, "dev")
    assert found.parts[0].head[0] == "type"
    assert found.parts[0].rows == [["LOC", "1.000", "1.000", "1.000", "2"], ["PER", "0.500", "0.500", "0.500", "2"]]
    (mistake,) = found.mistakes
    assert (mistake.id, mistake.gold, mistake.predicted) == ("cut", "PER John Smeaton", "PER John")
    assert mistake.probability == 0.7
    assert mistake.texts == [
        ("text", [("John", True), (" Smeaton left ", False), ("Plymouth", True)])
    ]  # fmt: skip


def test_tags_that_mark_no_entities(tokenizer):
    task = create_task(TokenClassificationSettings(metric="accuracy"), tokenizer, ("NOUN", "VERB"))
    example = tagged_text(Sentence(("cats", "sleep"), ("NOUN", "VERB"), "s", "line 1"))
    prediction = {"id": "s", "text": "cats sleep", "tags": ["NOUN", "NOUN"], "probabilities": [0.9, 0.6]}
    found = describe(task, [example], [prediction], "dev")
    assert found.parts[0].rows == [["NOUN", "0.500", "1.000", "0.667", "1"], ["VERB", "0.000", "0.000", "0.000", "1"]]
    assert (found.mistakes[0].gold, found.mistakes[0].predicted) == ("VERB sleep", "NOUN sleep")


def test_questions(tokenizer):
    context = "a" * 300 + " John Smeaton built it in 1759. " + "b" * 300
    start = context.index("1759")
    examples = [
        Question("q1", "Who built it?", context, (Answer("John Smeaton", context.index("John")),)),
        Question("q2", "When?", context, (Answer("1759", start), Answer("in 1759", start - 3))),
        Question("q3", "What for?", context, ()),
    ]
    predictions = []
    for question, text, value in zip(examples, ["John Smeaton", "", "Smeaton built"], [0.9, 0.6, 0.7], strict=True):
        place = context.index(text) if text else 0
        nbest = [{"answer": text, "probability": value}, {"answer": "it", "probability": 1 - value}]
        found = {"id": question.id, "question": question.question, "answer": text, "nbest": nbest}
        predictions.append(found | {"start": place, "end": place + len(text), "probability": value})
    task = create_task(QuestionAnsweringSettings(no_answer=True), tokenizer)
    mistakes = describe(task, examples, predictions, "dev").mistakes
    assert [(item.id, item.gold, item.predicted) for item in mistakes] == [
        ("q3", "(no answer)", "Smeaton built"),
        ("q2", "1759 · in 1759", "(no answer)"),
    ]
    (_, question), (_, excerpt) = mistakes[0].texts
    assert question == [("What for?", False)]
    assert [text for text, is_marked in excerpt if is_marked] == ["Smeaton built"]
    whole = "".join(text for text, _ in excerpt)
    assert whole.startswith("… a") and whole.endswith("b …") and len(whole) < 400
    around = "".join(text for text, _ in mistakes[1].texts[1][1])
    assert "in 1759." in around and len(around) < 400
    assert mistakes[0].others == [("it", pytest.approx(0.3))]
