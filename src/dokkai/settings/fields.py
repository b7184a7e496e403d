"""What all sections of the settings share: strictness, and the kinds of values that TOML has no type for."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Section(BaseModel):
    """A table of a recipe: unknown names, other types and infinite numbers are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def seconds_of(text: str) -> int:
    """``1h30m`` -> 5400; 0 if it is no time."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text, re.ASCII)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return 3600 * hours + 60 * minutes + seconds


def _as_column(value: Any) -> Any:
    return str(value) if type(value) is int else value  # task.text=0 is a number in TOML


def _as_tokens(value: Any) -> Any:
    if value is not None and not all(type(item) is int for item in (value if isinstance(value, list) else [value])):
        raise ValueError("write a whole number, or a list of them")
    return value


def _as_time(value: Any) -> Any:
    if value is not None and not (isinstance(value, str) and seconds_of(value)):
        raise ValueError('write a time such as "2h", "90m", "45s" or "1h30m"')
    return value


Word = Annotated[str, BeforeValidator(_as_column)]
Column = Annotated[str, BeforeValidator(_as_column)]
Names = list[Column]
TableFormat = Literal["csv", "tsv", "jsonl", "json", "parquet"]
Tokens = Annotated[int | list[int] | None, BeforeValidator(_as_tokens)]
Time = Annotated[str | None, BeforeValidator(_as_time)]
