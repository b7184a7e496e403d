"""Rows of labelled texts: one text or a pair, its label and its id, from a table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dokkai.data.tables import Record, read_table, text_of
from dokkai.errors import UserError
from dokkai.settings.fields import TableFormat


@dataclass(frozen=True, slots=True)
class Row:
    """One row; ``place`` says where it stands, as that of a ``Record``."""

    text: str
    pair: str | None
    label: str | None
    id: str
    place: str


def read_rows(
    path: str | Path,
    text: str = "text",
    pair: str | None = None,
    label: str | None = "label",
    id: str | None = None,
    header: bool | None = None,
    format: TableFormat | None = None,
    ragged: bool = False,
    skip_short: bool = False,
) -> list[Row]:
    """Read the rows of a table, as ``read_table`` finds them.

    ``text``, ``pair``, ``label`` and ``id`` name columns. ``label`` None reads no labels; ``id`` None numbers the rows
    from "0". UserError for a missing column, an empty label, a repeated id, and whatever ``read_table`` finds.
    """
    columns = {"text": text, "pair": pair, "label": label, "id": id}
    wanted = {role: column for role, column in columns.items() if column is not None}
    table = read_table(path, wanted, header, format, ragged, skip_short)
    rows = [_row(record, wanted, index, table.where(record)) for index, record in enumerate(table.records)]
    if id is not None:
        check_ids(rows, f"{table.name}: column '{id}'")
    return rows


def _row(record: Record, wanted: dict[str, str], index: int, where: str) -> Row:
    values = {role: text_of(record.values, column, where) for role, column in wanted.items()}
    if "label" in values:
        values["label"] = values["label"].strip()  # as a person may leave a space in a cell of a table
    if values.get("label") == "":
        raise UserError(f"{where}: the label (column '{wanted['label']}') is empty; fill it in or leave the row out")
    return Row(values["text"], values.get("pair"), values.get("label"), values.get("id", str(index)), record.place)


class _Named(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def place(self) -> str: ...


def check_ids(examples: Sequence[_Named], where: str) -> None:
    """UserError if two have the same id; ``where`` names the file and the column."""
    counts = Counter(example.id for example in examples)
    for example in examples:
        if counts[example.id] > 1:
            times = f"{counts[example.id]} times, first in {example.place}"
            raise UserError(f"{where}: the id '{example.id}' occurs {times}; ids must differ")
