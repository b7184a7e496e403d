"""Questions in the JSON layout of SQuAD 1.1 and 2.0, which JaQuAD and many others share, or as records; answers."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dokkai.data.arrow import is_data_set
from dokkai.data.tables import format_of, read_table, records_called_data
from dokkai.data.text import read_lines
from dokkai.errors import UserError
from dokkai.files import parse_json, write_text

_T = TypeVar("_T")
_KINDS: dict[type, str] = {list: "a list", str: "a text", int: "a whole number"}
_SHOWN = 40  # characters of an answer that an error shows


@dataclass(frozen=True, slots=True)
class Answer:
    """A correct answer: ``context[start : start + len(text)] == text``, counted in code points."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a context; the questions of a paragraph share one context string.

    Without ``is_labelled`` nothing is known of its answers; labelled and without answers it is unanswerable.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    title: str = ""
    is_labelled: bool = True

    @property
    def is_impossible(self) -> bool:
        """Whether the context is known to hold no answer."""
        return self.is_labelled and not self.answers


def read_squad(path: str | Path) -> list[Question]:
    """Read the questions of a SQuAD file (plain, .gz, .xz or .zst; ``-`` is standard input) in their order.

    A question without ``answers`` is unlabelled, unless it says ``is_impossible: true``. Other keys are not read. A
    JSON list, JSON lines, Parquet or a data set (as for ``read_table``) has one question in each record, with its
    context, as on the hub; without ``id`` they are numbered from "0". UserError if the file is not in this layout,
    holds no questions or an id twice, or if an answer is empty or does not lie where it says, or belongs to a question
    that is marked impossible.
    """
    name = "standard input" if str(path) == "-" else str(path)
    try:
        entries = list(_entries_of(path, name))
    except _LayoutError as error:
        raise UserError(f"{name}: not in SQuAD's layout: {error}") from error
    questions = [question for question, _ in entries]
    if not questions:
        raise UserError(f"{name}: no questions in it")
    _check_ids(questions, name)
    _check_marks([question for question, is_marked in entries if is_marked and question.answers], name)
    _check_answers(questions, name)
    return questions


def write_answers(directory: Path, predictions: Sequence[Mapping[str, Any]], with_null_odds: bool) -> None:
    """Write the files of answers of the release (``run_squad.py``), which the official scripts of SQuAD read.

    ``predictions`` are those of question answering. ``predictions.json``: ``{id: text}``, "" for no answer.
    ``nbest_predictions.json``: ``{id: [{"text", "probability", "start_logit", "end_logit"}, ...]}``, best first, never
    empty. ``null_odds.json``, only ``with_null_odds`` as the release: ``{id: null score - best score}``. UserError if
    they cannot be written.
    """
    if directory.is_file():
        raise UserError(f"{directory} is a file; give the name of a directory")
    nothing = [{"answer": "", "probability": 1.0, "start_logit": 0.0, "end_logit": 0.0}]  # a context without a word
    contents: dict[str, dict[str, Any]] = {
        "predictions.json": {item["id"]: item["answer"] for item in predictions},
        "nbest_predictions.json": {
            item["id"]: [
                {"text": entry["answer"]} | {key: entry[key] for key in ("probability", "start_logit", "end_logit")}
                for entry in item["nbest"] or nothing
            ]
            for item in predictions
        },
    }
    if with_null_odds:
        contents["null_odds.json"] = {item["id"]: item["null_odds"] for item in predictions}
    for name, content in contents.items():
        write_text(directory / name, json.dumps(content, indent=4) + "\n")  # ASCII, as the release: any reader will do


class _LayoutError(Exception):
    """What is missing or of the wrong kind, and where."""


def _entries_of(path: str | Path, name: str) -> Iterator[tuple[Question, bool]]:
    if format_of(path) in ("jsonl", "parquet") or is_data_set(path):
        table = read_table(path, {})
        return _flat_entries((record.place, record.values) for record in table.records)
    try:
        content = parse_json("\n".join(read_lines(path)))
    except json.JSONDecodeError as error:
        raise UserError(f"{name}: not JSON (line {error.lineno}: {error.msg}); a SQuAD file is needed") from error
    match records_called_data(content):
        case [{"context": _}, *_] as records:
            content = records
    if isinstance(content, list):
        return _flat_entries((f"entry {number}", entry) for number, entry in enumerate(content, start=1))
    return _entries(content)


