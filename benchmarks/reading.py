"""How well does it read? python benchmarks/reading.py MODEL --name reader-en -> results/reading-reader-en.json

On SQuAD-like dev files (``$DOKKAI_DATA/squad``):

- 1.1, where every question has an answer and "no answer" is switched off: exact match and F1, by the kind of answer,
  by question word, by the number of words of the passage;
- 2.0: exact match and F1 at the model's own threshold, beside always answering "none"; unanswerable questions caught,
  answerable ones refused;
- the same with threshold and temperatures from one half of 2.0 and figures of the other half, both ways, as the model's
  own were found on this file; halves of the passages, and of the articles, which differ in how many of their questions
  have an answer; and F1 by where a passage comes from, as the file says;
- of the answers shown on 2.0 with a confidence, how many are right (exact match), by tenths, and the calibration error;
- twenty answers as they came: questions of 2.0 drawn by a fixed seed;
- with ``--examples``, of ``examples/dev.json`` and ``examples/train.json`` in their place: the same figures as of 2.0,
  and the first question about each passage with its answer; the same if it never refuses, and with threshold and
  temperatures from the other file; and F1 by a threshold alone from a few passages of it, drawn twenty times;
- with ``--questions FILE``, of a file of your own in SQuAD's layout: the same figures as of 2.0, and if it never
  refuses, by the kind of answer too.

Kinds of answer go by simple rules, in this order. Of fewer than seven words: ``date`` has a month, a weekday, what
looks like a year (1000 to 2099), a century, BC or AD. Of fewer than five: ``number`` has a digit or a word for a
number. Of fewer than seven: ``person`` and ``place`` begin with a capital where the question asks who, or where or
which place; ``name`` is any other that does. ``clause`` has five words or more; ``phrase`` is what is left.
"""

import argparse
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT, articles, versions, write_result

from dokkai.errors import UserError

_DATE = re.compile(
    r"\b(january|february|march|april|may|june|july|august|september|october|november|december|monday|tuesday|wednesday"
    r"|thursday|friday|saturday|sunday|1[0-9]{3}s?|20[0-9]{2}s?|century|centuries|bc|ad)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|sixty|seventy"
    r"|eighty|ninety|hundred|hundreds|thousand|thousands|million|millions|billion|first|second|third|half)\b",
    re.IGNORECASE,
)
_WHO = re.compile(r"\b(who|whom|whose)\b", re.IGNORECASE)
_WHERE = re.compile(
    r"\bwhere\b|\b(what|which|in what|in which) (\w+ )?(city|country|state|place|region|nation|town|island|continent"
    r"|river|area|county|province|location|village|district)\b",
    re.IGNORECASE,
)
_QUESTION_WORDS = ("who", "when", "where", "why", "how many", "how much", "how", "which", "what")
_CLAUSE_WORDS = 5
_LENGTHS = (80, 120, 160, 240)
_SHOWN = 20
_FEW_PASSAGES, _DRAWS = (4, 8, 12), 20

Questions = tuple[Sequence[Any], Sequence[dict[str, Any]]]
"""Questions, and the reader's prediction for each."""


def kind_of_answer(question: str, answer: str) -> str:
    """One of the kinds above."""
    words = answer.split()
    if _DATE.search(answer) and len(words) < _CLAUSE_WORDS + 2:
        return "date"
    if _NUMBER.search(answer) and len(words) < _CLAUSE_WORDS:
        return "number"
    is_capitalized = answer[:1].isupper() and len(words) < _CLAUSE_WORDS + 2
    if is_capitalized and _WHO.search(question):
        return "person"
    if is_capitalized and _WHERE.search(question):
        return "place"
    if is_capitalized:
        return "name"
    return "clause" if len(words) >= _CLAUSE_WORDS else "phrase"


def by_kind(item: Any) -> str:
    """The kind of the first right answer of a question."""
    return kind_of_answer(item.question, item.answers[0].text)


