"""Texts with any number of labels each, from a table."""

from dataclasses import dataclass
from pathlib import Path

from dokkai.data.rows import check_ids
from dokkai.data.tables import listed, no_column, read_table, text_of
from dokkai.errors import UserError
from dokkai.settings import MultiLabelSettings

FLAGS = {"1": True, "0": False, "1.0": True, "0.0": False, "true": True, "false": False}
"""What a column of a label may hold, in lower case."""


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One row; ``labels`` None: not known. ``place`` says where it stands, as that of a ``Record``."""

    text: str
    pair: str | None
    labels: tuple[str, ...] | None
    id: str
    place: str


def read_label_sets(path: str | Path, settings: MultiLabelSettings) -> list[LabelledText]:
    """Read the rows of a table, as ``read_table`` finds them, in the columns that the settings name.

    Labels stand in one column (a JSON list, or a text with separators, empty for none), or in a column of 0 and 1 for
    each. UserError for a label that is no text, a flag that is neither, and what ``read_table`` finds.
    """
    s = settings
    flags = s.label_columns or []
    columns = {"text": s.text, "pair": s.pair, "id": s.id} | {f"label {name}": name for name in flags}
    wanted = {role: column for role, column in columns.items() if column is not None}
    if not flags:
        wanted["label"] = s.label
    table = read_table(path, wanted, s.header, s.format, s.ragged, s.skip_short)
    rows = []
    for number, record in enumerate(table.records):
        where, values = table.where(record), record.values
        labels = _flagged(values, flags, s.labels or flags, where) if flags else _listed(values, s, where)
        pair = None if s.pair is None else text_of(values, s.pair, where)
        name = str(number) if s.id is None else text_of(values, s.id, where)
        rows.append(LabelledText(text_of(values, s.text, where), pair, labels, name, record.place))
    if s.id is not None:
        check_ids(rows, f"{table.name}: column '{s.id}'")
    return rows


def _listed(values: dict[str, object], settings: MultiLabelSettings, where: str) -> tuple[str, ...]:
    column = settings.label
    value = listed(values.get(column))
    if column not in values:
        raise UserError(no_column(where, column, list(values)))
    if isinstance(value, list):
        if not all(type(item) in (str, int) and item != "" for item in value):
            raise UserError(f'{where}: column \'{column}\' is no list of labels; write one such as ["new", "good"]')
        names = [str(item) for item in value]
    else:
        parts = text_of(values, column, where).split(settings.label_separator)
        names = [part.strip() for part in parts if part.strip()]
    return tuple(dict.fromkeys(names))


def _flagged(values: dict[str, object], columns: list[str], labels: list[str], where: str) -> tuple[str, ...]:
    found = []
    for column, label in zip(columns, labels, strict=True):
        flag = text_of(values, column, where).strip()
        if flag.lower() not in FLAGS:
            raise UserError(f"{where}: column '{column}' is '{flag}'; 1 says that the label fits, 0 that it does not")
        if FLAGS[flag.lower()]:
            found.append(label)
    return tuple(found)
