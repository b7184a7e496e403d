"""Tasks of the paper by the shipped recipes, beside plain baselines.

    python benchmarks/paper_tasks.py NAME...        -> results/task-NAME.json

For each task, on the development data (``$DOKKAI_DATA``):

- ``majority``: the commonest label of the training file for every example (for tags: the commonest tag of each word;
  for questions: no answer);
- ``tf-idf``: words and pairs of words by TF-IDF, and logistic regression (scikit-learn); for pairs of texts also what
  they share; for a number ridge regression on the same; for choices the likeness to the text; for questions the
  sentence that is most like the question;
- ``random weights``: the same recipe and the same shape, with ``--random-weights``;
- ``MODEL``: the recipe from the encoder.

The last two over several seeds (``--seeds``), and the last weights count, not those that are best on the dev file.
All are scored by the same metrics on the same dev file.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import RESULTS, ROOT, versions, write_result

from dokkai.files import replacing
from dokkai.settings import load_settings
from dokkai.tasks import Task, create_task
from dokkai.tokenization import load_tokenizer

TASKS: dict[str, tuple[str, str, str, list[str]]] = {  # recipe, training file, dev file, overrides for these files
    "cola": ("cola", "glue/CoLA-train.tsv", "glue/CoLA-dev.tsv", []),
    "sst-2": ("sst-2", "glue/SST-2-train.tsv", "glue/SST-2-dev.tsv", []),
    "mrpc": ("mrpc", "glue/MRPC-train.tsv", "glue/MRPC-dev.tsv", []),
    "rte": ("rte", "glue/RTE-train.tsv", "glue/RTE-dev.tsv", []),
    "sts-b": ("sts-b", "glue/STS-B-train.csv", "glue/STS-B-dev.csv", []),
    "conll-2003": (
        "conll-2003",
        "conll2003/train.iob2",
        "conll2003/dev.iob2",
        ["task.document_context=false", "task.max_length=128", "task.stride=64"],  # with it an hour a run on a core
    ),
    "dream": ("dream", "dream/train.json", "dream/dev.json", []),
    "mctest": ("mctest", "mctest/mc500.train.tsv", "mctest/mc500.dev.tsv", []),
    "squad-2.0": ("squad2", "squad/train-v2.0.json.xz", "squad/dev-v2.0.json.xz", []),
}


def texts_of(example: Any) -> list[str]:
    """The texts of a row, one or two."""
    return [text for text in (example.text, example.pair) if text is not None]


def linear_features(train: Sequence[Any], dev: Sequence[Any]) -> tuple[Any, Any]:
    """TF-IDF of words and pairs of words; of a pair of texts both, the product and the difference."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    vectorizer.fit([text for item in train for text in texts_of(item)])
    found = []
    for items in (train, dev):
        sides = [vectorizer.transform(side) for side in zip(*map(texts_of, items), strict=True)]
        if len(sides) == 2:
            first, second = sides
            shared = first.multiply(second)
            sides = [shared, abs(first - second), shared.sum(1)]
        found.append(hstack(sides).tocsr())
    return found[0], found[1]


def linear_model(task: Task, train: Sequence[Any], dev: Sequence[Any]) -> list[dict[str, Any]]:
    """Predictions of TF-IDF with a linear model, as the task makes them."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if task.kind == "multiple-choice":
        return by_likeness(dev)
    if task.kind == "question-answering":
        return nearest_sentences(dev)
    x, y = linear_features(train, dev)
    if task.kind == "regression":
        values = Ridge(alpha=1.0).fit(x, [float(item.label) for item in train]).predict(y)
        return [{"value": float(value)} for value in values]
    model = LogisticRegression(C=10.0, max_iter=1000).fit(x, [item.label for item in train])
    return [{"label": str(label)} for label in model.predict(y)]


def by_likeness(questions: Sequence[Any]) -> list[dict[str, Any]]:
    """For each question the choice that is most like its text: the cosine of TF-IDF with the question's words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    vectorizer.fit([item.context for item in questions])
    predictions = []
    for item in questions:
        choices = vectorizer.transform([f"{item.question} {choice}" for choice in item.choices])
        likeness = (choices @ vectorizer.transform([item.context]).T).toarray()[:, 0]
        predictions.append({"probabilities": likeness.tolist()})
    return predictions


