"""Predictions for a file: JSON lines, or whatever a training reads, in; JSON lines out."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dokkai.data.arrow import is_data_set
from dokkai.data.choice_layouts import read_layout, unfold
from dokkai.data.columns import WORDS, has_a_word_a_line, read_sentences
from dokkai.data.squad import question_records
from dokkai.data.tables import Record, format_of, json_lines, read_table
from dokkai.data.text import name_of, read_lines
from dokkai.errors import UserError
from dokkai.files import parse_json
from dokkai.pipeline import load
from dokkai.settings import QuestionAnsweringSettings, TokenClassificationSettings
from dokkai.settings.fields import TableFormat
from dokkai.tasks import Task
from dokkai.tasks.token_classification import tagged_text

_BLOCK = 512  # records at a time: a stream may be endless


def predict_lines(directory: str | Path, file: str, device: str | None = None) -> None:
    """Print one prediction per record of ``file`` ("-" is standard input), in order; UserError names a bad one.

    Whatever a training reads is read as there: a table, SQuAD's layout and those of choices, a word a line (CoNLL);
    labels in it are not looked at, and need not be there. What is none of these holds JSON lines.
    """
    pipeline = load(directory, device)
    task = pipeline.task
    if task is None:
        raise UserError(f"{directory}: a model without a task cannot predict; fine-tune it first")
    for block in _blocks(task, _examples(task, file)):
        for prediction in pipeline.predict(block):
            print(json.dumps(prediction, ensure_ascii=False))


def _examples(task: Task, file: str) -> Iterator[Any]:
    s = task.settings
    if isinstance(s, TokenClassificationSettings):
        form = _format(file, s) or format_of(file)
        if _holds_a_word_a_line(file, form):
            place = s.words
            is_number = place is not None and place.lstrip("-").isdigit()
            found = read_sentences(file, place if is_number else None, has_tags=False, format=form)
            return map(tagged_text, found)
        if form == "csv" and _holds_a_word_a_row(file, s):
            return map(tagged_text, read_sentences(file, s.words, None, s.id, has_tags=False, format="csv"))
    return (_parse(task, number, record, file) for number, record in _records(file, s))


_Records = Iterator[tuple[int, Record]]  # with the number that is the id of one that has none


def _records(file: str, settings: Any) -> _Records:
    layout = getattr(settings, "layout", "table")
    if _holds_json_lines(file, settings):
        return unfold(json_lines(read_lines(file), name_of(file)), layout, name_of(file), is_labelled=False)
    if isinstance(settings, QuestionAnsweringSettings):
        return enumerate(question_records(file, settings.model_copy(update={"format": _format(file, settings)})))
    if layout != "table":
        return enumerate(read_layout(file, layout, is_labelled=False).records)
    return _rows(file, settings)


def _rows(file: str, settings: Any) -> _Records:
    """A table with all its columns, laid out as the settings say of the training's."""
    header, ragged, skip_short = (getattr(settings, name, None) for name in ("header", "ragged", "skip_short"))
    columns = {name: getattr(settings, name, None) for name in ("text", "pair", "context", "question")}
    columns |= {f"choice {number}": column for number, column in enumerate(getattr(settings, "choices", []))}
    needed = {role: column for role, column in columns.items() if column is not None}
    form = _format(file, settings)
    return enumerate(read_table(file, needed, header, form, bool(ragged), bool(skip_short), others=True).records)


def _format(file: str, settings: Any) -> TableFormat | None:
    """That of the settings where the name tells none; a .csv may hold tabs too, but a .json no table of them."""
    told, form = format_of(file), getattr(settings, "format", None)
    is_open = {form, told} <= {"csv", "tsv"} if told else not is_data_set(file)
    return form if is_open else None


def _holds_json_lines(file: str, settings: Any) -> bool:
    """Whether a record stands on each line, to be read as they come: by the name of the file.

    Where that tells nothing, by the first line, if a training on such a file would have read something else.
    """
    told = format_of(file)
    if told is not None or is_data_set(file):
        return told == "jsonl"
    is_usual = getattr(settings, "layout", "table") == "table" and getattr(settings, "format", None) is None
    if (is_usual and not isinstance(settings, QuestionAnsweringSettings)) or not Path(file).is_file():
        return True  # a pipe can be read only once
    try:
        first = parse_json(_first_line(file))
    except json.JSONDecodeError:
        return False
    return isinstance(first, dict) and "data" not in first  # else it is SQuAD's layout


def _holds_a_word_a_line(file: str, form: TableFormat | None = None) -> bool:
    """Whether a file for a tagger is neither JSON nor a table with a column of texts."""
    if not has_a_word_a_line(file, form) or not Path(file).is_file():  # a pipe can be read only once
        return False
    first = _first_line(file)
    return not (first.lstrip().startswith("{") or "text" in first.split("\t"))


def _holds_a_word_a_row(file: str, settings: TokenClassificationSettings) -> bool:
    """Whether CSV for a tagger is of words, which a column of ids parts, and not of texts."""
    if settings.id is None or not Path(file).is_file():
        return False
    names = {name.strip() for name in re.split('[",;]', _first_line(file))}
    words = WORDS if settings.words is None else (settings.words,)
    return (settings.id in names and not names.isdisjoint(words)) or "text" not in names


def _first_line(file: str) -> str:
    return next((line for line in read_lines(file) if line.strip()), "{")


def _blocks(task: Task, examples: Iterator[Any]) -> Iterator[list[Any]]:
    """Some examples at a time; of sentences that are read with the text around them whole documents."""
    has_context = getattr(task.settings, "document_context", False)
    block: list[Any] = []
    for example in examples:
        if len(block) >= _BLOCK and not (has_context and example.document == block[-1].document):
            yield block
            block = []
        block.append(example)
    if block:
        yield block


def _parse(task: Task, number: int, record: Record, file: str) -> Any:
    try:
        return task.parse(record.values, number, record.place)
    except UserError as error:
        raise UserError(f"{name_of(file)} {error}") from error
