"""A question put to files: the best answer of all, with file, line and sentence, shown as a person reads it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from dokkai.data.text import read_lines
from dokkai.errors import UserError
from dokkai.pipeline import Answer, Pipeline

_CERTAIN, _LIKELY = 0.7, 0.4  # confidence from which an answer is shown in green, in yellow


@dataclass(frozen=True, slots=True)
class FoundAnswer:
    """The answer in one of several files; ``line`` counts from 1; ``answer`` is "" if no file holds one."""

    question: str
    answer: str
    file: str
    line: int
    start: int
    end: int
    sentence: str
    sentence_start: int
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def answer_from_files(pipeline: Pipeline, question: str, files: Sequence[str]) -> FoundAnswer:
    """Ask each file and keep the best answer; an answer in one file beats "not here" in another."""
    if not question.strip():
        raise UserError("the question is empty")
    best: tuple[Answer, str, str] | None = None
    for file in files:
        text = "\n".join(read_lines(file))
        name = "standard input" if file == "-" else file
        if not text.strip():
            raise UserError(f"{name}: there is no text in it")
        answer = pipeline.ask(question, text)
        if best is None or (bool(answer.answer), answer.score) > (bool(best[0].answer), best[0].score):
            best = (answer, name, text)
    if best is None:
        raise UserError("no file to read; name at least one")
    answer, file, text = best
    begin, end = answer.sentence
    return FoundAnswer(
        question,
        answer.answer,
        file,
        text.count("\n", 0, answer.start) + 1,
        answer.start,
        answer.end,
        text[begin:end],
        begin,
        round(answer.confidence, 4),
    )


def show_answer(found: FoundAnswer) -> None:
    """Print the answer, the sentence with the answer marked, its place, and the confidence."""
    console = Console(highlight=False, soft_wrap=True)
    if not found.answer:
        console.print(f"The text does not hold an answer (confidence {found.confidence:.0%}).")
        return
    color = "green" if found.confidence >= _CERTAIN else "yellow" if found.confidence >= _LIKELY else "red"
    begin, end = found.start - found.sentence_start, found.end - found.sentence_start
    mark = ("", "") if console.is_terminal else ("[", "]")  # where there are no colours, brackets
    sentence = Text(found.sentence[:begin] + mark[0] + found.sentence[begin:end] + mark[1] + found.sentence[end:])
    sentence.stylize(f"bold reverse {color}", begin, end)
    console.print(Text(found.answer, style=f"bold {color}"))
    console.print(Text("  ") + sentence)
    console.print(Text(f"  {found.file}, line {found.line} · confidence {found.confidence:.0%}", style="dim"))
