"""Files of multiple choice that are no tables: DREAM, RACE, MCTest, each to the records of one.

All three may also be records with one question each, under the names of the columns below: JSON lines, Parquet, a data
set of the hub.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dokkai.data.arrow import is_data_set
from dokkai.data.tables import Record, Table, format_of, read_table
from dokkai.data.text import name_of, read_lines
from dokkai.errors import UserError
from dokkai.files import existing_file, parse_json

_LAYOUTS = {
    "dream": "DREAM's layout; [turns, [{question, choice, answer}], id] is needed",
    "race": "RACE's layout; article, questions, options, answers and id are needed",
}


def read_layout(path: str | Path, layout: str, is_labelled: bool = True) -> Table:
    """The questions of a file in the layout of ``task.layout``, as records with columns of these names.

    ``dream``: JSON, ``[[turns, [{question, choice, answer}], id], ...]``, to ``dialogue`` (a turn a line),
    ``question``, ``choice`` (a list), ``answer`` (a text). ``race``: JSON objects, one a line or one a file (``*.txt``)
    of a folder, each an article with its questions, to ``article``, ``question``, ``options`` (a list), ``answer`` (a
    letter). ``mctest``: ``NAME.tsv`` with a story and four questions a line, and ``NAME.ans`` beside it with their
    letters, to ``story``, ``question`` (without its mark "one:" or "multiple:"), ``choices`` (a list), ``answer`` (a
    letter). All have an ``id``, with the number of the question behind that of the text. Without ``is_labelled``
    answers are not looked at, and need not be there. UserError names the entry, line or file that is not laid out so.
    """
    name = name_of(path)
    match layout:
        case "dream":
            records = _dream_entries(path, name)
        case "race":
            records = _race_articles(path)
        case _:
            records = _mctest_questions(path, name, is_labelled)
    questions = (question for _, question in unfold(enumerate(records), layout, name, is_labelled))
    found = [Record(item.place, {"id": str(number)} | item.values) for number, item in enumerate(questions)]
    if not found:
        raise UserError(f"{name}: no questions in it")
    return Table(name, found)


def unfold(
    records: Iterable[tuple[int, Record]], layout: str, name: str, is_labelled: bool
) -> Iterator[tuple[int, Record]]:
    """The questions of records that may hold several, one by one; each with the number that its record has.

    A question alone keeps its ``id``, or has none; that of RACE and DREAM on the hub is made of ``example_id`` or
    ``dialogue_id``.
    """
    seen: Counter[str] = Counter()
    for number, record in records:
        of = {key: value for key, value in record.values.items() if key != "id" or value is not None}
        try:
            match layout:
                case "dream":
                    questions = _dream_questions(of, is_labelled)
                case "race":
                    questions = _race_questions(of, seen, is_labelled)
                case _:
                    questions = [of]
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{name} {record.place}: not in {_LAYOUTS[layout]}") from None
        for values in questions:
            yield number, Record(record.place, values)


def _alone(values: dict[str, Any]) -> dict[str, Any]:
    """A record with one question; KeyError if it has none. What else is missing its reader says by its column."""
    if "question" not in values:
        raise KeyError("question")
    return values


# ---- DREAM


def _dream_entries(path: str | Path, name: str) -> Iterator[Record]:
    if is_data_set(path) or format_of(path) in ("jsonl", "parquet"):
        yield from read_table(path, {}).records
        return
    lines = list(read_lines(path))
    if str(path) != "-" and next((line for line in lines if line.strip()), "").lstrip().startswith("{"):
        yield from read_table(path, {}, format="json").records
        return
    try:
        entries = parse_json("\n".join(lines))
    except json.JSONDecodeError as error:
        raise UserError(f"{name}: not JSON (line {error.lineno}: {error.msg})") from error
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        match entry:
            case [turns, questions, of]:
                yield Record(f"entry {number}", {"dialogue": turns, "questions": questions, "id": of})
            case {"dialogue": _}:
                yield Record(f"entry {number}", entry)
            case _:
                raise UserError(f"{name} entry {number}: not in {_LAYOUTS['dream']}")


def _dream_questions(values: dict[str, Any], is_labelled: bool) -> list[dict[str, Any]]:
    turns = values["dialogue"]
    dialogue = turns if isinstance(turns, str) else "\n".join(turns)
    if "questions" not in values:
        named = {"id": f"{values['dialogue_id']}-{values.get('id', 0)}"} if "dialogue_id" in values else {}
        return [_alone(values) | named | {"dialogue": dialogue}]
    keys = ["question", "choice", *(["answer"] if is_labelled else [])]
    return [
        {"dialogue": dialogue, **{key: item[key] for key in keys}, "id": f"{values['id']}-{index}"}
        for index, item in enumerate(values["questions"])
    ]


# ---- RACE


def _race_articles(path: str | Path) -> Iterator[Record]:
    folder = Path(path)
    files = sorted(folder.rglob("*.txt")) if folder.is_dir() else []
    if not files:
        yield from read_table(path, {}, format=None if is_data_set(path) else format_of(path) or "jsonl").records
    for file in files:
        place = f"file {file.relative_to(folder)}"
        yield from (Record(place, record.values) for record in read_table(file, {}, format="jsonl").records)


def _race_questions(values: dict[str, Any], seen: Counter[str], is_labelled: bool) -> list[dict[str, Any]]:
    if "questions" not in values:
        named = {}
        if "example_id" in values and "id" not in values:  # the questions of an article share it
            text = str(values["example_id"])
            named = {"id": f"{text}-{seen[text]}"}
            seen[text] += 1
        return [_alone(values) | named]
    columns: dict[str, Sequence[Any]] = {"question": values["questions"], "options": values["options"]}
    if is_labelled:
        columns["answer"] = values["answers"]
    rows = zip(*columns.values(), strict=True)
    return [
        {"article": values["article"], **dict(zip(columns, row, strict=True)), "id": f"{values['id']}-{index}"}
        for index, row in enumerate(rows)
    ]


# ---- MCTest


def _mctest_questions(path: str | Path, name: str, is_labelled: bool) -> Iterator[Record]:
    if is_data_set(path) or format_of(path) in ("json", "jsonl", "parquet"):
        yield from read_table(path, {}).records
        return
    answers = list(read_lines(existing_file(Path(path).with_suffix(".ans")))) if is_labelled else []
    for number, line in enumerate(read_lines(path), start=1):
        fields = [field.replace("\\newline", "\n").replace("\\tab", "\t") for field in line.split("\t")]
        letters = answers[number - 1].split() if number <= len(answers) else []
        num_questions = len(letters) if is_labelled else (len(fields) - 3) // 5
        if len(fields) != 3 + 5 * num_questions or num_questions < 1:
            found = f"{len(fields)} fields" + f" and {len(letters)} answers" * is_labelled
            needed = ", and a letter for each in the .ans file" * is_labelled
            raise UserError(
                f"{name} line {number}: {found}; a story with 4 questions of 4 choices has 23 fields{needed}"
            )
        for index in range(num_questions):
            question, *choices = fields[3 + 5 * index : 8 + 5 * index]
            columns = {"story": fields[2], "question": question.partition(": ")[2] or question, "choices": choices}
            labels = {"answer": letters[index]} if is_labelled else {}
            yield Record(f"line {number}", {**columns, **labels, "id": f"{fields[0]}-{index}"})
