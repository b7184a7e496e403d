"""Files of multiple choice that are no tables: DREAM, RACE, MCTest, each to the records of one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dokkai.data.tables import Record, Table
from dokkai.data.text import read_lines
from dokkai.errors import UserError
from dokkai.files import existing_file, parse_json


def read_dream(path: str | Path) -> Table:
    """DREAM's JSON, ``[[turns, [{question, choice, answer}], id], ...]``.

    Columns: ``dialogue`` (a turn a line), ``question``, ``choice`` (a list), ``answer`` (a text), ``id`` (with the
    number of the question behind it). UserError names the entry that is none.
    """
    records = []
    for number, entry in enumerate(_parsed("\n".join(read_lines(path)), str(path)), start=1):
        try:
            turns, questions, name = entry
            dialogue = "\n".join(turns)
            for index, item in enumerate(questions):
                columns = {key: item[key] for key in ("question", "choice", "answer")}
                records.append(Record(f"entry {number}", {"dialogue": dialogue, **columns, "id": f"{name}-{index}"}))
        except (ValueError, TypeError, KeyError):
            raise UserError(
                f"{path} entry {number}: not in DREAM's layout; [turns, [{{question, choice, answer}}], id] is needed"
            ) from None
    return _filled(Table(str(path), records))


def read_race(path: str | Path) -> Table:
    """RACE: JSON objects, one a line or one a file (``*.txt``) of a folder, each an article with its questions.

    Columns: ``article``, ``question``, ``options`` (a list), ``answer`` (a letter), ``id`` (with the number of the
    question behind it). A line may also hold one question, as the copies on the Hugging Face hub. UserError names the
    line or the file that holds neither.
    """
    records = []
    for place, number, line in _race_lines(Path(path)):
        entry = _parsed(line, f"{path} {place}")
        try:
            if "questions" in entry:
                many = zip(entry["questions"], entry["options"], entry["answers"], strict=True)
                named = str(entry["id"])
            else:
                many = zip([entry["question"]], [entry["options"]], [entry["answer"]], strict=True)
                named = str(entry.get("example_id", number))
            for index, (question, options, answer) in enumerate(many):
                columns = {"article": entry["article"], "question": question, "options": options, "answer": answer}
                records.append(Record(place, {**columns, "id": f"{named}-{index}"}))
        except (ValueError, TypeError, KeyError):
            raise UserError(
                f"{path} {place}: not in RACE's layout; article, questions, options, answers and id are needed"
            ) from None
    return _filled(Table(str(path), records))


def _race_lines(path: Path) -> Iterator[tuple[str, int, str]]:
    is_folder = path.is_dir()
    files = sorted(path.rglob("*.txt")) if is_folder else [path]
    for number, file in enumerate(files, start=1):
        for line_number, line in enumerate(read_lines(file), start=1):
            if line.strip():
                yield (
                    (f"file {file.relative_to(path)}", number, line)
                    if is_folder
                    else (f"line {line_number}", line_number, line)
                )


def read_mctest(path: str | Path) -> Table:
    """MCTest: ``NAME.tsv`` with a story and four questions a line, and ``NAME.ans`` beside it with their letters.

    Columns: ``story``, ``question`` (without its mark "one:" or "multiple:"), ``choices`` (a list), ``answer`` (a
    letter), ``id`` (with the number of the question behind it). UserError names the line that is none.
    """
    answers = list(read_lines(existing_file(Path(path).with_suffix(".ans"))))
    records = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = [field.replace("\\newline", "\n").replace("\\tab", "\t") for field in line.split("\t")]
        letters = answers[number - 1].split() if number <= len(answers) else []
        if len(fields) != 3 + 5 * len(letters) or not letters:
            raise UserError(
                f"{path} line {number}: {len(fields)} fields and {len(letters)} answers; a story with 4 questions of 4 "
                "choices has 23 fields, and a letter for each in the .ans file"
            )
        for index, letter in enumerate(letters):
            question, *choices = fields[3 + 5 * index : 8 + 5 * index]
            columns = {"story": fields[2], "question": question.partition(": ")[2] or question, "choices": choices}
            records.append(Record(f"line {number}", {**columns, "answer": letter, "id": f"{fields[0]}-{index}"}))
    return _filled(Table(str(path), records))


def _parsed(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON (line {error.lineno}: {error.msg})") from error


def _filled(table: Table) -> Table:
    if not table.records:
        raise UserError(f"{table.name}: no questions in it")
    return table