def _flat_entries(records: Iterable[tuple[str, object]]) -> Iterator[tuple[Question, bool]]:
    """Of records that each hold a question with its context; ``datasets`` writes answers as an object of lists."""
    contexts: dict[str, str] = {}
    for number, (at, values) in enumerate(records):
        context = _get(values, "context", str, at=at)
        entry: dict[str, Any] = {"id": str(number), **values} if isinstance(values, dict) else {}
        match entry.get("answers"):
            case {"text": list(texts), "answer_start": list(starts)} if len(texts) == len(starts):
                pairs = zip(texts, starts, strict=True)
                entry["answers"] = [{"text": text, "answer_start": start} for text, start in pairs]
        yield _question(entry, contexts.setdefault(context, context), str(entry.get("title") or ""), at)


def _entries(content: object) -> Iterator[tuple[Question, bool]]:
    """Every question, and whether it is marked impossible."""
    for i, article in enumerate(_get(content, "data", list, at="the file")):
        title = article.get("title", "") if isinstance(article, dict) else ""
        for j, paragraph in enumerate(_get(article, "paragraphs", list, at=f"data[{i}]")):
            at = f"data[{i}].paragraphs[{j}]"
            context = _get(paragraph, "context", str, at=at)
            for k, entry in enumerate(_get(paragraph, "qas", list, at=at)):
                yield _question(entry, context, str(title), f"{at}.qas[{k}]")


def _question(entry: object, context: str, title: str, at: str) -> tuple[Question, bool]:
    question_id = str(_get(entry, "id", str, int, at=at))
    text = _get(entry, "question", str, at=at)
    fields = entry if isinstance(entry, dict) else {}
    is_marked = fields.get("is_impossible") is True
    answers = _get(entry, "answers", list, at=at) if "answers" in fields else []
    parsed = tuple(_answer(answer, f"{at}.answers[{n}]") for n, answer in enumerate(answers))
    return Question(question_id, text, context, parsed, title, is_marked or "answers" in fields), is_marked


def _answer(value: object, at: str) -> Answer:
    return Answer(_get(value, "text", str, at=at), _get(value, "answer_start", int, at=at))


def _get(value: object, key: str, *kinds: type[_T], at: str) -> _T:
    if not isinstance(value, dict):
        raise _LayoutError(f"{at} is not an object with '{key}'")
    if key not in value:
        raise _LayoutError(f"'{key}' is missing in {at}")
    found = value[key]
    if not isinstance(found, kinds) or isinstance(found, bool):  # to Python, true is a whole number
        raise _LayoutError(f"'{key}' in {at} is not {' or '.join(_KINDS[kind] for kind in kinds)}")
    return found


def _check_ids(questions: Sequence[Question], name: str) -> None:
    repeated = [question_id for question_id, count in Counter(q.id for q in questions).items() if count > 1]
    if repeated:
        raise UserError(
            f"{name}: {_times(repeated, 'id occurs', 'ids occur')} more than once, first: id {repeated[0]}; "
            "ids must differ"
        )


def _check_marks(contradicting: Sequence[Question], name: str) -> None:
    if contradicting:
        raise UserError(
            f"{name}: {_times(contradicting, 'question is', 'questions are')} marked is_impossible but with answers, "
            f"first: id {contradicting[0].id}; take away the mark or the answers"
        )


def _check_answers(questions: Sequence[Question], name: str) -> None:
    empty = [question for question in questions for answer in question.answers if not answer.text]
    if empty:
        raise UserError(
            f"{name}: {_times(empty, 'answer is', 'answers are')} an empty text, first: id {empty[0].id}; "
            'write "answers": [] where there is no answer'
        )
    astray = [
        (question, answer) for question in questions for answer in question.answers if not _lies(question, answer)
    ]
    if astray:
        question, answer = astray[0]
        found = question.context[answer.start :][: len(answer.text)] if answer.start >= 0 else ""
        num_astray = _times(astray, "answer does not lie where it says", "answers do not lie where they say")
        raise UserError(
            f"{name}: {num_astray}, first: id {question.id}: "
            f"expected {_shown(answer.text)} at {answer.start}, found {_shown(found)}; count answer_start in characters"
        )


def _lies(question: Question, answer: Answer) -> bool:
    return answer.start >= 0 and question.context.startswith(answer.text, answer.start)


def _times(things: Sequence[object], one: str, many: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else many}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
