"""Ordinary questions about ordinary texts: python benchmarks/everyday.py -> results/everyday-MODEL.json

The texts of each folder of ``benchmarks/everyday`` are read together, as by `dokkai ask`. An answer is right if it
holds the words of ``questions.csv``, whole, from the file that they stand in. By the model's own threshold for "no
answer", by others, and if it never refuses.

``first``: a contract, a recipe, mail, minutes, a life, a manual, a price list and the like. The rules of
``reading/prose.py`` and the words that are left out of the search were found with these at hand. ``second``: texts of
ten other kinds, written after that; whoever said what the texts of ``models/practice`` should be about had read it.
``third``: twelve texts that nobody looked at before the reader had practised; how many of the questions it practised on
lose their answer was chosen after a first try on them. ``fourth`` and ``fifth``: twelve texts each, by two writers who
knew nothing of reader, practice and the other sets; nobody who worked on these looked at them before the last reader
was measured, and nothing was chosen by them. That files are found by their names, and small ones read whole, was
chosen on ``second`` and ``third``. The fourth was to be of kinds as different as can be, the fifth of what is looked
up most often on the disks of homes and small offices.
"""

import argparse
import csv
import math
import re
from pathlib import Path
from typing import Any

from measuring import ROOT, versions, write_result

from dokkai.progress import Progress
from dokkai.reading.answers import Collection, choose_answers
from dokkai.reading.documents import read_documents
from dokkai.tasks import QuestionAnswering
from reading import reader_of

FOLDER = ROOT / "benchmarks" / "everyday"
SETS = ("first", "second", "third", "fourth", "fifth")
THRESHOLDS = (-1.0, 0.0, 1.0, 2.0, 4.0, math.inf)


def is_right(row: dict[str, str], answer: Any) -> bool:
    """Whether these words stand in the answer, and it in their file."""
    words = rf"(?<!\w){re.escape(row['answer'])}(?!\w)"
    return answer.file.endswith(row["file"]) and re.search(words, answer.answer) is not None


def read_all(reader: Any, folder: Path) -> tuple[list[dict[str, str]], list[Any]]:
    """The rows of ``questions.csv``, and for each the best passages with what is found in them."""
    with (folder / "questions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = Collection(read_documents(sorted(path for path in folder.iterdir() if path.suffix != ".csv")))
    found = []
    with Progress(folder.name, len(rows), "questions") as progress:
        for row in rows:
            passages = texts.best(row["question"])
            found.append((passages, reader.read(row["question"], [passage.prose for passage in passages])))
            progress.advance()
    return rows, found


def measure(rows: list[dict[str, str]], found: list[Any], task: QuestionAnswering, is_own: bool) -> dict[str, Any]:
    """How many questions are answered rightly, wrongly and not at all; of the model's own threshold each answer too."""
    counts = dict.fromkeys(("right", "wrong", "refused", "right below it", "refused rightly", "answered"), 0)
    answers = []
    for row, (passages, predictions) in zip(rows, found, strict=True):
        first, *others = choose_answers(row["question"], passages, predictions, task.settings, n_best=2)
        if not row["answer"]:
            counts["answered" if first.answer else "refused rightly"] += 1
        elif first.answer:
            counts["right" if is_right(row, first) else "wrong"] += 1
        else:
            counts["refused"] += 1
            counts["right below it"] += any(is_right(row, other) for other in others)
        answers.append({**row, "its answer": first.answer, "confidence": first.confidence})
    threshold = task.settings.null_threshold
    run = {"threshold": None if math.isinf(threshold) else threshold, "is_own": is_own, **counts}
    return run | ({"answers": answers} if is_own else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reader-en", help="a model directory, or the name of one that ships")
    args = parser.parse_args()
    reader, task = reader_of(parser, args.model)
    own = task.settings.null_threshold
    runs = []
    for name in SETS:
        rows, found = read_all(reader, FOLDER / name)
        for value in sorted({own, *THRESHOLDS}):
            runs.append({"texts": name, **measure(rows, found, task.with_threshold(value), value == own)})
    write_result(
        f"everyday-{Path(args.model).name}",
        f"python benchmarks/everyday.py --model {args.model}",
        runs,
        versions=versions("dokkai", "torch", "bm25s", "PyStemmer"),
    )


if __name__ == "__main__":
    main()
