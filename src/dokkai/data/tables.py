"""Reading tables to records, each with the line it stands in: CSV, TSV, JSON lines, JSON lists; Parquet, data sets."""

import ast
import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import get_args

from dokkai.data.arrow import is_data_set, read_data_set, read_parquet
from dokkai.data.text import COMPRESSED, read_lines
from dokkai.errors import UserError, did_you_mean
from dokkai.files import existing_file, parse_json
from dokkai.progress import say
from dokkai.settings.fields import TableFormat

_FORMATS: tuple[str, ...] = get_args(TableFormat)
_SPREADSHEETS = (".xlsx", ".xls", ".ods")
_QUOTED = re.compile('"[^"]*"')
_ITEM = r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\""""
_LIST = re.compile(rf"\[\s*(?:(?:{_ITEM})(?:,\s*|\s+|(?=\])))+\]")
_NUM_SHOWN, _SHOWN = 20, 30  # column names that an error lists, and characters of each
_FIELD_LIMIT = 2**31 - 1  # the csv module refuses fields above 128 KiB unless told otherwise


@dataclass(frozen=True, slots=True)
class Record:
    """One row; ``place`` is where it begins, counted from 1: "line 7", "entry 7" of a JSON list, "row 7"."""

    place: str
    values: dict[str, object]


@dataclass(frozen=True, slots=True)
class Table:
    """The records of a file, at least one."""

    name: str
    records: list[Record]

    def where(self, record: Record) -> str:
        """The place of a record, for an error: ``data.csv line 7``."""
        return f"{self.name} {record.place}"


def read_table(
    path: str | Path,
    columns: Mapping[str, str],
    header: bool | None = None,
    format: TableFormat | None = None,
    ragged: bool = False,
    skip_short: bool = False,
    others: bool = False,
) -> Table:
    """Read the records of a table (plain, .gz, .xz or .zst; ``-`` is standard input), or a data set, in their order.

    ``columns`` names the columns that are wanted by their role, as in ``{"label": "gold"}``: by the header line or JSON
    key, or in CSV and TSV without a header line by number, from "0"; without any all are read. ``header`` None means:
    there is one unless all columns are given as numbers. ``format`` None goes by the ending of the name; a folder, or a
    name of the hub such as ``glue:mrpc[train]``, is read by ``read_data_set``. TSV knows no quotes (as GLUE); a
    ``.json`` file may hold a list or JSON lines. Blank lines are no rows. ``ragged`` admits rows with more or fewer
    fields than the first, as long as they have the columns asked for (STS-B). With ``others`` the records hold all
    other columns too, as far as their names tell them apart and the row has them, and missing ones are the caller's
    affair. UserError if the file cannot be read so: a missing column of CSV or TSV, a wrong number of fields, no rows.
    """
    name = "standard input" if str(path) == "-" else str(path)
    match format or format_of(path):
        case None if is_data_set(path):
            records = _numbered("row", read_data_set(path))
        case "parquet":
            records = _numbered("row", read_parquet(path))
        case None:
            if str(path) != "-":
                existing_file(Path(path))
            refuse_spreadsheet(path)
            raise UserError(
                f"{name}: the ending of the name does not tell the format; give format: {', '.join(_FORMATS)}"
            )
        case "jsonl":
            records = (record for _, record in json_lines(read_lines(path), name))
        case "json":
            records = _json_records(path, name)
        case "csv" | "tsv" as table:
            has_header = _has_header(columns, name) if header is None else header
            if not has_header:
                _require_numbers(columns, name)
            rows = _tsv(read_lines(path)) if table == "tsv" else _csv(path, name, has_header)
            records = _fields(rows, columns, has_header, ragged, skip_short, others, name)
        case unknown:
            raise ValueError(f"format is '{unknown}', not one of {', '.join(_FORMATS)}")
    found = Table(name, list(records))
    if not found.records:
        raise UserError(f"{name}: no rows in it")
    return found


def refuse_spreadsheet(path: str | Path) -> None:
    """UserError if the name is that of one."""
    if Path(path).suffix.lower() in _SPREADSHEETS:
        raise UserError(f"{path}: a spreadsheet is not read; save its table as CSV")


def _numbered(unit: str, values: Iterator[dict[str, object]]) -> Iterator[Record]:
    return (Record(f"{unit} {number}", row) for number, row in enumerate(values, start=1))


def format_of(path: str | Path) -> TableFormat | None:
    """The format that the ending of a name tells, that of a compression apart; None if it tells none."""
    endings = [ending.lower() for ending in Path(path).suffixes]
    if endings and endings[-1] in COMPRESSED:
        endings.pop()
    ending = endings[-1].removeprefix(".") if endings else ""
    return next((format for format in get_args(TableFormat) if format == ending), None)


# ---- CSV and TSV

_Lines = Iterator[tuple[int, list[str]]]  # the line a row begins in, and its fields


def _tsv(lines: Iterator[str]) -> _Lines:
    for number, line in enumerate(lines, start=1):
        if line:
            yield number, line.split("\t")


def _csv(path: str | Path, name: str, has_header: bool) -> _Lines:
    """Rows of fields parted by commas, or by semicolons if the header line has no comma, as Excel writes in Europe."""
    lines = read_lines(path, keep_ends=True)  # those within quotes are text, and answers count them
    first = next(lines, "")
    marks = _QUOTED.sub("", first)
    mark = ";" if has_header and ";" in marks and "," not in marks else ","
    reader = csv.reader(chain([first], lines), delimiter=mark, strict=True)
    before = csv.field_size_limit(_FIELD_LIMIT)
    begins = 1
    try:
        for fields in reader:
            if fields:
                yield begins, fields
            begins = reader.line_num + 1
    except csv.Error as error:
        if "new-line" in str(error):
            raise UserError(
                f"{name} line {begins}: line ends of old Macs (CR) are not read; save it with LF"
            ) from error
        raise UserError(f"{name} line {begins}: not CSV ({error}); is a quote left open?") from error
    finally:
        csv.field_size_limit(before)


def _fields(
    rows: _Lines, wanted: Mapping[str, str], has_header: bool, ragged: bool, skip_short: bool, others: bool, name: str
) -> Iterator[Record]:
    """Rows of fields as records of the wanted columns; numbers are the names of columns that have none."""
    names: list[str] | None = None
    positions: dict[str, int] = {}
    last = num_short = 0
    for line, fields in rows:
        if names is None:
            names = [field.strip() for field in fields] if has_header else [str(n) for n in range(len(fields))]
            needed = [column for column in wanted.values() if column in names or not others]
            more = [column for column in names if column and (not others or names.count(column) == 1)]
            chosen = sorted({*needed, *more}, key=names.index) if others else needed or more
            positions = {column: _position(column, names, has_header, f"{name} line {line}") for column in chosen}
            last = max((positions[column] for column in (needed if others else chosen)), default=0)
            if has_header:
                continue
        has_all = len(fields) > last
        if skip_short and not has_all:
            num_short += 1
            continue
        if len(fields) != len(names) and not (ragged and has_all):
            first = "header" if has_header else "first line"
            raise UserError(
                f"{name} line {line}: {len(fields)} field{'s' * (len(fields) > 1)} where the {first} has {len(names)}; "
                "look for a separator inside a text or a missing field"
            )
        there = {column: position for column, position in positions.items() if position < len(fields)}
        yield Record(f"line {line}", {column: fields[position] for column, position in there.items()})
    if num_short:
        say(f"{name}: {num_short} row{'s' * (num_short > 1)} without the needed fields left out")


def _position(column: str, names: Sequence[str], has_header: bool, where: str) -> int:
    if names.count(column) > 1:
        raise UserError(f"{where}: {names.count(column)} columns are called '{column}'; rename all but one")
    if column not in names:
        hint = "" if has_header else "; columns are numbered from 0"
        raise UserError(no_column(where, column, names) + hint)
    return names.index(column)


def _has_header(wanted: Mapping[str, str], name: str) -> bool:
    numbers = [column for column in wanted.values() if _is_number(column)]
    if numbers and len(numbers) < len(wanted):
        given = ", ".join(f"{role}={column}" for role, column in wanted.items())
        raise UserError(
            f"{name}: columns are given by number and by name ({given}); "
            "give all by number (no header line) or set header"
        )
    return not numbers


def _require_numbers(wanted: Mapping[str, str], name: str) -> None:
    for role, column in wanted.items():
        if not _is_number(column):
            raise UserError(f"{name}: without a header line columns are numbers from 0, but {role} is '{column}'")


def _is_number(column: str) -> bool:
    return column.isascii() and column.isdigit()


# ---- JSON


def json_lines(lines: Iterable[str], name: str) -> Iterator[tuple[int, Record]]:
    """The JSON objects on lines, each with the number of its line from 0; blank lines count, and hold none.

    UserError names the line that holds something else.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name} line {number}"
        try:
            value = parse_json(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: not JSON ({error.msg}); one JSON object per line is needed") from error
        yield number - 1, Record(f"line {number}", _object(value, where))


def _json_records(path: str | Path, name: str) -> Iterator[Record]:
    """The records in a JSON value, or JSON lines under the name .json (JGLUE)."""
    lines = list(read_lines(path))
    whole = "\n".join(lines)
    entries: list[object] | None = None
    try:
        entries = records_in(parse_json(whole))
        lines = [whole]  # one record, on however many lines, where it holds none
    except json.JSONDecodeError as error:
        if whole.lstrip().startswith("["):
            raise UserError(
                f"{name}: not JSON at line {error.lineno} ({error.msg}); a JSON list or JSON lines are needed"
            ) from error
    if entries is None:
        return (record for _, record in json_lines(lines, name))
    return _numbered("entry", (_object(entry, f"{name} entry {n}") for n, entry in enumerate(entries, start=1)))


def records_in(value: object) -> list[object] | None:
    """The records of a JSON list, bare or called "data", or of ``{column: {"0": ...}}``, as pandas writes both.

    None for anything else, and for the articles of SQuAD, which are a list called "data" too.
    """
    match value:
        case list():
            return value
        case {"data": list(entries)}:
            return None if any(isinstance(entry, dict) and "paragraphs" in entry for entry in entries) else entries
        case dict() if value and all(_is_column(column) for column in value.values()):
            rows = dict.fromkeys(chain.from_iterable(value.values()))
            return [{name: column[row] for name, column in value.items() if row in column} for row in rows]
    return None


def _is_column(value: object) -> bool:
    """Whether it is an object of values by the numbers of their rows."""
    return isinstance(value, dict) and bool(value) and all(map(_is_number, value))


def _object(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise UserError(f'{where}: not a JSON object with named values, such as {{"text": "..."}}')
    return value


# ---- values


def text_of(values: dict[str, object], column: str, where: str) -> str:
    """The value of a column as text (JSON numbers and truth values as JSON text); UserError if it holds none."""
    if column not in values:
        raise UserError(no_column(where, column, list(values)))
    match value := values[column]:
        case str():
            return value
        case None:
            kind = "null"
        case float() if math.isnan(value):
            kind = "NaN"  # what pandas writes for a missing value
        case list():
            kind = "a list"
        case dict():
            kind = "an object"
        case bytes():
            kind = "binary"  # what some programs write to Parquet for a text
        case bool() | int() | float():
            return json.dumps(value)
        case _:
            return str(value)  # a date of a Parquet file
    raise UserError(f"{where}: column '{column}' is {kind}; a text or a number is needed")


def listed(value: object) -> object:
    """The list that a text writes, as JSON or as Python does, in a cell of CSV; any other value as it is."""
    if not isinstance(value, str) or not value.startswith("["):
        return value
    for parse in (parse_json, _parse_python):
        try:
            return parse(value)
        except (SyntaxError, ValueError):
            continue
    return value


def _parse_python(text: str) -> list[object]:
    """A list of strings as Python shows it, or numpy, without commas."""
    if not _LIST.fullmatch(text):
        raise ValueError(text)
    return [ast.literal_eval(item) for item in re.findall(_ITEM, text)]


def no_column(where: str, column: str, names: Sequence[str]) -> str:
    """What is missing, all there is (shortened: without a header line it may be whole texts), and a likely meaning."""
    shown = [name if len(name) <= _SHOWN else name[:_SHOWN] + "..." for name in names[:_NUM_SHOWN]]
    there_is = ", ".join(shown) + (", ..." if len(names) > _NUM_SHOWN else "")
    suggestion = did_you_mean(column, names)
    if not suggestion.startswith("; did you mean"):  # then it is the list again
        suggestion = ""
    return f"{where}: no column '{column}'; there is: {there_is}{suggestion}"
