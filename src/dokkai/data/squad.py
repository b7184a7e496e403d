"""Questions in the JSON layout of SQuAD 1.1 and 2.0, which JaQuAD and many others share, or in a table; answers."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dokkai.data.arrow import is_data_set
from dokkai.data.label_sets import FLAGS
from dokkai.data.tables import (
    Record,
    format_of,
    json_lines,
    no_column,
    read_table,
    records_in,
    refuse_spreadsheet,
    text_of,
)
from dokkai.data.text import name_of, read_lines
from dokkai.errors import UserError
from dokkai.files import parse_json, write_text
from dokkai.settings import QuestionAnsweringSettings

_T = TypeVar("_T")
_KINDS: dict[type, str] = {list: "a list", str: "a text", int: "a whole number"}
_SHOWN = 40  # characters of an answer that an error shows
_USUAL = QuestionAnsweringSettings(no_answer=True)  # the usual names of columns


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


def read_squad(path: str | Path, settings: QuestionAnsweringSettings = _USUAL) -> list[Question]:
    """Read the questions of a SQuAD file (plain, .gz, .xz or .zst; ``-`` is standard input) in their order.

    A question without ``answers`` is unlabelled, unless it says ``is_impossible: true``. Other keys are not read. A
    JSON list, CSV, TSV, JSON lines, Parquet or a data set (as for ``read_table``) has one question in each record, in
    the columns that the settings name; without ids they are numbered from "0". It has ``answers`` as on the hub, or one
    answer, which is looked for in the context unless the record says where it starts. UserError if the file is not in
    this layout, holds no questions or an id twice, or if an answer is empty or does not lie where it says, or belongs
    to a question that is marked impossible; it names the line of a table.
    """
    name = name_of(path)
    entries, faults, contexts = list[tuple[Question, bool]](), list[str](), dict[str, str]()
    records = list(question_records(path, settings, is_labelled=True))
    _check_start(records, settings, name)
    for number, record in enumerate(records):
        try:
            entries.append(_question(record.values, record.place, number, settings, contexts))
        except _LayoutError as error:
            raise UserError(f"{name}: not in SQuAD's layout: {error}") from error
        except _AnswerError as error:
            faults.append(f"{name} {record.place}: {error}")
    if faults:
        more = f" ({_times(faults[1:], 'more row has', 'more rows have')} a fault)" if len(faults) > 1 else ""
        raise UserError(faults[0] + more)
    questions = [question for question, _ in entries]
    if not questions:
        raise UserError(f"{name}: no questions in it")
    _check_ids(questions, name)
    _check_marks([question for question, is_marked in entries if is_marked and question.answers], name)
    _check_answers(questions, name)
    return questions


def question_records(
    path: str | Path, settings: QuestionAnsweringSettings = _USUAL, is_labelled: bool = False
) -> Iterator[Record]:
    """The questions of a file that ``read_squad`` reads, each as a record with its context, in the settings' columns.

    Answers are not looked at; but ``is_labelled`` CSV or TSV must have a column of them. UserError as ``read_squad``.
    """
    name = name_of(path)
    try:
        for at, values in _entries_of(path, name, settings, is_labelled):
            if not isinstance(values, dict):
                raise _LayoutError(f"{at} is not an object with '{settings.context}'")
            yield Record(at, values)
    except _LayoutError as error:
        raise UserError(f"{name}: not in SQuAD's layout: {error}") from error


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


class _AnswerError(Exception):
    """What is wrong with the answer in a row of a table."""


_Entries = Iterator[tuple[str, object]]  # where a question stands, and what it consists of


def _entries_of(path: str | Path, name: str, settings: QuestionAnsweringSettings, is_labelled: bool) -> _Entries:
    s = settings
    form = s.format or format_of(path)
    if form in ("csv", "tsv", "jsonl", "parquet") or is_data_set(path):
        wanted = {"question": s.question, "context": s.context} | ({"answer": s.answer} if is_labelled else {})
        wanted |= {"id": s.id} if is_labelled and s.id is not None else {}
        for record in read_table(path, wanted, s.header, s.format, others=True).records:
            missing = [column for column in wanted.values() if column not in record.values]
            if missing and form in ("csv", "tsv"):
                raise UserError(no_column(name, missing[0], list(record.values)))
            yield record.place, record.values
        return
    if form is None:
        refuse_spreadsheet(path)
    lines = list(read_lines(path))
    try:
        content = parse_json("\n".join(lines))
    except json.JSONDecodeError as error:
        if not _begins_with_json(lines):
            table = ", or a table, with task.format=csv, tsv, jsonl or parquet" if form is None else ""
            raise UserError(
                f"{name}: not JSON (line {error.lineno}: {error.msg}); a SQuAD file is needed{table}"
            ) from error
        yield from ((record.place, record.values) for _, record in json_lines(lines, name))
        return
    match records_in(content) or [content]:
        case [dict() as first, *_] as records if s.context in first:
            content = records
    if isinstance(content, list):
        yield from ((f"entry {number}", entry) for number, entry in enumerate(content, start=1))
    else:
        yield from _articles(content, s)


def _begins_with_json(lines: Sequence[str]) -> bool:
    """Whether the first line is JSON by itself, as JSON lines under the name .json are."""
    try:
        parse_json(next((line for line in lines if line.strip()), ""))
    except json.JSONDecodeError:
        return False
    return True


def _articles(content: object, settings: QuestionAnsweringSettings) -> _Entries:
    """The questions of SQuAD's layout, under the names of the settings."""
    s = settings
    names = {"question": s.question, "id": s.id or "id"}
    for i, article in enumerate(_get(content, "data", list, at="the file")):
        title = article.get("title", "") if isinstance(article, dict) else ""
        for j, paragraph in enumerate(_get(article, "paragraphs", list, at=f"data[{i}]")):
            at = f"data[{i}].paragraphs[{j}]"
            context = _get(paragraph, "context", str, at=at)
            for k, entry in enumerate(_get(paragraph, "qas", list, at=at)):
                where = f"{at}.qas[{k}]"
                for key in names:
                    _get(entry, key, str, int, at=where)
                named = {column: entry[key] for key, column in names.items()} | {s.context: context}
                yield where, entry | {"title": title} | named


