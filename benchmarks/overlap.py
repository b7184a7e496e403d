"""Has the encoder seen the passages? python benchmarks/overlap.py MODEL TEXT... -> results/overlap.json

For each passage of SQuAD 1.1's dev file (``$DOKKAI_DATA/squad``): whether one of three stretches of it, 60 characters
long, stands in the texts of the pre-training word for word. Then exact match and F1 of the reader, which must answer,
on the passages that were found, and on the others.
"""

import argparse
import math
import os
from pathlib import Path

from measuring import versions, write_result

from dokkai.data.text import read_documents
from reading import reader_of, scores

_STRETCH = 60


def stretches(passage: str) -> list[str]:
    """Near the beginning, in the middle, near the end."""
    starts = (40, len(passage) // 2, max(0, len(passage) - 90))
    return [passage[start : start + _STRETCH] for start in starts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    args = parser.parse_args()
    reader, task = reader_of(parser, args.model)
    questions = task.read(args.data / "squad" / "dev-v1.1.json.xz")
    passages = list(dict.fromkeys(item.context for item in questions))
    found: set[str] = set()
    for path in args.texts:
        text = "\n".join(line for document in read_documents([path]) for line in document)
        found |= {passage for passage in passages if any(part in text for part in stretches(passage))}
    predictions = task.with_threshold(math.inf).decide(reader.predict(questions))
    runs = []
    for name, is_found in (("found in the text", True), ("not found", False)):
        numbers = [i for i, item in enumerate(questions) if (item.context in found) == is_found]
        own = scores([questions[i] for i in numbers], [predictions[i] for i in numbers])
        count = sum((passage in found) == is_found for passage in passages)
        runs.append({"passages": name, "number": count, "questions": len(numbers), **own})
    command = f"python benchmarks/overlap.py {args.model} {' '.join(path.name for path in args.texts)}"
    write_result("overlap", command, runs, versions=versions("dokkai", "torch"))


if __name__ == "__main__":
    main()
