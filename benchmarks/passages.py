"""Is the answer among the passages that `dokkai ask` reads? python benchmarks/passages.py -> results/passages.json

Articles of a file of questions become documents (paragraphs with blank lines between), cut and ranked as by `ask`. A
question has its first answer in reach if one of the k best passages holds it where it stands. Two collections: the
article that the question is about, and all articles together. No model takes part.

*prior*: for weights of a point of BM25 in log-odds the mean of -ln of the share that a softmax over the 20 best
passages gives to the right one; the lowest fits best.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
from measuring import articles, versions, write_result

from dokkai.reading.answers import Collection
from dokkai.reading.documents import Document

FILES = {"SQuAD 1.1": "squad/dev-v1.1.json.xz", "JaQuAD": "jaquad/dev.json.xz"}
NUMBERS = (1, 5, 10, 20, 50)
WEIGHTS = (0.5, 1.0, 1.5, 2.0, 3.0)


def read(path: Path) -> tuple[list[Document], list[tuple[str, int, int, int]]]:
    """Documents, and of each question its text, the document, and where its first answer begins and ends."""
    documents, questions = [], []
    for article in articles(path):
        text = ""
        for paragraph in article["paragraphs"]:
            for item in paragraph["qas"]:
                for answer in item["answers"][:1]:
                    start = len(text) + answer["answer_start"]
                    questions.append((item["question"], len(documents), start, start + len(answer["text"])))
            text += paragraph["context"] + "\n\n"
        documents.append(Document(article["title"], text))
    return documents, questions


def measure(name: str, path: Path, is_together: bool) -> dict:
    """The shares of questions with their answer in reach, in percent."""
    documents, questions = read(path)
    together = Collection(documents)
    own = [together] * len(documents) if is_together else [Collection([document]) for document in documents]
    places, losses = [], []
    for question, number, start, end in questions:
        found = own[number].best(question, max(NUMBERS))
        fits = [p.document is documents[number] and p.start <= start and end <= p.end for p in found]
        places.append(fits.index(True) if True in fits else max(NUMBERS))
        if places[-1] < 20:
            scores = np.array([passage.rank_score for passage in found[:20]])
            shares = [np.exp(w * (scores - scores[0])) for w in WEIGHTS]
            losses.append([-np.log(share[places[-1]] / share.sum()) for share in shares])
    return {
        "data": name,
        "collection": "all articles" if is_together else "its article",
        "documents": len(documents) if is_together else 1,
        "passages": len(together) if is_together else len(together) / len(documents),
        "questions": len(questions),
        "in_reach": {str(k): 100 * float(np.mean(np.array(places) < k)) for k in NUMBERS},
        "prior": dict(zip(map(str, WEIGHTS), np.mean(losses, axis=0).tolist(), strict=True)),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    data = Path(os.environ["DOKKAI_DATA"])
    runs = [measure(name, data / file, kind) for name, file in FILES.items() for kind in (False, True)]
    words = "python benchmarks/passages.py"
    write_result("passages", words, runs, versions=versions("dokkai", "bm25s", "numpy"), notes=["no time is measured"])
    print(json.dumps(runs, indent=1), file=sys.stderr)


if __name__ == "__main__":
    main()
