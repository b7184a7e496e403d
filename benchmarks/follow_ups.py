"""Does a conversation understand "and when was it built?"? python benchmarks/follow_ups.py -> results/follow-ups.json

Pairs of questions on one passage of SQuAD 2.0's dev file, drawn by a fixed seed, the first of them with an answer:

- ``the answer``: the second question names the answer to the first, which "it" or "its" takes the place of;
- ``the topic``: it shares a name with the first question, which "it" or "its" takes the place of;
- ``neither``: the question that follows in the file, as it is, which takes no word from the first;
- ``elsewhere``: a question on another passage far away in the file, which has no answer in this one;

and ``by hand``, 24 follow-ups to questions on the passages of ``examples/dev.json`` (``conversations.json``).

The first is asked, then the second as ``dokkai ask --chat`` asks it: behind the first answer too if it has none alone,
or leans on it, with several handicaps for what is read so; ``alone``: never read so. About a fifth of the first
questions are refused; the second is read alone then.
"""

import argparse
import itertools
import math
import os
import random
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from measuring import ROOT, versions, write_result

from dokkai.data.squad import Answer, Question, read_squad
from dokkai.evaluation.metrics import squad_scores
from dokkai.files import read_json
from dokkai.pipeline import Answer as Found
from dokkai.progress import Progress
from dokkai.reading.answers import FOLLOW_UP, Collection, Passage, ask, choose_answers, follow_up, is_better
from dokkai.reading.documents import Document
from reading import reader_of

HANDICAPS = (0.0, 1.0, 2.0, 3.0, math.inf)
NUMBER = re.compile(r"[\d,.%$]+")
NAME = re.compile(r"(?<!^)(?<![.?!] )[A-Z][\w'-]+(?: [A-Z][\w'-]+)*")  # not at the beginning of a sentence

Pair = tuple[Question, Question]


def with_pronoun(question: str, phrase: str) -> str | None:
    """ "It" or "its" in the place of the phrase, which may follow "the"; None if it is not there as whole words."""
    found = re.search(rf"(?<!\w)(the )?{re.escape(phrase)}(?P<of>'s|s'|’s)?(?!\w)", question, re.IGNORECASE)
    if not found:
        return None
    word = "its" if found["of"] else "it"
    return question[: found.start()] + (word if found.start() else word.capitalize()) + question[found.end() :]


def pairs_of(questions: list[Question]) -> dict[str, list[Pair]]:
    """Of each kind all there are; the second question of a pair is as it is asked."""
    found: dict[str, list[Pair]] = {"the answer": [], "the topic": [], "neither": [], "elsewhere": []}
    passages: dict[str, list[Question]] = {}
    for item in questions:
        passages.setdefault(item.context, []).append(item)
    for items in passages.values():
        for first in (item for item in items if item.answers):
            answers = sorted({answer.text for answer in first.answers if not NUMBER.fullmatch(answer.text)})
            for second in (item for item in items if item is not first):
                add(found["the answer"], first, second, answers)
        for first, second in itertools.pairwise(items):
            if first.answers:
                found["neither"].append((first, second))
                add(found["the topic"], first, second, NAME.findall(first.question))
    half = len(questions) // 2
    for number, first in enumerate(questions):
        if first.answers:
            far = questions[number - half]
            found["elsewhere"].append((first, replace(far, context=first.context, answers=())))
    return found


def by_hand() -> list[Pair]:
    """Those of ``conversations.json``: how the passage begins, the first question, the second, its answers."""
    passages = {item.context for item in read_squad(ROOT / "examples" / "dev.json")}
    found = []
    for begins, first, second, answers in read_json(ROOT / "benchmarks" / "conversations.json", "conversations"):
        (context,) = (passage for passage in passages if passage.startswith(begins))
        spans = tuple(Answer(text, context.index(text)) for text in answers)
        found.append((Question("", first, context, ()), Question("", second, context, spans)))
    return found


def add(pairs: list[Pair], first: Question, second: Question, phrases: list[str]) -> None:
    """With the longest phrase that the second question has, and that is not what it asks for."""
    for phrase in sorted(phrases, key=len, reverse=True):
        asked = with_pronoun(second.question, phrase)
        if asked and not any(phrase in answer.text for answer in second.answers):
            pairs.append((first, replace(second, question=asked)))
            return


def chooser(reader: Any, passages: Sequence[Passage], question: str) -> Callable[[str], Callable[[float], Found]]:
    """Reads, then chooses the answer by a handicap, as ``ask`` does."""

    def choose(read_as: str) -> Callable[[float], Found]:
        found = reader.read(read_as, [passage.prose for passage in passages])
        choices = partial(choose_answers, question, passages, found, reader.task.settings)
        return lambda handicap: choices(handicap=handicap)[0]

    return choose


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reader-en", help="a model directory, or the name of one that ships")
    parser.add_argument("--pairs", type=int, default=300, help="of each kind")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    args = parser.parse_args()
    reader, _ = reader_of(parser, args.model)
    kinds = pairs_of(list(read_squad(args.data / "squad" / "dev-v2.0.json.xz")))
    kinds = {"by hand": by_hand()} | kinds
    runs = []
    for kind, pairs in kinds.items():
        chosen = random.Random(1).sample(pairs, min(args.pairs, len(pairs)))
        given: dict[float, dict[str, str]] = {handicap: {} for handicap in HANDICAPS}
        followed = 0
        with Progress(kind, len(chosen), "pairs") as progress:
            for number, (first, second) in enumerate(chosen):
                collection = Collection([Document("", second.context)])
                answered = ask(reader, first.question, collection)[0].answer
                followed += bool(answered)
                passages = collection.best(second.question, earlier=first.question)
                choose = chooser(reader, passages, second.question)
                alone, follows = choose(second.question)(0.0), None
                texts = [passage.prose for passage in passages]
                if whole := follow_up(reader, second.question, answered, alone, texts):
                    follows = choose(whole)
                for handicap, answers in given.items():
                    behind = follows(handicap) if follows else alone
                    answers[str(number)] = (behind if is_better(behind, alone) else alone).answer
                progress.advance()
        right = {str(number): [answer.text for answer in second.answers] for number, (_, second) in enumerate(chosen)}
        for handicap, answers in given.items():
            name = handicap if handicap < math.inf else "alone"
            scores = squad_scores(right, answers)
            runs.append({"follows": kind, "handicap": name, "pairs": len(chosen), "answered": followed} | scores)
            print(runs[-1], file=sys.stderr)
    write_result(
        "follow-ups",
        f"python benchmarks/follow_ups.py --model {args.model} --pairs {args.pairs}",
        runs,
        versions=versions("dokkai", "torch"),
        handicap=FOLLOW_UP,
    )


if __name__ == "__main__":
    main()
