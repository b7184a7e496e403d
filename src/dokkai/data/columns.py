"""Sentences of words with a tag each: a word a line (CoNLL) or a row of CSV, or records with lists of both."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dokkai.data.arrow import is_data_set
from dokkai.data.rows import check_ids
from dokkai.data.tables import format_of, no_column, read_table, text_of
from dokkai.data.text import read_lines
from dokkai.errors import UserError
from dokkai.settings.fields import TableFormat

_DOCUMENT = "-DOCSTART-"  # the first field of a line before each document (CoNLL-2003)
_SPACES = " \t"  # those that part fields: an ideographic space may be a word

WORDS, TAGS = ("tokens", "words"), ("tags", "ner_tags", "labels")
"""Names of the columns of records, the usual one first."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence: ``place`` says where it begins, as that of a ``Record``; ``document`` is the number of its
    document, from 0. ``line`` is that of the first word, from 1, where each word has a line of its own.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    id: str
    place: str
    document: int = 0
    line: int | None = None

    def place_of(self, word: int) -> str:
        """Where the word of this number stands."""
        return f"{self.place}, word {word + 1}" if self.line is None else f"line {self.line + word}"


def read_sentences(
    path: str | Path,
    words: str | None = None,
    tags: str | None = None,
    id: str | None = None,
    has_tags: bool = True,
    format: TableFormat | None = None,
) -> list[Sentence]:
    """Read the sentences of a file (plain, .gz, .xz or .zst; ``-`` is standard input) in their order.

    What ``read_table`` reads, CSV and TSV apart, holds a list of words and one of tags in each record, in the columns
    ``words`` (unset: tokens, or words) and ``tags`` (unset: tags, ner_tags, or labels); ``id`` names the column of the
    id, unset the sentences are numbered from "0". CSV holds a word in each row, and ``id`` names the column that tells
    the sentences apart: one goes on where it is empty or the same. Any other file holds a word a line with its fields,
    parted by tabs or, if the first such line has none, by spaces; there ``words`` and ``tags`` are numbers of columns
    from "0", or from the end as "-1" (unset: the first and the last). A blank line ends a sentence there, and a line
    that begins with ``-DOCSTART-`` a document. ``has_tags=False`` reads the words alone. UserError names the line: a
    wrong number of fields or tags, an empty word or tag; and a file without sentences.
    """
    if has_a_word_a_line(path, format):
        return _from_columns(path, words, tags, has_tags)
    if (format or format_of(path)) == "csv":
        return _from_rows(path, words, tags, id, has_tags)
    return _from_records(path, words, tags, id, has_tags, format)


def has_a_word_a_line(path: str | Path, format: TableFormat | None = None) -> bool:
    """Whether ``read_sentences`` looks for a word in each line of a file, by its format or the ending of its name."""
    form = format or format_of(path)
    return form == "tsv" or (form is None and not is_data_set(path))


def _from_records(
    path: str | Path, words: str | None, tags: str | None, id: str | None, has_tags: bool, format: TableFormat | None
) -> list[Sentence]:
    table = read_table(path, {}, format=format)
    sentences = []
    for number, record in enumerate(table.records):
        where, values = table.where(record), record.values
        found = _list(values, _column(values, words, WORDS), where)
        gold = _list(values, _column(values, tags, TAGS), where) if has_tags else None
        if not found:
            raise UserError(f"{where}: a sentence without words; leave it out")
        if gold is not None and len(gold) != len(found):
            raise UserError(f"{where}: {len(found)} words, but {len(gold)} tags; each word needs one")
        name = str(number) if id is None else text_of(values, id, where)
        sentences.append(Sentence(found, gold, name, record.place))
    if id is not None:
        check_ids(sentences, f"{table.name}: column '{id}'")
    return sentences


