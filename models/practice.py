"""Questions about texts of everyday life, beside those of a file: python models/practice.py [QUESTIONS] --out FILE

A reader that has learned from Wikipedia alone refuses most questions about letters, lists, leaflets and chats. The
texts of ``models/practice``, all invented, hold facts in braces, ``{money1:£13.50}``, and questions about them, some
without an answer. Of each text so many variants are made (``--variants``): the facts become others of their type, and
each question is asked in one of its wordings. One in five of those with an answer is asked of the text without the
sentence that answers it, one text in five has half of another beside it, and most are shown as ``dokkai ask`` would
show them to the reader (``reading/prose.py``). FILE has SQuAD's layout and begins with QUESTIONS, if given.

    === the kind of text
    The trip costs {money1:£11.50}; kindly pay by {date1:24 March}.
    ? How much must we pay? / What does the outing cost? => money1
    ? How many teachers go along? =>

What is swapped may be odd: "my brother Aoife".
"""

import argparse
import json
import lzma
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from dokkai.data.sentences import sentence_around
from dokkai.data.squad import Question, read_squad
from dokkai.data.text import read_lines
from dokkai.errors import UserError
from dokkai.files import replacing
from dokkai.progress import say
from dokkai.reading.prose import as_prose

TEXTS = Path(__file__).resolve().parent / "practice"
SUFFIX = ".json.xz"
TYPES = "name|org|place|date|time|money|number|duration|percent|phone|email|code|size|word"
DRAWN = ("name", "org", "place", "email")  # become those of other texts; the rest get other digits and names of days
DROPPED = 0.2  # share of the answered questions whose answer is taken out of the text, if it stands there once
AS_ASKED = 0.85  # share of the variants that are shown as `dokkai ask` would show the text
BESIDE = 0.2  # share of the variants that stand before or behind half of another text

_FACT = re.compile(r"\{([a-z]+)(\d+)(?::([^{}]*))?\}")
_ALIKE = (  # words that may stand for one another
    "January February March April May June July August September October November December",
    "Jan Feb Mar Apr Jun Jul Aug Sep Oct Nov Dec",
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "Mondays Tuesdays Wednesdays Thursdays Fridays Saturdays Sundays",
    "Mon Tue Wed Thu Fri Sat Sun",
    "two three four five six seven eight nine ten eleven twelve",
    "first second third fourth fifth sixth",
)
_LIKE = {word: line.split() for line in _ALIKE for word in line.split()}
_TITLE = re.compile(r"(?:Mrs|Mr|Ms|Miss|Dr|Prof|Professor|Sister|Captain|Aunt|Uncle|Councillor)\b")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)\b")
_MARKDOWN = re.compile(r"^#{1,6} |\*\*|`", re.MULTILINE)


@dataclass
class Text:
    """A text with its facts in braces; ``questions`` are wordings, and the name of the fact that answers, or "".

    ``where`` is the line that it begins at, for errors.
    """

    kind: str
    where: str
    content: str = ""
    questions: list[tuple[list[str], str]] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, str]:
        """Values by name, such as ``money1``."""
        return {kind + number: value for kind, number, value in _FACT.findall(self.content) if value}


def read_texts(path: Path) -> list[Text]:
    """The texts of a file. UserError for a line that does not follow the layout."""
    texts: list[Text] = []
    for number, line in enumerate(read_lines(path), 1):
        where = f"{path} line {number}"
        if line.startswith("=== "):
            texts.append(Text(line[4:].strip(), where))
        elif not texts:
            raise UserError(f"{where}: a file begins with '=== ' and the kind of text")
        elif line.startswith("? "):
            wordings, arrow, fact = line[2:].rpartition("=>")
            found = [wording.strip() for wording in re.split(r"\s/\s", wordings) if wording.strip()]
            if not (arrow and found):
                raise UserError(f"{where}: a question is '? wording / wording => fact'")
            texts[-1].questions.append((found, fact.strip()))
        elif not texts[-1].questions:
            texts[-1].content += line + "\n"
        elif line.strip():
            raise UserError(f"{where}: a text goes before its questions")
    for text in texts:
        _check(text)
    return texts


