"""Multiple choice: a question, a text, or both, and texts of which one fits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from dokkai.data.choice_layouts import read_layout
from dokkai.data.rows import check_ids
from dokkai.data.tables import Table, listed, no_column, read_table, text_of
from dokkai.errors import UserError
from dokkai.settings import MultipleChoiceSettings

_A = ord("A")


@dataclass(frozen=True, slots=True)
class ChoiceQuestion:
    """One question; ``label`` is the index of the right choice, None if unknown; ``place`` as of a ``Record``.

    ``names`` is what the file calls the choices, where it names them (``named_choices``).
    """

    context: str | None
    question: str | None
    choices: tuple[str, ...]
    label: int | None
    id: str
    place: str
    names: tuple[str, ...] | None = None


def read_choices(path: str | Path, settings: MultipleChoiceSettings) -> list[ChoiceQuestion]:
    """Read the questions of a file in their order, in the columns and the layout that the settings name.

    UserError for fewer than two choices, for a label that is none of them, and for what cannot be read.
    """
    s = settings
    table = _table(path, s)
    questions = [
        parse_question(record.values, s, str(index), record.place, table.where(record), is_labelled=True)
        for index, record in enumerate(table.records)
    ]
    if s.id is not None:
        check_ids(questions, f"{table.name}: column '{s.id}'")
    return questions


def parse_question(
    values: Mapping[str, object], settings: MultipleChoiceSettings, name: str, place: str, where: str, is_labelled: bool
) -> ChoiceQuestion:
    """A question out of a record; ``name`` is its id if the settings name no column of one."""
    s, values = settings, dict(values)
    choices, names = _choices(values, s.choices, where)
    if names is None and s.label_is == "name":
        raise UserError(
            f"{where}: no names of the choices, such as {{'text': [...], 'label': [...]}}; see task.label_is"
        )
    return ChoiceQuestion(
        None if s.context is None else text_of(values, s.context, where),
        None if s.question is None else text_of(values, s.question, where),
        choices,
        _label(text_of(values, s.label, where), choices, names, s, where) if is_labelled else None,
        name if s.id is None else text_of(values, s.id, where),
        place,
        names,
    )


def named_choices(value: object) -> tuple[list[str], list[str]] | None:
    """Texts and names out of ``{"text": [...], "label": [...]}``, as CommonsenseQA, ARC and OpenBookQA have them on the
    hub, or out of a list of ``{"text": ..., "label": ...}``; None for anything else.
    """
    match value:
        case {"text": list(texts), "label": list(names)}:
            pass
        case list(items) if all(isinstance(item, dict) and item.keys() >= {"text", "label"} for item in items):
            texts, names = ([item[key] for item in items] for key in ("text", "label"))
        case _:
            return None
    names = [str(name) if isinstance(name, int) else name for name in names]
    are_strings = all(isinstance(item, str) for item in (*texts, *names))
    return (texts, names) if are_strings and len(texts) == len(names) == len(set(names)) else None


def shown_label(question: ChoiceQuestion, label: int, settings: MultipleChoiceSettings) -> int | str:
    """A choice as the files write it: its number, letter, name or text."""
    match settings.label_is:
        case "name" if question.names is not None:
            return question.names[label]
        case "number-from-1":
            return label + 1
        case "letter":
            return chr(_A + label)
        case "text":
            return question.choices[label]
        case _:
            return label


def place_of_letter(text: str) -> int:
    """0 for A or a, 1 for B or b; -1 for what is none of one to 26."""
    return ascii_uppercase.find(text.upper()) if len(text) == 1 else -1


def _table(path: str | Path, settings: MultipleChoiceSettings) -> Table:
    s = settings
    if s.layout != "table":
        return read_layout(path, s.layout)
    columns = {"context": s.context, "question": s.question, "label": s.label, "id": s.id}
    wanted = {role: column for role, column in columns.items() if column is not None}
    wanted |= {f"choice {number}": column for number, column in enumerate(s.choices)}
    return read_table(path, wanted, s.header, s.format, s.ragged)


def _choices(
    values: dict[str, object], columns: Sequence[str], where: str
) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The texts, and the names if they have any."""
    if len(columns) > 1:
        return tuple(text_of(values, column, where) for column in columns), None
    (column,) = columns
    if column not in values:
        raise UserError(no_column(where, column, list(values)))
    found = listed(values[column])
    found, names = named_choices(found) or (found, None)
    if not isinstance(found, list) or len(found) < 2 or not all(isinstance(choice, str) for choice in found):
        raise UserError(f"{where}: column '{column}' is no list of two choices or more; or name all columns of choices")
    return tuple(found), None if names is None else tuple(names)


def _label(
    text: str, choices: Sequence[str], names: Sequence[str] | None, settings: MultipleChoiceSettings, where: str
) -> int:
    last = len(choices) - 1
    number = int(text) if text.isascii() and text.isdigit() else -1
    match settings.label_is:
        case "number":
            expected, label = f"a number from 0 to {last}", number
        case "number-from-1":
            expected, label = f"a number from 1 to {last + 1}", number - 1
        case "letter":
            expected, label = f"a letter from A to {chr(_A + last)}", place_of_letter(text)
        case "text":
            expected, label = "the text of a choice", choices.index(text) if text in choices else -1
        case "name":
            names = names or ()
            expected, label = f"one of {', '.join(names)}", names.index(text) if text in names else -1
    if not 0 <= label <= last:
        raise UserError(
            f"{where}: the label (column '{settings.label}') is '{text}', not {expected}; see task.label_is"
        )
    return label