def _from_rows(path: str | Path, words: str | None, tags: str | None, id: str | None, has_tags: bool) -> list[Sentence]:
    if id is None:
        raise UserError(
            f"{path}: sentences are not read from CSV; write a word a line (CoNLL), or JSON lines; or, if each row "
            "holds a word, name the column that tells the sentences apart: task.id=COLUMN"
        )
    table = read_table(path, {}, format="csv")
    sentences: list[tuple[str, str, list[tuple[str, ...]]]] = []  # id, place, and word and tag of each row
    for record in table.records:
        where, values = table.where(record), record.values
        columns = [_column(values, words, WORDS)] + ([_column(values, tags, TAGS)] if has_tags else [])
        fields = tuple(text_of(values, column, where).strip(_SPACES) for column in columns)
        name = text_of(values, id, where).strip(_SPACES)
        if not name and not sentences:
            raise UserError(f"{where}: column '{id}' is empty, and no sentence has begun yet; fill it in")
        if not all(fields):
            raise UserError(f"{where}: an empty word or tag; fill it in")
        if name and not (sentences and sentences[-1][0] == name):
            sentences.append((name, record.place, []))
        sentences[-1][2].append(fields)
    found = []
    for name, place, rows in sentences:
        texts, *gold = zip(*rows, strict=True)
        found.append(Sentence(texts, gold[0] if gold else None, name, place))
    check_ids(found, f"{table.name}: column '{id}'")
    return found


def _column(values: dict[str, object], wanted: str | None, usual: tuple[str, ...]) -> str:
    return wanted or next((name for name in usual if name in values), usual[0])


def _list(values: dict[str, object], column: str, where: str) -> tuple[str, ...]:
    """A list of texts; whole numbers, which tags without names are, become texts."""
    if column not in values:
        raise UserError(no_column(where, column, list(values)))
    value = values[column]
    if not isinstance(value, list) or not all(type(item) in (str, int) and item != "" for item in value):
        raise UserError(f'{where}: column \'{column}\' is no list of words or tags; write one such as ["A", "b"]')
    return tuple(map(str, value))


# ---- a word a line


def _from_columns(path: str | Path, words: str | None, tags: str | None, has_tags: bool) -> list[Sentence]:
    name = "standard input" if str(path) == "-" else str(path)
    places = [_number(words, 0, name)] + ([_number(tags, -1, name)] if has_tags else [])
    sentences: list[Sentence] = []
    for line, document, rows in _blocks(path):
        if not sentences:
            first, width = line, len(rows[0])
            _check_places(places, width, has_tags, f"{name} line {line}")
        for number, fields in enumerate(rows, start=line):
            if len(fields) != width:
                raise UserError(
                    f"{name} line {number}: {len(fields)} field{'s' * (len(fields) > 1)} where line {first} has "
                    f"{width}; each word needs them all, and a blank line ends a sentence"
                )
            if not all(fields[place] for place in places):
                raise UserError(f"{name} line {number}: an empty word or tag; fill it in")
        found, *gold = (tuple(fields[place] for fields in rows) for place in places)
        sentences.append(
            Sentence(found, gold[0] if gold else None, str(len(sentences)), f"line {line}", document, line)
        )
    if not sentences:
        raise UserError(f"{name}: no sentences in it")
    return sentences


def _blocks(path: str | Path) -> Iterator[tuple[int, int, list[list[str]]]]:
    """Lines between blank lines and marks: where they begin, the number of their document, and the fields of each."""
    separator: str | None = None
    begins, document, rows = 1, -1, list[list[str]]()
    for number, line in enumerate(read_lines(path), start=1):
        is_mark = line.startswith(_DOCUMENT)
        if is_mark or not line.strip(_SPACES):
            if rows:
                document = max(document, 0)  # sentences before the first mark are a document
                yield begins, document, rows
            document += is_mark
            begins, rows = number + 1, []
            continue
        separator = separator or ("\t" if "\t" in line else " ")
        fields = line.split("\t") if separator == "\t" else re.split("[ \t]+", line.strip(_SPACES))
        rows.append([field.strip(_SPACES) for field in fields])
    if rows:
        yield begins, max(document, 0), rows


def _number(column: str | None, usual: int, name: str) -> int:
    if column is None:
        return usual
    if not re.fullmatch(r"-?\d+", column, re.ASCII):
        raise UserError(
            f"{name}: columns of a file with a word a line have no names ('{column}'); "
            "give the number of one, from 0, or -1 for the last"
        )
    return int(column)


def _check_places(places: Sequence[int], width: int, has_tags: bool, where: str) -> None:
    there_is = f"there {'are' if width > 1 else 'is'} {width}, counted from 0"
    for place in places:
        if not -width <= place < width:
            raise UserError(f"{where}: no column {place}; {there_is}")
    if has_tags and len({place % width for place in places}) == 1:
        raise UserError(f"{where}: words and tags stand in the same column; {there_is}")