def nearest_sentences(questions: Sequence[Any]) -> list[dict[str, Any]]:
    """For each question the sentence of its text that is most like it: the cosine of TF-IDF."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from dokkai.data.sentences import split_sentences

    vectorizer = TfidfVectorizer(sublinear_tf=True).fit({item.context for item in questions})
    vectors: dict[str, tuple[list[str], Any]] = {}
    predictions = []
    for item in questions:
        if item.context not in vectors:
            sentences = split_sentences(item.context)
            vectors[item.context] = sentences, vectorizer.transform(sentences)
        sentences, rows = vectors[item.context]
        likeness = (rows @ vectorizer.transform([item.question]).T).toarray()[:, 0]
        best = int(likeness.argmax())
        predictions.append({"id": item.id, "answer": sentences[best], "null_odds": -float(likeness[best])})
    return predictions


def majority(task: Task, train: Sequence[Any], dev: Sequence[Any]) -> list[dict[str, Any]]:
    """The commonest answer for everything."""
    if task.kind == "regression":
        return [{"value": float(np.mean([float(item.label) for item in train]))}] * len(dev)
    if task.kind == "multiple-choice":
        place = Counter(item.label for item in train).most_common(1)[0][0]
        return [{"probabilities": [float(n == place) for n in range(len(item.choices))]} for item in dev]
    if task.kind == "question-answering":
        return [{"id": item.id, "answer": "", "null_odds": 0.0} for item in dev]
    if task.kind == "token-classification":
        tags: dict[str, Counter[str]] = defaultdict(Counter)
        for item in train:
            for word, tag in zip(item.words, item.tags, strict=True):
                tags[word][tag] += 1
        best = {word: counts.most_common(1)[0][0] for word, counts in tags.items()}
        return [{"tags": [best.get(word, "O") for word in item.words]} for item in dev]
    return [{"label": Counter(item.label for item in train).most_common(1)[0][0]}] * len(dev)


def baselines(task: Task, train: Sequence[Any], dev: Sequence[Any]) -> list[dict[str, Any]]:
    """Their scores."""
    found = {"majority": majority(task, train, dev)}
    if task.kind != "token-classification":
        found["tf-idf"] = linear_model(task, train, dev)
    return [{"side": side, "metrics": task.score(dev, guesses)} for side, guesses in found.items()]


def training_file(name: str, args: argparse.Namespace) -> Path:
    """The file itself, or with ``--questions`` so many of its questions at random, written beside the runs."""
    path: Path = args.data / name
    if not (args.questions and name.startswith("squad/")):
        return path
    from dokkai.data.squad import read_squad

    found = read_squad(path)
    chosen = sorted(np.random.default_rng(0).permutation(len(found))[: args.questions])
    out: Path = args.work / f"{path.name.split('.json')[0]}-{args.questions}.jsonl"
    with replacing(out) as temporary, temporary.open("w") as file:
        for item in (found[i] for i in chosen):
            answers = {"text": [a.text for a in item.answers], "answer_start": [a.start for a in item.answers]}
            record = {"id": item.id, "question": item.question, "context": item.context, "answers": answers}
            file.write(json.dumps(record) + "\n")
    return out


def fine_tuned(name: str, args: argparse.Namespace, side: str, seeds: int, words: list[str]) -> list[dict[str, Any]]:
    """The scores of every seed, by the command itself; goes on where it was stopped."""
    recipe, train, dev, overrides = TASKS[name]
    out = args.work / f"{name}-{side.replace(' ', '-')}"
    command = [sys.executable, "-m", "dokkai.cli", "finetune", recipe, "--from", args.start, "--out", out]
    command += ["--train", training_file(train, args), "--dev", args.data / dev, "--seeds", seeds, *words]
    start = time.perf_counter()
    subprocess.run(
        [*map(str, command), *overrides, "train.keep=last", *args.overrides], check=True, stdout=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - start
    record = json.loads((out / "seeds.json").read_text())
    keys = ("name", "metrics", "step", "restarts")
    return [{"side": side, **{key: run[key] for key in keys}, "all_seconds": seconds} for run in record["runs"]]


def measure(name: str, args: argparse.Namespace) -> None:
    """One task: all sides, and their means."""
    recipe, train_path, dev_path, overrides = TASKS[name]
    tokenizer = load_tokenizer(args.start)
    settings = load_settings(recipe, [*overrides, *args.overrides])
    task = create_task(settings.task, tokenizer)
    train, dev = task.read(args.data / train_path), task.read(args.data / dev_path)
    task = create_task(settings.task, tokenizer, task.find_labels(train, args.data / train_path))
    runs = baselines(task, train, dev)
    runs += fine_tuned(name, args, "random weights", args.random_seeds or args.seeds, ["--random-weights"])
    runs += fine_tuned(name, args, args.start.name, args.seeds, [])
    metric = task.primary_metric
    scores: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        scores[run["side"]].append(run["metrics"][metric])
    means = {
        side: {"mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}
        for side, values in scores.items()
    }
    options = f"{name} --start {args.start.name} --seeds {args.seeds}"
    if args.random_seeds:
        options += f" --random-seeds {args.random_seeds}"
    if args.questions:
        options += f" --questions {args.questions}"
    write_result(
        f"task-{name}",
        f"python benchmarks/paper_tasks.py {options}" + "".join(f" --set {word}" for word in args.overrides),
        runs,
        versions=versions("dokkai", "torch", "scikit-learn"),
        recipe=recipe,
        examples={"train": args.questions or len(train), "dev": len(dev)},
        start=args.start.name,
        metric=metric,
        means=means,
    )
    print(json.dumps({name: means}, indent=1), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=list(TASKS), metavar="NAME", help=", ".join(TASKS))
    parser.add_argument("--start", type=Path, default=ROOT / "models" / "mini-en")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--random-seeds", type=int, help="of the side with random weights, if not as many")
    parser.add_argument("--questions", type=int, help="train on so many questions of SQuAD instead of all")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="a setting on top of the recipe's")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    parser.add_argument(
        "--work", type=Path, default=RESULTS.parent.parent / "runs" / "tasks", help="runs are kept here"
    )
    args = parser.parse_args()
    for name in args.names:
        measure(name, args)


if __name__ == "__main__":
    main()
