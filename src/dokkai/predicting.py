"""Predictions for a file of records: JSON lines or a table in, JSON lines out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dokkai.data.arrow import is_data_set
from dokkai.data.columns import read_sentences
from dokkai.data.tables import Record, format_of, read_table
from dokkai.data.text import read_lines
from dokkai.errors import UserError
from dokkai.files import parse_json
from dokkai.pipeline import load
from dokkai.settings import TokenClassificationSettings
from dokkai.tasks import Task
from dokkai.tasks.token_classification import tagged_text

_BLOCK = 512  # records at a time: a stream may be endless


def predict_lines(directory: str | Path, file: str, device: str | None = None) -> None:
    """Print one prediction per record of ``file`` ("-" is standard input), in order; UserError names a bad one.

    A table, or a word a line (CoNLL), is read as that of the training was; labels in it are not looked at. What is
    neither holds JSON lines.
    """
    pipeline = load(directory, device)
    task = pipeline.task
    if task is None:
        raise UserError(f"{directory}: a model without a task cannot predict; fine-tune it first")
    for block in _blocks(_examples(task, file)):
        for prediction in pipeline.predict(block):
            print(json.dumps(prediction, ensure_ascii=False))


def _examples(task: Task, file: str) -> Iterator[Any]:
    if isinstance(task.settings, TokenClassificationSettings) and _holds_a_word_a_line(file):
        place = task.settings.words
        is_number = place is not None and place.lstrip("-").isdigit()
        return map(tagged_text, read_sentences(file, place if is_number else None, has_tags=False))
    is_table = format_of(file) in ("csv", "tsv", "json", "parquet") or is_data_set(file)
    records = _rows(file, task.settings) if is_table else _json_lines(file)
    return (_parse(task, number, record, file) for number, record in records)


_Records = Iterator[tuple[int, Record]]  # with the number that is the id of one that has none


def _rows(file: str, settings: Any) -> _Records:
    """A table with all its columns, laid out as the settings say of the training's."""
    header, form, ragged = (getattr(settings, name, None) for name in ("header", "format", "ragged"))
    if not {form, format_of(file)} <= {"csv", "tsv"}:  # a .csv may hold tabs, but a .json no table of them
        form = None
    return enumerate(read_table(file, {}, header, form, bool(ragged)).records)


def _holds_a_word_a_line(file: str) -> bool:
    """Whether a file for a tagger is neither JSON nor a table with a column of texts."""
    if format_of(file) not in (None, "tsv") or not Path(file).is_file():  # a pipe can be read only once
        return False
    first = next((line for line in read_lines(file) if line.strip()), "{")
    return not (first.lstrip().startswith("{") or "text" in first.split("\t"))


def _json_lines(file: str) -> _Records:
    for number, line in enumerate(read_lines(file), start=1):
        if not line.strip():
            continue
        try:
            values = parse_json(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{_name(file)} line {number}: not JSON ({error.msg}); one JSON object per line is needed"
            ) from error
        if not isinstance(values, dict):
            raise UserError(f'{_name(file)} line {number}: not a JSON object; write one such as {{"text": "..."}}')
        yield number - 1, Record(f"line {number}", values)


def _blocks(examples: Iterator[Any]) -> Iterator[list[Any]]:
    block: list[Any] = []
    for example in examples:
        block.append(example)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block


def _parse(task: Task, number: int, record: Record, file: str) -> Any:
    try:
        return task.parse(record.values, number, record.place)
    except UserError as error:
        raise UserError(f"{_name(file)} {error}") from error


def _name(file: str) -> str:
    return "standard input" if file == "-" else file
