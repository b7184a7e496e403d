"""Predictions for a file of records: JSON lines or a table in, JSON lines out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dokkai.data.arrow import is_data_set
from dokkai.data.tables import Record, format_of, read_table
from dokkai.data.text import read_lines
from dokkai.errors import UserError
from dokkai.files import parse_json
from dokkai.pipeline import load
from dokkai.tasks import Task

_BLOCK = 512  # records at a time: a stream may be endless


def predict_lines(directory: str | Path, file: str, device: str | None = None) -> None:
    """Print one prediction per record of ``file`` ("-" is standard input), in order; UserError names a bad one.

    A table is read as that of the training was; labels in it are not looked at. What is no table holds JSON lines.
    """
    pipeline = load(directory, device)
    task = pipeline.task
    if task is None:
        raise UserError(f"{directory}: a model without a task cannot predict; fine-tune it first")
    is_table = format_of(file) in ("csv", "tsv", "json", "parquet") or is_data_set(file)
    records = _rows(file, task.settings) if is_table else _json_lines(file)
    for block in _blocks(records):
        for prediction in pipeline.predict([_parse(task, number, record, file) for number, record in block]):
            print(json.dumps(prediction, ensure_ascii=False))


_Records = Iterator[tuple[int, Record]]  # with the number that is the id of one that has none


def _rows(file: str, settings: Any) -> _Records:
    """A table with all its columns, laid out as the settings say of the training's."""
    header, form, ragged = (getattr(settings, name, None) for name in ("header", "format", "ragged"))
    if not {form, format_of(file)} <= {"csv", "tsv"}:  # a .csv may hold tabs, but a .json no table of them
        form = None
    return enumerate(read_table(file, {}, header, form, bool(ragged)).records)


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


def _blocks(records: _Records) -> Iterator[list[tuple[int, Record]]]:
    block: list[tuple[int, Record]] = []
    for record in records:
        block.append(record)
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
