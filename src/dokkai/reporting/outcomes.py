"""What a task's predictions came to, in the forms of the report: the part of it that knows kinds of tasks.

A kind that is unknown here has the general page. One that is to be shown gets a function and a case in ``describe``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dokkai.data.choices import ChoiceQuestion
from dokkai.data.squad import Question
from dokkai.evaluation.metrics import are_entity_tags, find_entities, squad_scores
from dokkai.reporting.charts import Chart, draw_histogram, draw_scatter
from dokkai.reporting.forms import Matrix, Mistake, Outcomes, Part, Pieces, Table
from dokkai.tasks import (
    Classification,
    MultiLabel,
    MultipleChoice,
    QuestionAnswering,
    Regression,
    Similarity,
    Task,
    TokenClassification,
)

_MOST_CLASSES = 25  # in a matrix; with more, a table of the commonest confusions
_AROUND = 160  # characters of a context round an answer
_MOST_TEXT = 1500  # characters of a text
_NOTHING = "(nothing)"
_NO_ANSWER = "(no answer)"

Predictions = Sequence[Mapping[str, Any]]


def describe(task: Task, examples: Sequence[Any], predictions: Predictions, source: str, most: int = 30) -> Outcomes:
    """Everything that is shown of the predictions for labelled examples, with at most so many mistakes."""
    parts: list[Part] = []
    mistakes: list[Mistake] = []
    match task:
        case Classification():
            parts, mistakes = _of_classes(task, examples, predictions)
        case MultiLabel():
            parts, mistakes = _of_label_sets(task, examples, predictions)
        case Regression():
            parts, mistakes = _of_numbers(examples, predictions)
        case Similarity():
            parts, mistakes = _of_pairs(task, examples, predictions)
        case MultipleChoice():
            parts, mistakes = _of_choices(examples, predictions)
        case TokenClassification():
            parts, mistakes = _of_tags(task, examples, predictions)
        case QuestionAnswering():
            parts, mistakes = _of_questions(task, examples, predictions)
    mistakes.sort(key=lambda item: -item.weight)
    shown = mistakes[:most]
    which = "first" if len(shown) == len(mistakes) else f"{len(shown)}"
    verb = "is" if len(mistakes) == 1 else "are"
    summary = f"{len(mistakes):,} of {len(examples):,} predictions {verb} wrong; the surest {which}."
    if isinstance(task, Regression):
        summary = f"Of {len(examples):,} predictions the {len(shown)} farthest off."
    if isinstance(task, Similarity):
        summary = f"Of {len(examples):,} pairs the {len(shown)} whose places by cosine and by score are farthest apart."
    return Outcomes(source, len(examples), parts, shown, summary, task.primary_metric)


def _of_classes(
    task: Classification, examples: Sequence[Any], predictions: Predictions
) -> tuple[list[Part], list[Mistake]]:
    gold, guesses = [str(row.label) for row in examples], [str(item["label"]) for item in predictions]
    is_right = [label == guess for label, guess in zip(gold, guesses, strict=True)]
    parts = [_confusions(task.labels, gold, guesses), _by_label(task.labels, gold, guesses)]
    mistakes = [
        Mistake(
            item["id"],
            _texts(item),
            label,
            item["label"],
            item["probability"],
            item["probability"],
            [(name, value) for name, value in _top(item["probabilities"].items()) if name != item["label"]],
        )
        for label, item in zip(gold, predictions, strict=True)
        if label != item["label"]
    ]
    return [*parts, _confidence(predictions, is_right)], mistakes


def _of_label_sets(
    task: MultiLabel, examples: Sequence[Any], predictions: Predictions
) -> tuple[list[Part], list[Mistake]]:
    """A mistake weighs as much as the surest label that is wrong in it, said or left out."""
    mistakes, rows = [], []
    for row, item in zip(examples, predictions, strict=True):
        wrong = set(row.labels) ^ set(item["labels"])
        if wrong:
            sure = max(abs(item["probabilities"][label] - (label in row.labels)) for label in wrong)
            others = _top(item["probabilities"].items(), 6)
            gold, predicted = (", ".join(labels) or _NOTHING for labels in (row.labels, item["labels"]))
            mistakes.append(Mistake(item["id"], _texts(item), gold, predicted, sure, None, others))
    for label in task.labels:
        pairs = [
            (label in row.labels, label in item["labels"]) for row, item in zip(examples, predictions, strict=True)
        ]
        rows.append([label, *_scores(*map(sum, zip(*((a and b, b, a) for a, b in pairs), strict=True)))])
    return [_score_table("By label", "label", rows)], mistakes


def _of_numbers(examples: Sequence[Any], predictions: Predictions) -> tuple[list[Part], list[Mistake]]:
    truth, values = [float(row.label) for row in examples], [float(item["value"]) for item in predictions]
    errors = [abs(value - number) for number, value in zip(truth, values, strict=True)]
    mistakes = [
        Mistake(item["id"], _texts(item), f"{number:.4g}", f"{item['value']:.4g}", error)
        for number, item, error in zip(truth, predictions, errors, strict=True)
    ]
    high = max(errors, default=0.0)
    histogram = draw_histogram({"error": errors}, "How far off", "distance from the truth", (0.0, high or 1.0))
    return [draw_scatter(truth, values, "Predicted and true"), histogram], mistakes


def _of_pairs(task: Similarity, examples: Sequence[Any], predictions: Predictions) -> tuple[list[Part], list[Mistake]]:
    """A mistake weighs as much as the places lie apart that a pair has by its cosine and by its score."""
    from scipy.stats import rankdata  # here, because the import takes seconds

    truth, cosines = task.scores_of(examples), [float(item["similarity"]) for item in predictions]
    apart = np.abs(rankdata(truth) - rankdata(cosines))
    mistakes = [
        Mistake(item["id"], _texts(item), f"score {score:.4g}", f"cosine {cosine:.3f}", float(distance))
        for item, score, cosine, distance in zip(predictions, truth, cosines, apart, strict=True)
    ]
    groups = {
        name: [cosine for row, cosine in zip(examples, cosines, strict=True) if task.is_positive(row) == wanted]
        for name, wanted in (("alike", True), ("others", False))
    }
    span = min([0.0, *cosines]), max([1.0, *cosines])  # rounded, that of a text with itself may be 1.0000001
    return [draw_histogram(groups, "How close, and how alike", "cosine", span)], mistakes


def _of_choices(examples: Sequence[ChoiceQuestion], predictions: Predictions) -> tuple[list[Part], list[Mistake]]:
    mistakes, is_right = [], []
    for question, item in zip(examples, predictions, strict=True):
        right = question.choices[question.label or 0]
        chosen = item["probabilities"].index(max(item["probabilities"]))
        is_right.append(chosen == question.label)
        if not is_right[-1]:
            others = zip(question.choices, item["probabilities"], strict=True)
            texts = [(name, [(_cut(item[name]), False)]) for name in ("context", "question") if name in item]
            mistakes.append(
                Mistake(
                    item["id"],
                    texts,
                    right,
                    question.choices[chosen],
                    item["probability"],
                    item["probability"],
                    [pair for number, pair in enumerate(others) if number != chosen],
                )
            )
    return [_confidence(predictions, is_right)], mistakes


def _of_tags(
    task: TokenClassification, examples: Sequence[Any], predictions: Predictions
) -> tuple[list[Part], list[Mistake]]:
    """Entities where tags mark them, else tags; a mistake weighs as much as the surest wrong word in it."""
    is_entities = are_entity_tags(task.labels)
    counts: dict[str, list[int]] = {}  # right, predicted, there
    mistakes = []
    for example, item in zip(examples, predictions, strict=True):
        gold, guess = (_marks(tags, is_entities) for tags in (example.tags, item["tags"]))
        for place, marks in ((0, gold & guess), (1, guess), (2, gold)):
            for name, _, _ in marks:
                counts.setdefault(name, [0, 0, 0])[place] += 1
        if gold != guess:
            right, wrong = _shown(example, gold - guess), _shown(example, guess - gold)
            pairs = zip(example.tags, item["tags"], item["probabilities"], strict=True)
            sure = max((value for tag, predicted, value in pairs if tag != predicted), default=0.0)
            places = [
                (example.spans[first][0], example.spans[last - 1][1]) for _, first, last in sorted(guess, key=_first)
            ]
            pieces = _marked(example.text, places if is_entities else [])
            mistakes.append(Mistake(item["id"], [("text", pieces)], right, wrong, sure, sure))
    names = sorted(counts)
    rows = [[name, *_scores(*counts[name])] for name in names]
    title, first = ("By entity", "type") if is_entities else ("By tag", "tag")
    return [_score_table(title, first, rows)], mistakes


def _of_questions(
    task: QuestionAnswering, examples: Sequence[Question], predictions: Predictions
) -> tuple[list[Part], list[Mistake]]:
    mistakes, is_right = [], []
    for question, item in zip(examples, predictions, strict=True):
        answers = [answer.text for answer in question.answers]
        scores = squad_scores({"": answers}, {"": item["answer"]}, scoring=task.settings.scoring)
        is_right.append(scores["exact"] > 0)
        if not is_right[-1]:
            others = [(other["answer"] or _NO_ANSWER, other["probability"]) for other in item["nbest"]]
            shown = item["answer"] or _NO_ANSWER
            mistakes.append(
                Mistake(
                    item["id"],
                    [("question", [(question.question, False)]), ("context", _excerpt(question, item))],
                    " · ".join(dict.fromkeys(answers)) or _NO_ANSWER,
                    shown,
                    item["probability"],
                    item["probability"],
                    [other for other in others if other[0] != shown][:3],
                )
            )
    return [_confidence(predictions, is_right)], mistakes


def _confusions(labels: Sequence[str], gold: Sequence[str], guesses: Sequence[str]) -> Matrix | Table:
    numbers = {label: number for number, label in enumerate(labels)}
    counts = [[0] * len(labels) for _ in labels]
    for label, guess in zip(gold, guesses, strict=True):
        counts[numbers[label]][numbers[guess]] += 1
    if len(labels) <= _MOST_CLASSES:
        return Matrix("Confusion matrix", list(labels), counts)
    wrong = [
        (-count, f"{labels[row]} → {labels[column]}")
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
        if count and row != column
    ]
    rows = [[pair, str(-count)] for count, pair in sorted(wrong)[:_MOST_CLASSES]]
    return Table("Commonest confusions", ["label → predicted", "number"], rows)


def _by_label(labels: Sequence[str], gold: Sequence[str], guesses: Sequence[str]) -> Table:
    pairs = list(zip(gold, guesses, strict=True))
    rows = [[label, *_scores(pairs.count((label, label)), guesses.count(label), gold.count(label))] for label in labels]
    return _score_table("By label", "label", rows)


def _score_table(title: str, first: str, rows: list[list[str]]) -> Table:
    return Table(title, [first, "precision", "recall", "F1", "number"], rows)


def _scores(num_right: int, num_predicted: int, num_there: int) -> list[str]:
    """Precision, recall, F1, and how many there are; 0 where nothing is divided by nothing."""
    values = (
        num_right / max(1, num_predicted),
        num_right / max(1, num_there),
        2 * num_right / max(1, num_predicted + num_there),
    )
    return [*(f"{value:.3f}" for value in values), f"{num_there:,}"]


def _confidence(predictions: Predictions, is_right: Sequence[bool]) -> Chart:
    groups = {
        name: [item["probability"] for item, right in zip(predictions, is_right, strict=True) if right == wanted]
        for name, wanted in (("right", True), ("wrong", False))
    }
    return draw_histogram(groups, "How sure, and how right", "probability of the prediction", (0.0, 1.0))


def _texts(item: Mapping[str, Any]) -> list[tuple[str, Pieces]]:
    return [(name, [(_cut(item[name]), False)]) for name in ("text", "pair") if name in item]


def _top(probabilities: Iterable[tuple[str, float]], most: int = 4) -> list[tuple[str, float]]:
    return sorted(probabilities, key=lambda pair: -pair[1])[:most]


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} … ({len(text) - _MOST_TEXT:,} more characters)"


def _marks(tags: Sequence[str], is_entities: bool) -> set[tuple[str, int, int]]:
    """Type, first word, last word plus one: of entities, or of each word."""
    return set(find_entities(tags) if is_entities else [(tag, i, i + 1) for i, tag in enumerate(tags)])


def _first(mark: tuple[str, int, int]) -> int:
    return mark[1]


def _shown(example: Any, marks: set[tuple[str, int, int]]) -> str:
    """Words and their type, such as ``PER John Smeaton · LOC Plymouth``."""
    parts = [
        f"{name} {example.text[example.spans[first][0] : example.spans[last - 1][1]]}"
        for name, first, last in sorted(marks, key=_first)
    ]
    return " · ".join(parts) or _NOTHING


def _marked(text: str, places: Sequence[tuple[int, int]]) -> Pieces:
    pieces, done = [], 0
    for start, end in places:
        pieces += [(text[done:start], False), (text[start:end], True)]
        done = end
    return [piece for piece in [*pieces, (text[done:], False)] if piece[0]]


def _excerpt(question: Question, item: Mapping[str, Any]) -> Pieces:
    """The context round what was predicted, or round the right answer if nothing was."""
    text, start, end = question.context, int(item["start"]), int(item["end"])
    if not item["answer"]:
        start = end = question.answers[0].start if question.answers else 0
    begin, stop = max(0, start - _AROUND), min(len(text), end + _AROUND)
    before, after = ("… " if begin else "") + text[begin:start], text[end:stop] + (" …" if stop < len(text) else "")
    return [piece for piece in ((before, False), (text[start:end], True), (after, False)) if piece[0]]
