"""What the columns of a table hold, as far as a guess looks at it: texts, tags, flags, numbers."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from dokkai.data.label_sets import FLAGS

Columns = Mapping[str, Sequence[Any]]
"""The values of each column; None where a record has none."""

TAG = re.compile(r"O|[BIESLUM]-\S+")
"""What marks a word as part of a name, or of none."""
_CLASS = re.compile(r"yes|no|true|false|maybe|[a-z]", re.ASCII | re.IGNORECASE)  # of an answer
MANY = 20  # more different whole numbers than this are measurements, not classes, if they are not 0, 1, 2, ...
_SAMPLE = 1000  # of the values of a column, by which a text is told


def full_columns(columns: Columns) -> Columns:
    return {name: values for name, values in columns.items() if None not in values and "" not in values}


def are_lists(values: Sequence[Any]) -> bool:
    return all(isinstance(value, list) for value in values)


def are_texts(values: Sequence[Any]) -> bool:
    """Strings, of which some are neither numbers nor flags."""
    are_strings = all(isinstance(value, str) for value in values)
    return are_strings and not are_flags(values) and any(number_of(value) is None for value in values if value)


def are_filled(values: Sequence[str]) -> bool:
    """Whether at least half of them are."""
    return 2 * sum(bool(value.strip()) for value in values) >= len(values)


def look_like_texts(values: Sequence[Any]) -> bool:
    """Strings of several words, hardly one of them twice: no names, dates, addresses or categories."""
    filled = [value for value in values if isinstance(value, str) and value.strip()]
    if len(set(filled)) <= min(len(values) / 2, max(MANY, len(values) / 20)):
        return False  # a query or a premise may stand in several rows
    return has_words(filled)


def has_words(values: Sequence[Any]) -> bool:
    """Whether most values are strings of several words, each filled."""
    sample = [as_filled(value) for value in values[:_SAMPLE]]
    joined = "".join("".join(sample).split())
    letters = "".join(filter(str.isalpha, joined))
    words = [word for value in sample for word in value.split() if any(map(str.isalpha, word))]
    num_foreign = sum(not letter.isascii() for letter in letters)
    are_many = len(words) >= 2.5 * len(sample) or (num_foreign > len(letters) / 2 and len(letters) >= 6 * len(sample))
    return are_many and all(sample) and 2 * len(letters) >= len(joined)


def are_tags(values: Sequence[Any]) -> bool:
    """Tags such as B-PER, I-PER and O."""
    return (
        all(isinstance(value, str) and TAG.fullmatch(value) for value in values)
        and len({value == "O" for value in values}) == 2
    )


def lie_in(answers: Sequence[Any], contexts: Sequence[Any]) -> bool:
    """Whether most answers are whole words of their contexts, and no classes such as yes and no."""
    filled = [(as_filled(answer), as_text(context)) for answer, context in zip(answers, contexts, strict=True)]
    filled = [(answer, context) for answer, context in filled if answer]
    different = {answer for answer, _ in filled}
    are_few = len(filled) > MANY and len(different) <= max(2, min(MANY, len(filled) / 5))
    if are_few or all(_CLASS.fullmatch(answer) for answer in different):
        return False
    return 2 * sum(_stands_in(answer, context) for answer, context in filled) > len(filled)


def _stands_in(answer: str, context: str) -> bool:
    """Whether it does, and is not a part of a longer word, where words can be told: not in Japanese."""
    places = (found.start() for found in re.finditer(f"(?={re.escape(answer)})", context))
    return any(_is_parted(context, place) and _is_parted(context, place + len(answer)) for place in places)


def _is_parted(text: str, place: int) -> bool:
    sides = text[place - 1 : place + 1] if place else ""
    return len(sides) < 2 or not all(side.isdigit() or side.lower() != side.upper() for side in sides)


def as_filled(value: Any) -> str:
    """A string without the spaces round it; "" for all else, such as a list, or the NaN of a gap in a table."""
    return value.strip() if isinstance(value, str) else ""


def are_flags(values: Sequence[Any]) -> bool:
    return {as_text(value).lower() for value in values} <= FLAGS.keys()


def number_of(text: str) -> float | None:
    """Of a text that is one; none without end, as 1e999 is."""
    number = float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) else math.inf
    return number if math.isfinite(number) else None


def as_text(value: Any) -> str:
    return "" if value is None else str(value)


def num_runs(values: Sequence[Any]) -> int:
    """How often a value begins that is not empty and not the one before."""
    filled = [text for value in values if (text := as_text(value).strip())]
    return sum(1 for _ in groupby(filled))
