"""How well does `dokkai ask` answer from many passages? python benchmarks/asking.py -> results/asking-MODEL.json

Questions of SQuAD 2.0's dev file, drawn by a fixed seed, are put to ever more text, cut and ranked as by `ask`: the
passage that each was written for, its article, all articles together. Exact match and F1, questions refused rightly
and wrongly, and of the answers that are shown with a confidence, how many are right. A question counts as one without
an answer if its own passage has none; another passage may have one all the same.

Each number of passages and each weight of the ranking is scored on both halves of the questions too, so that one can
be chosen on the first and measured on the second.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import articles, versions, write_result

from dokkai.progress import Progress
from dokkai.reading.answers import PASSAGES, PRIOR, Collection, Passage, choose_answers
from dokkai.reading.documents import Document
from dokkai.tasks import QuestionAnswering
from reading import believed, reader_of, refused, scores

NUMBERS = (1, 5, 10, 20)
PRIORS = (0.5, 1.0, 1.5, 2.0, 3.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reader-en", help="a model directory, or the name of one that ships")
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    args = parser.parse_args()
    reader, task = reader_of(parser, args.model)
    file = args.data / "squad" / "dev-v2.0.json.xz"
    questions = task.read(file)
    chosen = np.random.default_rng(1).permutation(len(questions))[: args.questions]
    questions = [questions[i] for i in sorted(chosen.tolist())]
    found = {name: [] for name in ("its passage", "its article", "all articles")}
    with Progress("asking", len(questions), "questions") as progress:
        documents = documents_of(file)
        together = Collection([document for document, _ in documents])
        own = {id: collection for document, ids in documents for collection in [Collection([document])] for id in ids}
        for item in questions:
            passages = {
                "its passage": Collection([Document("", item.context)]).best(item.question, PASSAGES),
                "its article": own[item.id].best(item.question, PASSAGES),
                "all articles": together.best(item.question, PASSAGES),
            }
            for name, read in zip(passages, read_all(reader, item.question, list(passages.values())), strict=True):
                found[name].append((passages[name], read))
            progress.advance()
    runs = []
    for name, read in found.items():
        for number in NUMBERS if name != "its passage" else (PASSAGES,):
            for prior in PRIORS if name != "its passage" else (PRIOR,):
                runs.append(measure(name, questions, read, task, number, prior))
    write_result(
        f"asking-{Path(args.model).name}",
        f"python benchmarks/asking.py --model {args.model} --questions {args.questions}",
        runs,
        versions=versions("dokkai", "torch", "bm25s"),
        passages=PASSAGES,
        prior=PRIOR,
    )
    json.dump([run for run in runs if "confidence" in run], sys.stderr, indent=1)


def documents_of(file: Path) -> list[tuple[Document, list[str]]]:
    """Each article with the ids of its questions."""
    found = []
    for article in articles(file):
        text = "\n\n".join(paragraph["context"] for paragraph in article["paragraphs"])
        found.append(
            (Document(article["title"], text), [item["id"] for part in article["paragraphs"] for item in part["qas"]])
        )
    return found


def read_all(reader: Any, question: str, groups: Sequence[Sequence[Passage]]) -> list[list[dict[str, Any]]]:
    """What is found in each passage; a text that is in several groups is read once."""
    texts = list(dict.fromkeys(passage.prose for group in groups for passage in group))
    read = dict(zip(texts, reader.read(question, texts), strict=True))
    return [[read[passage.prose] for passage in group] for group in groups]


def measure(name: str, questions: list, read: list, task: QuestionAnswering, number: int, prior: float) -> dict:
    """One way to search, on all questions, and on both halves of them."""
    predictions = []
    for item, (passages, found) in zip(questions, read, strict=True):
        first = choose_answers(item.question, passages[:number], found[:number], task.settings, prior=prior)[0]
        predictions.append({"id": item.id, "answer": first.answer, "probability": first.confidence})
    run = {"collection": name, "passages": number, "prior": prior, "questions": len(questions)}
    run |= {"scores": scores(questions, predictions), "refused": refused(questions, predictions)}
    halves = [(questions[place::2], predictions[place::2]) for place in (0, 1)]
    run |= {"halves": [scores(*half) for half in halves]}
    if (number, prior) == (PASSAGES, PRIOR):
        run |= {"confidence": believed(predictions, task.is_right(questions, predictions))}
    return run


if __name__ == "__main__":
    main()