def question_word(question: str) -> str:
    """The first of the usual words in it, or "other"."""
    text = f" {question.lower()} "
    places = {word: place for word in _QUESTION_WORDS if (place := text.find(f" {word} ")) >= 0}
    return min(places, key=lambda word: (places[word], -len(word)), default="other")


def length_of_passage(context: str) -> str:
    """A range of words."""
    number = len(context.split())
    low = max((step for step in _LENGTHS if number > step), default=0)
    high = min((step for step in _LENGTHS if number <= step), default=None)
    return f"{low + 1} to {high}" if high else f"more than {low}"


def by(
    questions: Sequence[Any], predictions: Sequence[dict[str, Any]], group: Callable[[Any], str]
) -> dict[str, dict[str, float]]:
    """Exact match and F1 of each group, the largest first."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(questions):
        groups[group(item)].append(number)
    found = {}
    for name, numbers in sorted(groups.items(), key=lambda pair: -len(pair[1])):
        found[name] = {"questions": len(numbers)} | scores(
            [questions[i] for i in numbers], [predictions[i] for i in numbers]
        )
    return found


def scores(questions: Sequence[Any], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Exact match and F1 in percent, by the official rules."""
    from dokkai.evaluation.metrics import squad_scores

    answers = {item.id: [answer.text for answer in item.answers] for item in questions}
    found = squad_scores(answers, {item["id"]: item["answer"] for item in predictions})
    return {name: found[name] for name in ("exact", "f1")}


def believed(predictions: Sequence[dict[str, Any]], right: Sequence[bool]) -> dict[str, Any]:
    """Of the answers that are shown: how many are right by tenths of confidence, and the calibration error."""
    from dokkai.evaluation.calibration import calibration_error

    shown = [number for number, item in enumerate(predictions) if item["answer"]]
    sure = np.array([predictions[number]["probability"] for number in shown])
    hits = np.array([right[number] for number in shown])
    tenths = np.minimum((sure * 10).astype(int), 9)
    rows = [
        {"from": n / 10, "answers": int((tenths == n).sum()), "right": float(hits[tenths == n].mean())}
        for n in range(10)
        if (tenths == n).any()
    ]
    return {
        "tenths": rows,
        "calibration_error": calibration_error(sure, hits) if shown else None,
        "answers": len(shown),
    }


