"""Guessing a task from a file, for a fine-tuning without a recipe."""

import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from dokkai.data.columns import has_a_word_a_line, read_sentences
from dokkai.data.squad import read_squad
from dokkai.data.tables import Table, format_of, listed, no_column, read_table, records_in, refuse_spreadsheet
from dokkai.data.text import read_lines
from dokkai.errors import UserError, did_you_mean
from dokkai.files import existing_file, parse_json
from dokkai.progress import say_once
from dokkai.settings import QuestionAnsweringSettings, parse_overrides, parse_settings
from dokkai.settings.fields import TableFormat
from dokkai.tasks.guessing_columns import KINDS, Guess, guess_from_columns
from dokkai.tasks.guessing_names import is_usual_name, list_names
from dokkai.tasks.guessing_values import TAG, Columns, are_lists

_DEV_SHARE = 0.1  # of the examples, held out where there is no other file to measure on
_COLUMNS_OF_QUESTIONS = ("question", "context", "answer", "answer_start", "id", "header", "format")
_GIVEN_COLUMNS = ("text", "pair", "label", "id", "context", "question", "answer", "answer_start", "words", "tags")
_BATCH_SIZE = 32
_UPDATES, _MOST_EPOCHS = 200, 20  # few examples are shown more often (Mosbach et al. 2021, arXiv 2006.04884)
_FEW_SPACES = 0.08  # of all characters
_NUM_LINES = 200  # of a .tsv, by which sentences are told from a table


def guess_recipe(path: str | Path, overrides: Sequence[str] = (), learning_rate: float = 5e-5) -> dict[str, Any]:
    """A recipe for the examples of a file, as ``load_settings`` takes it; what was guessed is said.

    What ``overrides`` say of the task (``task.label=stars``) is taken as it is, and the rest guessed around it.
    UserError if no kind of task fits.
    """
    given = parse_overrides(overrides)
    guess, num_examples = guess_task(path, given.get("task", {}))
    usual = 2.0 if guess.task["kind"] == "question-answering" else 3.0  # as in the paper
    epochs = max(usual, min(_MOST_EPOCHS, math.ceil(_UPDATES * _BATCH_SIZE / num_examples)))
    train = {"epochs": epochs, "batch_size": _BATCH_SIZE, "learning_rate": learning_rate}
    chosen = [shlex.quote(f"task.{name}={_shown(value)}") for name, value in guess.task.items()]
    chosen += [f"train.{name}={value:g}" for name, value in train.items() if name not in given.get("train", {})]
    say_once(f"no recipe: a guess is made from {path}, where {guess.reason}: {' '.join(chosen)}{_not_used(guess)}")
    return {"description": f"guessed from {path}", "task": guess.task, "train": train | {"dev_share": _DEV_SHARE}}


def guess_task(path: str | Path, given: Mapping[str, Any]) -> tuple[Guess, int]:
    """The task that fits the examples of a file, and how many there are.

    It is guessed around settings that are ``given``, such as ``{"label": "stars"}``.

    UserError names the columns if none fits, or a given column that is not there.
    """
    given = {name: str(value) if type(value) is int else value for name, value in given.items()}  # task.text=0
    kind = given.get("kind")
    if str(path) == "-":
        raise UserError("a guess reads the file twice, and standard input can be read once; give a recipe, or a file")
    if kind is not None and kind not in KINDS:
        raise UserError(f"unknown task.kind '{kind}'{did_you_mean(str(kind), KINDS)}")
    if _is_squad(path):
        found, number = Guess({"kind": "question-answering"}, "articles hold paragraphs with questions (SQuAD)"), 0
    elif "format" not in given and has_a_word_a_line(path) and _ends_in_tags(path):
        found, number = _guess_sentences(path, given)
    else:
        found, number = _guess_from_table(path, given)
    if kind not in (None, found.task["kind"]):
        raise UserError(f"{path}: for task.kind={kind} nothing is found in it; {found.reason}: {found.task['kind']}")
    if found.task["kind"] == "question-answering":
        named = {name: value for name, value in (given | found.task).items() if name in _COLUMNS_OF_QUESTIONS}
        task = {"kind": "question-answering", "no_answer": True, **named}
        settings = parse_settings({"task": task}, str(path)).task
        assert isinstance(settings, QuestionAnsweringSettings)
        questions = read_squad(path, settings)
        found.task["no_answer"], number = any(question.is_impossible for question in questions), len(questions)
        if "scoring" not in given and _hardly_hold_spaces({question.context for question in questions}):
            found.task["scoring"] = "characters"
            found = replace(found, reason=f"{found.reason}, and the contexts hardly hold spaces between words")
    return found, number


def _not_used(guess: Guess) -> str:
    """What is said of columns that are left over, and how they are taken."""
    said = [_texts_not_used(guess)] if guess.unused else []
    if guess.classes:
        look = "looks like labels" if len(guess.classes) == 1 else "look like labels"
        how = shlex.quote(f"task.label={guess.classes[0]}") + " learns them in the place of answers"
        said.append(f"{_columns_called(guess.classes)}, which {look} ({how})")
    return f"; not used: {', and '.join(said)}" if said else ""


def _columns_called(names: Sequence[str]) -> str:
    return f"column{'s' * (len(names) > 1)} {list_names(names)}"


