"""Predictions for a file of records: JSON lines in, JSON lines out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dokkai.data.text import read_lines
from dokkai.errors import UserError
from dokkai.pipeline import load
from dokkai.tasks import Task


def predict_lines(directory: str | Path, file: str, device: str | None = None) -> None:
    """Print one prediction per line of ``file`` ("-" is standard input), in order; UserError names a bad line."""
    pipeline = load(directory, device)
    if pipeline.task is None:
        raise UserError(f"{directory}: a model without a task cannot predict; fine-tune it first")
    for records in _blocks_of_records(file):
        examples = [_parse(pipeline.task, record, number, file) for number, record in records]
        for prediction in pipeline.predict(examples):
            print(json.dumps(prediction, ensure_ascii=False))


def _blocks_of_records(file: str, size: int = 512) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Up to ``size`` JSON lines at a time, each with its number from 1: a stream may be endless."""
    block: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(read_lines(file), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{_name(file)} line {number}: not JSON ({error.msg}); one JSON object per line is needed"
            ) from error
        if not isinstance(record, dict):
            raise UserError(f'{_name(file)} line {number}: not a JSON object; write one such as {{"text": "..."}}')
        block.append((number, record))
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


def _parse(task: Task, record: dict[str, Any], number: int, file: str) -> Any:
    try:
        return task.parse(record, number - 1)
    except UserError as error:
        raise UserError(f"{_name(file)}: {error}") from error


def _name(file: str) -> str:
    return "standard input" if file == "-" else file