def refused(questions: Iterable[Any], predictions: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Unanswerable questions caught, answerable ones refused, in percent."""
    pairs = list(zip(questions, predictions, strict=True))
    caught = [not p["answer"] for q, p in pairs if q.is_impossible]
    false = [not p["answer"] for q, p in pairs if not q.is_impossible]
    return {"caught": 100 * float(np.mean(caught)), "falsely_refused": 100 * float(np.mean(false))}


def reader_of(parser: argparse.ArgumentParser, model: str) -> tuple[Any, Any]:
    """The model and its task; ends with a line if it is not one for questions."""
    from dokkai.pipeline import load
    from dokkai.tasks import QuestionAnswering

    reader = load(model)
    if not isinstance(reader.task, QuestionAnswering):
        parser.error(f"{model}: not a model for questions")
    return reader, reader.task


def drawn(questions: Sequence[Any]) -> list[int]:
    """The places of questions, drawn by a fixed seed."""
    return list(map(int, np.random.default_rng(0).permutation(len(questions))[:_SHOWN]))


def first_of_each(questions: Sequence[Any]) -> list[int]:
    """The place of the first question about each passage."""
    return list({item.context: place for place, item in reversed(list(enumerate(questions)))}.values())[::-1]


def may_refuse(task: Any, file: Path, read: Questions, shown: Callable[[Sequence[Any]], list[int]]) -> dict[str, Any]:
    """Questions some of which have no answer; of those that ``shown`` picks, the answers as they came."""
    questions, predictions = read
    right = task.is_right(questions, predictions)
    return {
        "file": name_of(file),
        "questions": len(questions),
        **decided_by(task, read),
        "always none": scores(questions, [item | {"answer": ""} for item in predictions]),
        "as they came": [
            {
                "question": questions[i].question,
                "right": sorted({answer.text for answer in questions[i].answers}),
                "answer": predictions[i]["answer"],
                "confidence": predictions[i]["probability"],
                "is_right": right[i],
            }
            for i in shown(questions)
        ],
    }


def tuned_on(reader: Any, task: Any, file: Path) -> dict[str, Any]:
    """SQuAD 2.0, on which the model's threshold and temperatures were found: as it is, and fitted on half of it."""
    questions, predictions = read = predicted(reader, task, file)
    source = sources(file)
    return may_refuse(task, file, read, drawn) | {
        "fitted elsewhere": {
            "passages": fitted_elsewhere(task, questions, predictions, lambda item: item.context),
            "articles": fitted_elsewhere(task, questions, predictions, lambda item: item.title),
        },
        "by": {"source of the passage": by(questions, predictions, lambda item: source[item.id])},
    }


def of_file(reader: Any, task: Any, file: Path) -> dict[str, Any]:
    """A file of questions some of which have no answer: with the model's own threshold, and without."""
    asked = task.read(file)
    if len({item.is_impossible for item in asked}) < 2:
        raise UserError(f"{file}: it needs questions with an answer and questions without one")
    read = asked, reader.predict(asked)
    run = may_refuse(task, file, read, drawn)
    answering = task.with_threshold(math.inf)
    run["never refusing"] = decided_by(answering, read)
    questions, predictions = zip(*(pair for pair in zip(*read, strict=True) if pair[0].answers), strict=True)
    return run | {"by": {"kind": by(questions, answering.decide(predictions), by_kind)}}


def of_examples(reader: Any, task: Any, files: Sequence[Path]) -> list[dict[str, Any]]:
    """Two files of another kind of text: with the model's own threshold, without, and with one from the other file."""
    found = [predicted(reader, task, file) for file in files]
    runs = []
    for file, read, other, known in zip(files, found, files[::-1], found[::-1], strict=True):
        answering, tuned = task.with_threshold(math.inf), fitted(task, known)
        run = may_refuse(task, file, read, first_of_each)
        run["never refusing"] = decided_by(answering, read)
        run["fitted on the other"] = {"file": name_of(other), **settings_of(tuned), **decided_by(tuned, read)}
        number_of_all = len({item.context for item in known[0]})
        run["threshold from few"] = [
            {"passages": number, "f1": from_few(task, known, number, read)}
            for number in _FEW_PASSAGES
            if number < number_of_all
        ]
        runs.append(run)
    return runs


def predicted(reader: Any, task: Any, file: Path) -> Questions:
    """The questions of a file, and what the reader says of them."""
    questions = task.read(file)
    return questions, reader.predict(questions)


def name_of(file: Path) -> str:
    """Without its ending."""
    return file.name.split(".json")[0]


def fitted(task: Any, read: Questions) -> Any:
    """The task with the threshold and the temperatures that fit these best."""
    from dokkai.tasks.calibrating import calibrate

    tuned, _, _ = calibrate(task.with_threshold(task.best_threshold(*read)), *read)
    return tuned


def settings_of(task: Any) -> dict[str, float | None]:
    """Its threshold and temperatures."""
    s = task.settings
    return {"threshold": s.null_threshold, "temperature": s.temperature, "null temperature": s.null_temperature}


def decided_by(task: Any, read: Questions) -> dict[str, Any]:
    """The figures with the threshold and the temperatures of this task."""
    questions, predictions = read[0], task.decide(read[1])
    return {
        "scores": task.score(questions, predictions),
        "refused": refused(questions, predictions),
        "confidence": believed(predictions, task.is_right(questions, predictions)),
    }


def from_few(task: Any, known: Questions, number: int, read: Questions) -> list[float]:
    """F1 of ``read`` by thresholds from the questions about ``number`` passages of ``known``, drawn twenty times."""
    passages = list(dict.fromkeys(item.context for item in known[0]))
    found = []
    for seed in range(_DRAWS):
        places = np.random.default_rng(seed).permutation(len(passages))[:number]
        chosen = {passages[place] for place in places}
        few = [pair for pair in zip(*known, strict=True) if pair[0].context in chosen]
        threshold = task.best_threshold([item for item, _ in few], [item for _, item in few])
        found.append(scores(read[0], task.with_threshold(threshold).decide(read[1]))["f1"])
    return found


def fitted_elsewhere(
    task: Any, questions: Sequence[Any], predictions: Sequence[dict[str, Any]], unit: Callable[[Any], str]
) -> dict[str, Any]:
    """Figures of each half by the threshold and the temperatures that fit the other half best.

    ``unit`` says what goes into one half as a whole: every second one, by name.
    """
    units = sorted({unit(item) for item in questions})
    second = set(units[1::2])
    halves = [[i for i, item in enumerate(questions) if (unit(item) in second) is side] for side in (False, True)]
    decided: list[Any] = [None] * len(questions)
    found = []
    for fit, use in (halves, halves[::-1]):
        known = [questions[i] for i in fit], [predictions[i] for i in fit]
        tuned = fitted(task, known)
        share = float(np.mean([item.is_impossible for item in known[0]]))
        found.append({"questions": len(fit), "without an answer": share} | settings_of(tuned))
        for i, item in zip(use, tuned.decide([predictions[i] for i in use]), strict=True):
            decided[i] = item
    return {
        "halves": found,
        "scores": scores(questions, decided),
        "refused": refused(questions, decided),
        "confidence": believed(decided, task.is_right(questions, decided)),
    }


def sources(file: Path) -> dict[str, str]:
    """Of each question where its passage comes from."""
    return {
        item["id"]: part["source"]
        for article in articles(file)
        for part in article["paragraphs"]
        for item in part["qas"]
    }


def must_answer(reader: Any, task: Any, file: Path) -> dict[str, Any]:
    """Questions that all have an answer, with "no answer" switched off."""
    questions, predictions = predicted(reader, task, file)
    predictions = task.with_threshold(math.inf).decide(predictions)
    groups = {
        "kind": by_kind,
        "question word": lambda q: question_word(q.question),
        "words of the passage": lambda q: length_of_passage(q.context),
    }
    run = {"file": name_of(file), "scores": scores(questions, predictions), "questions": len(questions)}
    return run | {"by": {name: by(questions, predictions, group) for name, group in groups.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model directory, or the name of one that ships")
    parser.add_argument("--name", required=True, help="of the result file")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--examples", action="store_true", help="the passages of the examples, and no other file")
    only.add_argument(
        "--questions", type=Path, metavar="FILE", help="this file, with and without answers, and no other"
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    args = parser.parse_args()
    reader, task = reader_of(parser, args.model)
    if args.examples:
        files = [ROOT / "examples" / name for name in ("dev.json", "train.json")]
        runs = of_examples(reader, task, files)
    elif args.questions:
        try:
            runs = [of_file(reader, task, args.questions)]
        except UserError as error:
            parser.error(str(error))
    else:
        runs = [must_answer(reader, task, args.data / "squad" / "dev-v1.1.json.xz")]
        if task.settings.no_answer:
            runs.append(tuned_on(reader, task, args.data / "squad" / "dev-v2.0.json.xz"))
    write_result(
        f"reading-{args.name}",
        f"python benchmarks/reading.py {args.model} --name {args.name}"
        + " --examples" * args.examples
        + (f" --questions {args.questions.name}" if args.questions else ""),
        runs,
        versions=versions("dokkai", "torch"),
    )


if __name__ == "__main__":
    main()