def _texts_not_used(guess: Guess) -> str:
    look = f"{_columns_called(guess.unused)}, which look" + (" like texts" if len(guess.unused) > 1 else "s like text")
    how = ""
    if "text" in guess.task and "pair" not in guess.task:
        how = shlex.quote(f"task.pair={guess.unused[0]}") + " takes it as the second text"
    elif "text" in guess.task:
        how = "task.text=COLUMN task.pair=COLUMN take other columns"
    elif "choices" in guess.task and "context" not in guess.task:
        how = shlex.quote(f"task.context={guess.unused[0]}") + " puts it before each question"
    elif "choices" in guess.task:
        how = "task.context=COLUMN takes another column"
    return look + (f" ({how})" if how else "")


def _hardly_hold_spaces(contexts: Iterable[str]) -> bool:
    """Whether words are not parted by spaces, as in Japanese: English has one in six characters, JaQuAD in 130."""
    text = "".join(contexts)
    return len(text) - len("".join(text.split())) < _FEW_SPACES * len(text)


def _is_squad(path: str | Path) -> bool:
    if format_of(path) != "json":
        return False
    try:
        content = parse_json("\n".join(read_lines(path)))
    except json.JSONDecodeError:
        return False  # JSON lines, or a mistake that the reader of tables names
    return isinstance(content, dict) and "data" in content and not any(records_in(content) or ())


def _ends_in_tags(path: str | Path) -> bool:
    """Whether each line does, of a .tsv, which may be a table too."""
    if format_of(path) != "tsv":
        return True
    lines = [line for line in islice(read_lines(path), _NUM_LINES) if line.strip()]
    are_tags = [TAG.fullmatch(line.rsplit("\t", 1)[-1].strip()) is not None for line in lines]
    if len(are_tags) > 1 and not are_tags[0] and all(are_tags[1:]):
        raise UserError(f"{path} line 1: names of columns, and a word with its tag in each line below; remove line 1")
    return bool(lines) and all(are_tags)


def _guess_sentences(path: str | Path, given: Mapping[str, Any]) -> tuple[Guess, int]:
    existing_file(Path(path))
    refuse_spreadsheet(path)
    try:
        sentences = read_sentences(path, given.get("words"), given.get("tags"))
    except UserError as error:
        raise UserError(
            f"{error}; the ending of the name tells no table (csv, tsv, jsonl, json, parquet), so a word with its tag "
            "was looked for in each line; rename it, or give task.format"
        ) from error
    num_tags = len({tag for sentence in sentences for tag in sentence.tags or ()})
    task = {"kind": "token-classification"} | {name: given[name] for name in ("words", "tags") if name in given}
    return Guess(task, f"each line holds a word and one of {num_tags} tags"), len(sentences)


def _guess_from_table(path: str | Path, given: Mapping[str, Any]) -> tuple[Guess, int]:
    columns, header = _read(path, given)
    try:
        found = guess_from_columns(columns, given)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if found is None:
        kind, names = given.get("kind", "kind of task"), ", ".join(map(_short, columns))
        if len(columns) == 1 and "\t" in next(iter(columns)):
            raise UserError(f"{path}: its fields are parted by tabs, not by commas; set task.format=tsv")
        raise UserError(
            f"{path}: no {kind} fits its columns ({names}); name them, as in task.text=COLUMN task.label=COLUMN, "
            "or give a recipe"
        )
    if not header:
        found.task["header"] = False
        found = replace(found, reason=f"the first line is taken as an example and {found.reason}")
    if found.task["kind"] == "token-classification" and "id" in found.task:
        return found, _num_sentences(path, found, given.get("format"))
    return found, len(next(iter(columns.values())))


def _num_sentences(path: str | Path, found: Guess, format: TableFormat | None) -> int:
    """Of rows of one word each."""
    if (format or format_of(path)) != "csv" or "header" in found.task:
        raise UserError(
            f"{path}: {found.reason}; such rows are read from CSV with names of columns alone: save it so, or write a "
            "word a line, and a blank line between two sentences (CoNLL)"
        )
    return len(read_sentences(path, found.task["words"], found.task["tags"], found.task["id"], format="csv"))


def _read(path: str | Path, given: Mapping[str, Any]) -> tuple[Columns, bool]:
    """The columns of a table, and whether its first line names them."""
    more = {name: given[name] for name in ("format", "ragged", "skip_short") if name in given}
    columns = _columns(read_table(path, {}, header=given.get("header", True), **more))
    header = given.get("header", True)
    is_text = (given.get("format") or format_of(path)) in ("csv", "tsv")
    if is_text and "header" not in given and not _are_names(columns):
        columns, header = _columns(read_table(path, {}, header=False, **more)), False
    for role in _GIVEN_COLUMNS:
        if given.get(role) is not None and str(given[role]) not in columns:
            raise UserError(f"task.{role}: {no_column(str(path), str(given[role]), list(columns))}")
    return columns, header


def _columns(table: Table) -> dict[str, list[Any]]:
    """The values of each column; where all are lists, or texts that write lists, these lists."""
    names = dict.fromkeys(name for record in table.records for name in record.values)
    columns = {name: [record.values.get(name) for record in table.records] for name in names}
    lists = {name: found for name, values in columns.items() if are_lists(found := list(map(listed, values)))}
    return columns | lists


def _are_names(columns: Columns) -> bool:
    """Whether the first line names the columns: one of its fields does so by all custom, or none looks like a value."""
    if any(is_usual_name(name) and name not in values for name, values in columns.items()):
        return True
    return not any(_is_value(name, values) for name, values in columns.items())


def _is_value(name: str, values: Sequence[Any]) -> bool:
    """Whether what should be the name of a column is one of its values, and these are few, or a number."""
    return bool(re.fullmatch(r"-?\d+(\.\d+)?", name)) or (name in values and len(set(values)) <= len(values) / 2)


def _short(name: str) -> str:
    return name if len(name) <= 30 else name[:30] + "..."


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
