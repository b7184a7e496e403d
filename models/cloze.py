"""Questions without anybody who asks: python models/cloze.py TEXT... --out cloze.jsonl --number 100000

What stands twice in a document makes a question: a sentence that holds it, with "what", "who" or "when" in its place,
about another paragraph that holds it too. Recurring spans (Ram et al. 2021, "Few-Shot Question Answering by Pretraining
Span Selection") as cloze questions (Lewis et al. 2019, "Unsupervised Question Answering by Cloze Translation"), in the
layout that ``dokkai finetune squad2`` reads. A third are asked about a paragraph that does not hold the answer.
"""

import argparse
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from dokkai.data.sentences import split_sentences
from dokkai.data.text import read_documents
from dokkai.errors import UserError
from dokkai.files import replacing

SHORTEST, LONGEST = 40, 260  # words of a paragraph that questions are asked about
AROUND = 12  # words of the question on each side of what is asked for
OVERLAP = 2  # words that question and paragraph share at least, beside the answer
ABSENT = 1 / 3  # share of questions whose paragraph does not hold the answer
TRIES = 12  # spans that are tried in a paragraph
WANTED = 3  # questions about a paragraph, at most

_WORD = re.compile(r"\w+(?:[-'’.,]\w+)*")
_NUMBER = re.compile(r"\d[\d,.]*")
_YEAR = re.compile(r"1[0-9]{3}|20[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, the number of its paragraph, its words with their places, and those that say something."""

    text: str
    paragraph: int
    spans: tuple[tuple[int, int], ...]
    content: frozenset[str]


def make_questions(paragraphs: Sequence[str], rng: random.Random) -> Iterator[dict]:
    """Records of questions about the paragraphs of one document."""
    sentences = [
        read_sentence(text, number) for number, line in enumerate(paragraphs) for text in split_sentences(line)
    ]
    contexts = [n for n, line in enumerate(paragraphs) if SHORTEST <= len(line.split()) <= LONGEST]
    for number in contexts:
        own = [item for item in sentences if item.paragraph == number]
        words = frozenset().union(*(item.content for item in own))
        asked = 0
        for _ in range(TRIES):
            answer = draw_span(rng.choice(own), rng) if own else None
            if answer is None:
                continue
            pattern = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)")
            others = [item for item in sentences if item.paragraph != number and pattern.search(item.text)]
            rest = words - {word.lower() for word in _WORD.findall(answer)}
            others = [item for item in others if len(item.content & rest) >= OVERLAP]
            if not others:
                continue
            source = max(rng.sample(others, min(3, len(others))), key=lambda item: len(item.content & rest))
            question = ask(source, pattern, answer, rng)
            where = number
            if rng.random() < ABSENT:
                without = [n for n in contexts if n != source.paragraph and not pattern.search(paragraphs[n])]
                if not without:
                    continue
                where = rng.choice(without)
            found: list[int] = []
            if where == number:
                best = max(
                    (item for item in own if pattern.search(item.text)),
                    key=lambda item: len(item.content & source.content),
                )
                found = [paragraphs[number].index(best.text) + pattern.search(best.text).start()]
            answers = {"text": [answer] * len(found), "answer_start": found}
            yield {"question": question, "context": paragraphs[where], "answers": answers}
            asked += 1
            if asked == WANTED:
                break


def read_sentence(text: str, paragraph: int) -> Sentence:
    """Its words."""
    spans = tuple(match.span() for match in _WORD.finditer(text))
    words = (text[begin:end].lower() for begin, end in spans)
    return Sentence(text, paragraph, spans, frozenset(word for word in words if word not in ENGLISH_STOP_WORDS))


def draw_span(sentence: Sentence, rng: random.Random) -> str | None:
    """One to four neighbouring words, with none of the commonest at the ends; a name is taken whole."""
    if not sentence.spans:
        return None
    first = rng.randrange(len(sentence.spans))
    last = min(first + rng.choice((0, 0, 0, 1, 1, 2, 3)), len(sentence.spans) - 1)
    words = [sentence.text[begin:end] for begin, end in sentence.spans]

    def belongs(place: int) -> bool:
        return 0 <= place < len(words) and words[place][0].isupper() and words[place].lower() not in ENGLISH_STOP_WORDS

    if belongs(first) and belongs(last):
        while belongs(first - 1) and touch(sentence, first - 1):
            first -= 1
        while belongs(last + 1) and touch(sentence, last):
            last += 1
    if {words[first].lower(), words[last].lower()} & ENGLISH_STOP_WORDS:
        return None
    return sentence.text[sentence.spans[first][0] : sentence.spans[last][1]]


def touch(sentence: Sentence, place: int) -> bool:
    """Whether there is but a space between this word and the next."""
    return sentence.text[sentence.spans[place][1] : sentence.spans[place + 1][0]] == " "


def ask(source: Sentence, pattern: re.Pattern[str], answer: str, rng: random.Random) -> str:
    """The words around the answer, with a question word in its place, or at the front."""
    match = pattern.search(source.text)
    assert match is not None
    before = source.text[: match.start()].split()[-AROUND:]
    after = source.text[match.end() :].split()[:AROUND]
    if _YEAR.fullmatch(answer):
        word = rng.choice(("when", "what year"))
    elif _NUMBER.fullmatch(answer):
        word = rng.choice(("how many", "what"))
    elif answer[0].isupper():
        word = rng.choice(("who", "what", "which", "where"))
    else:
        word = "what"
    parts = [word, *after, *before] if rng.random() < 0.5 else [*before, word, *after]
    text = " ".join(part for part in parts if _WORD.search(part)).strip(" ,.;:()\"'")
    return text[:1].upper() + text[1:] + "?"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--number", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    try:
        write(args)
    except UserError as error:
        parser.exit(2, f"cloze.py: {error}\n")


def write(args: argparse.Namespace) -> None:
    """The questions."""
    rng, number = random.Random(args.seed), 0
    with replacing(args.out) as temporary, temporary.open("w", encoding="utf-8") as file:
        for document in read_documents(args.texts):
            for record in make_questions(document, rng):
                file.write(json.dumps({"id": str(number)} | record, ensure_ascii=False) + "\n")
                number += 1
            if number >= args.number:
                break
    print(f"{number:,} questions in {args.out}")


if __name__ == "__main__":
    main()