def _check(text: Text) -> None:
    text.content = text.content.strip("\n")
    wordings = "".join(wording for found, _ in text.questions for wording in found)
    known = text.facts
    named = {kind + number for kind, number, _ in _FACT.findall(text.content + wordings)}
    for name in sorted(named | {fact for _, fact in text.questions if fact}):
        if name not in known:
            raise UserError(f"{text.where}: {{{name}}} has no value in this text")
        if not re.fullmatch(rf"(?:{TYPES})\d+", name):
            raise UserError(f"{text.where}: {{{name}}} is of none of the types {TYPES.replace('|', ', ')}")
    if re.search(r"[{}]", _FACT.sub("", text.content + wordings)):
        raise UserError(f"{text.where}: a brace in this text or its questions is not of a fact, {{money1:£13.50}}")


class Changer:
    """Puts other values in the place of facts; of ``texts`` it takes names, organizations, places and addresses."""

    def __init__(self, texts: Sequence[Text], rng: random.Random) -> None:
        self._rng = rng
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for text in texts:
            for name, value in text.facts.items():
                found[_group(name, value)].add(value)
        self._values = {group: sorted(values) for group, values in found.items()}

    def change(self, text: Text) -> dict[str, str]:
        """Values by name, drawn anew for all facts but those of type ``word``.

        No two of a type are the same, unless ten draws find no other.
        """
        values: dict[str, str] = {}
        for name, value in text.facts.items():
            taken = {other for known, other in values.items() if _type(known) == _type(name)}
            draws = (self._another(name, value) for _ in range(10))
            values[name] = next((new for new in draws if new not in taken), value)
        return values

    def _another(self, name: str, value: str) -> str:
        kind = _type(name)
        if kind == "word":
            return value
        if kind in DRAWN:
            return self._rng.choice(self._values[_group(name, value)])
        new = re.sub(r"[A-Za-z]+", self._code if kind == "code" else self._word, re.sub(r"\d+", self._digits, value))
        return _ORDINAL.sub(lambda match: _ordinal(int(match[1])), new)

    def _digits(self, match: re.Match[str]) -> str:
        """Another number, mostly of as many digits: a year for a year, minutes below sixty, a day for a small one."""
        old = match.group()
        before, behind = match.string[: match.start()], match.string[match.end() :]
        if re.fullmatch(r"(?:19|20)\d\d", old):
            return str(self._rng.randint(1960, 2029))
        if re.search(r"\d[:.]$", before) and len(old) == 2:
            return self._rng.choice(("00", "05", "10", "15", "20", "25", "30", "40", "45", "50", "55"))
        is_amount = re.search(r"[£$€₹]\s?$", before)
        if len(old) <= 2 and not is_amount and re.match(r"[:.]\d\d(?!\d)|\s?(?:[ap]\.?m\b|o['’]clock)", behind):
            width = len(old) if old[0] == "0" or behind[0] == ":" else 1
            return f"{self._rng.randint(1, 12) if int(old) <= 12 else self._rng.randint(13, 23):0{width}}"
        if old[0] == "0":
            return "0" + "".join(self._rng.choice("123456789") for _ in old[1:])
        if len(old) == 2 and old <= "31":
            return str(self._rng.randint(10, 28))
        return "".join(self._rng.choice("0123456789" if at else "123456789") for at in range(len(old)))

    def _word(self, match: re.Match[str]) -> str:
        """Another month, day of the week or number; any other word as it is."""
        old = match.group()
        words = _LIKE.get(old) or [word.capitalize() for word in _LIKE.get(old.lower(), [])]
        return self._rng.choice(words) if words else old

    def _code(self, match: re.Match[str]) -> str:
        """Other capitals, as many; anything else as it is."""
        old = match.group()
        return "".join(self._rng.choice("ABCDEFGHJKLMNPRSTUVWXZ") for _ in old) if old.isupper() else old


