"""Tasks of the paper by the shipped recipes, beside plain baselines.

    python benchmarks/paper_tasks.py NAME...        -> results/task-NAME.json

For each task, on the development data (``$DOKKAI_DATA``):

- ``majority``: the commonest label of the training file for every example (for tags: the commonest tag of each word;
  for questions: no answer);
- ``tf-idf``: words and pairs of words by TF-IDF and logistic regression (scikit-learn), its regularization searched on
  the training file; for two texts what they share and what not; for a number ridge regression on the same; for choices
  the likeness to the text; for vectors of sentences the cosine; for questions the sentence that is most like the
  question (all in ``baselines.py``);
- ``features``: the same with features made by hand: for pairs and choices how alike they are, for tags the letters of a
  word and its neighbours;
- ``random weights``: the same recipe and the same shape, with ``--random-weights``;
- ``MODEL``: the recipe from the encoder.

The last two over several seeds (``--seeds``), and the last weights count, not those that are best on the dev file. Nor
is the null threshold of SQuAD 2.0 chosen there: the baseline takes the best of the training file, a reader 0. All are
scored by the same metrics on the same dev file.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from baselines import baselines
from measuring import RESULTS, ROOT, versions, write_result

from dokkai.files import checksum, replacing, write_json
from dokkai.settings import load_settings
from dokkai.tasks import create_task
from dokkai.tokenization import load_tokenizer

TASKS: dict[str, tuple[str, str, str, list[str]]] = {  # recipe, training file, dev file, overrides for these files
    "cola": ("cola", "glue/CoLA-train.tsv", "glue/CoLA-dev.tsv", []),
    "sst-2": ("sst-2", "glue/SST-2-train.tsv", "glue/SST-2-dev.tsv", []),
    "mrpc": ("mrpc", "glue/MRPC-train.tsv", "glue/MRPC-dev.tsv", []),
    "rte": ("rte", "glue/RTE-train.tsv", "glue/RTE-dev.tsv", []),
    "sts-b": ("sts-b", "glue/STS-B-train.csv", "glue/STS-B-dev.csv", []),
    "sentence-vectors": (
        "sentence-vectors",
        "glue/STS-B-train.csv",
        "glue/STS-B-dev.csv",
        [
            *["task.format=tsv", "task.ragged=true", "task.header=false", "task.text=5", "task.pair=6", "task.label=4"],
            *["task.positive=4.0", "task.max_length=64", "train.epochs=5"],
        ],
    ),
    "conll-2003": (
        "conll-2003",
        "conll2003/train.iob2",
        "conll2003/dev.iob2",
        [
            *["task.document_context=false", "task.max_length=128", "task.stride=64"],
            *["train.batch_size=32", "train.epochs=4"],
        ],
    ),
    "conll-2003-documents": (  # as the recipe is; some 25 minutes a run on a core
        "conll-2003",
        "conll2003/train.iob2",
        "conll2003/dev.iob2",
        [],
    ),
    "dream": ("dream", "dream/train.json", "dream/dev.json", []),
    "mctest": ("mctest", "mctest/mc500.train.tsv", "mctest/mc500.test.tsv", []),
    "squad-2.0": ("squad2", "squad/train-v2.0.json.xz", "squad/dev-v2.0.json.xz", ["train.tune_threshold=false"]),
}


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
    out = args.work / f"{name}-{args.start.name}{'' if side == args.start.name else '-random-weights'}"
    command = [sys.executable, "-m", "dokkai.cli", "finetune", recipe, "--from", args.start, "--out", out]
    command += ["--train", training_file(train, args), "--dev", args.data / dev, "--seeds", seeds, *words]
    command += ["--cache", args.cache] if args.cache else []
    is_new = not out.exists()  # else the seconds are those of the rest
    start = time.perf_counter()
    subprocess.run(
        [*map(str, command), *overrides, "train.keep=last", *args.overrides], check=True, stdout=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - start if is_new else None
    record = json.loads((out / "seeds.json").read_text())
    keys = ("name", "metrics", "step", "restarts")
    return [{"side": side, **{key: run[key] for key in keys}, "all_seconds": seconds} for run in record["runs"]]


def plain(name: str, args: argparse.Namespace, compute: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The baselines, which take minutes and are the same for every encoder: kept beside the runs of the same files."""
    _, train, dev, overrides = TASKS[name]
    asked = [name, checksum(args.data / train), checksum(args.data / dev), *overrides, *args.overrides]
    words = [word for word in map(str, asked) if not word.startswith(("train.", "model."))]
    kept: Path = args.work / f"{name}-baselines-{zlib.crc32(' '.join(words).encode()):08x}.json"
    if not kept.exists():
        args.work.mkdir(parents=True, exist_ok=True)
        write_json(kept, compute())
    found: list[dict[str, Any]] = json.loads(kept.read_text())
    return found


def measure(name: str, args: argparse.Namespace) -> None:
    """One task: all sides, and their means."""
    recipe, train_path, dev_path, overrides = TASKS[name]
    tokenizer = load_tokenizer(args.start)
    settings = load_settings(recipe, [*overrides, *args.overrides])
    task = create_task(settings.task, tokenizer)
    train, dev = task.read(args.data / train_path), task.read(args.data / dev_path)
    task = create_task(settings.task, tokenizer, task.find_labels(train, args.data / train_path))
    runs = plain(name, args, lambda: baselines(task, train, dev))
    facts = {"recipe": recipe, "examples": {"train": args.questions or len(train), "dev": len(dev)}}
    facts |= {"metric": task.primary_metric, "versions": versions("dokkai", "torch", "scikit-learn")}
    if args.only_baselines:
        write_result(f"baselines-{name}", f"python benchmarks/paper_tasks.py {name} --only-baselines", runs, **facts)
        return
    learned = fine_tuned(name, args, args.start.name, args.seeds, [])
    num_random = args.seeds if args.random_seeds is None else args.random_seeds
    if num_random:
        runs += fine_tuned(name, args, "random weights", num_random, ["--random-weights"])
    runs += learned
    metric = task.primary_metric
    scores: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        scores[run["side"]].append(run["metrics"][metric])
    means = {
        side: {"mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}
        for side, values in scores.items()
    }
    options = f"{name} --start {args.start.name} --seeds {args.seeds}"
    if args.random_seeds is not None:
        options += f" --random-seeds {args.random_seeds}"
    if args.cache:
        options += f" --cache {args.cache}"
    if args.questions:
        options += f" --questions {args.questions}"
    write_result(
        f"task-{name}",
        f"python benchmarks/paper_tasks.py {options}" + "".join(f" --set {word}" for word in args.overrides),
        runs,
        start=args.start.name,
        means=means,
        **facts,
    )
    print(json.dumps({name: means}, indent=1), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=list(TASKS), metavar="NAME", help=", ".join(TASKS))
    parser.add_argument("--start", type=Path, default=ROOT / "models" / "mini-en")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--random-seeds", type=int, help="of the side with random weights, if not as many; 0: none")
    parser.add_argument("--only-baselines", action="store_true", help="and no more -> results/baselines-NAME.json")
    parser.add_argument("--cache", type=Path, help="keep what frozen layers give in this folder (train.frozen_layers)")
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
