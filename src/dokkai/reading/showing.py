"""Answers as a person reads them on a terminal, or as JSON."""

import json
from collections.abc import Sequence
from unicodedata import category

from rich.console import Console
from rich.text import Text

from dokkai.reading.answers import FoundAnswer

_AROUND = 400  # characters of the sentence that are shown on either side of the answer
_HALF, _WORTH = 0.5, 0.01  # confidence from which no answer is called so, and an answer beside it is shown
_CERTAIN, _LIKELY = 0.7, 0.4  # confidence from which an answer is shown in green, in yellow


def show_answers(found: Sequence[FoundAnswer], n_best: int) -> None:
    """Print each answer, its sentence with the answer marked, its place and the confidence; or that there is none.

    Of a list that is longer than ``n_best`` the rest is left out. But one who is told that there is no answer sees what
    comes closest, where it has a confidence worth printing.
    """
    console = Console(highlight=False, soft_wrap=True)
    closest = [] if found[0].answer or n_best > 1 else [item for item in found[1:2] if item.confidence >= _WORTH]
    shown = [*found[:n_best], *closest]
    for item in shown:
        if item.answer:
            _show(item, console)
            continue
        if item.confidence >= _HALF:
            console.print(f"The text does not hold an answer (confidence {item.confidence:.0%}).")
        else:  # many candidates share the rest
            console.print(f"No answer is likely enough (confidence that there is none: {item.confidence:.0%}).")
        if len(shown) > 1:
            console.print("What comes closest:")


def _show(item: FoundAnswer, console: Console) -> None:
    color = "green" if item.confidence >= _CERTAIN else "yellow" if item.confidence >= _LIKELY else "red"
    begin, end = item.start - item.sentence[0], item.end - item.sentence[0]
    has_style = console.is_terminal and not console.is_dumb_terminal
    mark = ("", "") if has_style else ("[", "]")  # where there are no colours, brackets
    line = _plain(item.sentence_text)
    before, after = line[:begin], line[end:]
    before = before if begin <= _AROUND else f"... {before[-_AROUND:]}"
    after = after if len(after) <= _AROUND else f"{after[:_AROUND]} ..."
    sentence = Text(before + mark[0]).append(line[begin:end], f"bold reverse {color}").append(mark[1] + after)
    console.print(Text(" ".join(_plain(item.answer).split()), style=f"bold {color}"))
    console.print(Text("  ") + sentence)
    unit = "paragraph" if item.file.lower().endswith(".docx") else "line"
    place = f"{unit} {item.line}" if item.page is None else f"page {item.page}"
    console.print(Text(f"  {_plain(item.file)}, {place} · confidence {item.confidence:.0%}", style="dim"))


def _plain(text: str) -> str:
    """White space and what steers a terminal as spaces, one for one."""
    return "".join(" " if character.isspace() or category(character) == "Cc" else character for character in text)


def print_answers(found: Sequence[FoundAnswer], indent: int | None = 2) -> None:
    """Print a JSON list; without ``indent`` in one line."""
    print(json.dumps([item.to_dict() for item in found], ensure_ascii=False, indent=indent), flush=True)