def _question(
    values: dict[str, object], at: str, number: int, settings: QuestionAnsweringSettings, contexts: dict[str, str]
) -> tuple[Question, bool]:
    """The question of a record, and whether it is marked impossible; equal ``contexts`` become one text."""
    s = settings
    context = _get(values, s.context, str, at=at)
    context = contexts.setdefault(context, context)
    question_id = str(_get({"id": str(number)} | values, s.id or "id", str, int, at=at))
    text = _get(values, s.question, str, at=at)
    is_marked = FLAGS.get(str(values.get("is_impossible")).strip().lower(), False)  # a table holds it as text
    is_named = s.answer not in ("answer", "answers") and s.answer in values  # then it is meant, and no other
    match values.get("answers"):
        case _ if is_named:
            answers: list[object] = _single_answer(values, context, s)
        case {"text": list(texts), "answer_start": list(starts)} if len(texts) == len(starts):  # as ``datasets`` writes
            pairs = zip(texts, starts, strict=True)
            answers = [{"text": text, "answer_start": start} for text, start in pairs]
        case list() | dict():
            answers = _get(values, "answers", list, at=at)
        case _ if s.answer in values:
            answers = _single_answer(values, context, s)
        case _:
            answers = _get(values, "answers", list, at=at) if "answers" in values else []
    parsed = tuple(_answer(answer, f"{at}.answers[{n}]") for n, answer in enumerate(answers))
    is_labelled = is_marked or "answers" in values or s.answer in values
    return Question(question_id, text, context, parsed, str(values.get("title") or ""), is_labelled), is_marked


def _answer(value: object, at: str) -> Answer:
    return Answer(_get(value, "text", str, at=at), _get(value, "answer_start", int, at=at))


def _single_answer(values: dict[str, object], context: str, settings: QuestionAnsweringSettings) -> list[object]:
    """The answer of a row of a table, or none; spaces round it do not count."""
    s = settings
    value = values[s.answer]
    if isinstance(value, list | dict):
        raise _AnswerError(f"column '{s.answer}' holds no text; write one answer there, or several as SQuAD does")
    given = "" if _is_missing(value) else text_of(values, s.answer, "")
    text = given.strip()
    if not text:
        if s.no_answer:
            return []
        raise _AnswerError(
            f"column '{s.answer}' is empty; write the answer, or set task.no_answer=true if there is none"
        )
    start = _start(values, s)
    if start is not None:
        text = given if context.startswith(given, start) else text
        if not context.startswith(text, start):
            found = _shown(context[start:][: len(text)])
            raise _AnswerError(
                f"expected {_shown(text)} at {start}, found {found}; count '{s.answer_start}' in characters, from 0"
            )
        return [{"text": text, "answer_start": start}]
    places = [found.start() for found in re.finditer(f"(?={re.escape(text)})", context)]
    if not places:
        raise _AnswerError(f"the answer {_shown(text)} does not occur in the context; write it as it stands there")
    if len(places) > 1:
        raise _AnswerError(
            f"the answer {_shown(text)} occurs {len(places)} times in the context; say which one is meant in a column "
            f"'{s.answer_start}': the number of characters before it"
        )
    return [{"text": text, "answer_start": places[0]}]


def _start(values: dict[str, object], settings: QuestionAnsweringSettings) -> int | None:
    """Where the answer of a row starts, if it says so; a table with gaps in it may write 22.0 for 22."""
    value = values.get(settings.answer_start)
    text = "" if _is_missing(value) else str(value).strip()
    if text and not re.fullmatch(r"\d+(\.0*)?", text, re.ASCII):
        raise _AnswerError(f"column '{settings.answer_start}' is '{text}'; write the number of characters before it")
    return int(text.partition(".")[0]) if text else None


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _get(value: object, key: str, *kinds: type[_T], at: str) -> _T:
    if not isinstance(value, dict):
        raise _LayoutError(f"{at} is not an object with '{key}'")
    if key not in value:
        raise _LayoutError(f"'{key}' is missing in {at}")
    found = value[key]
    if not isinstance(found, kinds) or isinstance(found, bool):  # to Python, true is a whole number
        raise _LayoutError(f"'{key}' in {at} is not {' or '.join(_KINDS[kind] for kind in kinds)}")
    return found


def _check_start(records: Sequence[Record], settings: QuestionAnsweringSettings, name: str) -> None:
    """UserError if the settings name a column of places, and no record of a table with one answer each has it."""
    column = settings.answer_start
    if column == _USUAL.answer_start or any(column in record.values for record in records):
        return
    single = next((record for record in records if settings.answer in record.values), None)
    if single is not None:
        raise UserError(f"task.answer_start: {no_column(name, column, list(single.values))}")


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