def _ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th."""
    ending = "th" if 10 < number % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _type(name: str) -> str:
    return name.rstrip("0123456789")


def _group(name: str, value: str) -> tuple[str, str]:
    """Values that may stand for one another: with a title, of one word, of more; with digits or without."""
    titled = _TITLE.match(value)
    shape = titled.group() if titled else "digits" if re.search(r"\d", value) else str(min(2, len(value.split())))
    return _type(name), shape


def fill(pattern: str, values: dict[str, str]) -> tuple[str, dict[str, int]]:
    """The text with values in the place of braces, and where each of them stands first."""
    content, starts, end = "", dict[str, int](), 0
    for match in _FACT.finditer(pattern):
        name = match[1] + match[2]
        content += pattern[end : match.start()]
        starts.setdefault(name, len(content))
        content += values[name]
        end = match.end()
    return content + pattern[end:], starts


def paragraphs(texts: Sequence[Text], variants: int, seed: int) -> Iterator[dict[str, Any]]:
    """Paragraphs of SQuAD's layout: each text in so many variants, and texts that lack the answer of a question."""
    rng = random.Random(seed)
    changer = Changer(texts, rng)
    for variant in range(variants):
        for number, text in enumerate(texts):
            values = changer.change(text)
            content, starts = fill(text.content, values)
            others = [other for other in texts if other.kind != text.kind]
            before, behind = _neighbours(rng.choice(others), changer, rng) if others else ("", "")
            as_asked = rng.random() < AS_ASKED
            whole = _shown(before + content + behind, as_asked)
            questions = []
            for order, (wordings, fact) in enumerate(text.questions):
                wording, _ = fill(wordings[variant % len(wordings)], values)
                item = {"id": f"practice-{number}-{variant}-{order}", "question": wording}
                less = None
                if fact and rng.random() < DROPPED:
                    less = _without(content, starts[fact], values[fact])
                if less is not None:
                    shown = _shown(before + less + behind, as_asked)
                    yield {"context": shown, "qas": [item | {"answers": [], "is_impossible": True}]}
                    continue
                answers = []
                if fact:
                    start = len(before) + starts[fact]
                    answers = [{"text": whole[start : start + len(values[fact])], "answer_start": start}]
                questions.append(item | {"answers": answers, "is_impossible": not answers})
            yield {"context": whole, "qas": questions}


def _neighbours(other: Text, changer: Changer, rng: random.Random) -> tuple[str, str]:
    """What stands before and behind: half of another text on one side, mostly nothing."""
    if rng.random() >= BESIDE:
        return "", ""
    lines = fill(other.content, changer.change(other))[0].split("\n")
    part = "\n".join(lines[: len(lines) // 2])
    return (part + "\n\n", "") if rng.random() < 0.5 else ("", "\n\n" + part)


def _without(content: str, start: int, answer: str) -> str | None:
    """The text without the sentence, or the line, of the answer; None if it stands elsewhere too, or little is left."""
    begin, end = sentence_around(content, (start, start + len(answer)))
    less = content[:begin] + content[end:]
    return None if answer in less or len(less) < len(content) // 3 else less


def _shown(content: str, as_asked: bool) -> str:
    return as_prose(content, _MARKDOWN.search(content) is not None) if as_asked else content


def squad_paragraphs(questions: Sequence[Question]) -> list[dict[str, Any]]:
    """Paragraphs of SQuAD's layout. UserError for a question of which nothing is known."""
    found = []
    for context, group in groupby(questions, key=lambda item: item.context):
        items = []
        for item in group:
            if not item.is_labelled:
                raise UserError(
                    f"question {item.id} has neither answers nor 'is_impossible'; nothing is learned from it"
                )
            answers = [{"text": answer.text, "answer_start": answer.start} for answer in item.answers]
            known = {"answers": answers, "is_impossible": item.is_impossible}
            items.append({"id": item.id, "question": item.question} | known)
        found.append({"context": context, "qas": items})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "questions", nargs="?", metavar="QUESTIONS", help="in SQuAD's layout, or a table with the usual columns"
    )
    parser.add_argument("--texts", type=Path, default=TEXTS, help="folder of texts (models/practice)")
    parser.add_argument("--variants", type=int, default=3, help="of each text (3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help=f"a file whose name ends in {SUFFIX}")
    args = parser.parse_args()
    if args.variants < 1 or not args.out.name.endswith(SUFFIX):
        parser.error(f"--variants must be 1 or more, and --out end in {SUFFIX}")
    try:
        write(args)
    except UserError as error:
        parser.exit(2, f"practice.py: {error}\n")


def write(args: argparse.Namespace) -> None:
    """The file of both."""
    files = sorted(args.texts.glob("*.txt"))
    if not files:
        raise UserError(f"{args.texts}: no .txt in it")
    texts = [text for file in files for text in read_texts(file)]
    before = squad_paragraphs(read_squad(args.questions)) if args.questions else []
    practice = list(paragraphs(texts, args.variants, args.seed))
    content = {"version": "2.0", "data": [{"title": "", "paragraphs": part} for part in (before, practice)]}
    with replacing(args.out) as out, lzma.open(out, "wt", encoding="utf-8", preset=1) as file:
        json.dump(content, file, ensure_ascii=False)
    questions = [item for paragraph in practice for item in paragraph["qas"]]
    num_none = sum(item["is_impossible"] for item in questions)
    say(f"{args.out}: {len(questions):,} more questions about {len(texts)} texts, {num_none:,} without an answer")


if __name__ == "__main__":
    main()
