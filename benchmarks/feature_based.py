"""The encoder as it is: python benchmarks/feature_based.py -> results/feature-based-TASK.json

Features of chosen layers, cached once, and a small model on them (paper, section 5.3):

- ``conll-2003``: a BiLSTM on the states, by the recipe ``probe-entities``, for the layers of the paper's table 7;
  entity-level F1 on the dev file (``--layers`` measures only some of them: each takes half an hour of a core);
- ``sst-2``: logistic regression on one vector per text, of the first ``--texts`` of the training file; accuracy.

Each from the encoder, and once from random weights of the same shape. The same command goes on where it was stopped.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from measuring import ROOT, versions, write_result

ENTITIES = ("embeddings", "second-to-last", "last", "weighted-last-4", "concat-last-4", "weighted-all")
TEXTS = ("embeddings", "second-to-last", "last", "sum-last-4", "concat-last-4")
BEST = "concat-last-4"  # what random weights are shown with


def probe(args: argparse.Namespace, task: str, recipe: str, layers: str, is_random: bool, words: list[str]) -> dict:
    """One run of the verb, or what is left of an earlier one."""
    side = "random weights" if is_random else args.start.name
    out = args.work / f"{task}-{layers}-{side.replace(' ', '-')}"
    cache = args.work / f"features-{task}-{side.replace(' ', '-')}"
    command = [sys.executable, "-m", "dokkai.cli", "probe", recipe, "--from", args.start, "--out", out]
    command += ["--cache", cache, *(["--random-weights"] if is_random else []), f"probe.layers={layers}", *words]
    is_new = not (out / "run.json").exists()  # else the seconds are those of the rest
    start = time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start if is_new else None
    metrics = json.loads((out / "run.json").read_text())["metrics"]
    return {"task": task, "side": side, "layers": layers, "metrics": metrics, "seconds": seconds}


def first_rows(source: Path, number: int, out: Path) -> Path:
    """The header and so many rows of a table."""
    with source.open(encoding="utf-8") as file:
        lines = [line for line, _ in zip(file, range(number + 1), strict=False)]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(lines), encoding="utf-8")
    return out


def texts(args: argparse.Namespace) -> list[dict]:
    """SST-2: one vector per text."""
    glue = args.data / "glue"
    rows = first_rows(glue / "SST-2-train.tsv", args.texts, args.work / f"sst-2-{args.texts}.tsv")
    words = ["--train", rows, "--dev", glue / "SST-2-dev.tsv", "task.text=sentence", "task.max_length=64"]
    runs = [probe(args, "sst-2", "my-classes", layers, False, words) for layers in args.layers or TEXTS]
    return [*runs, probe(args, "sst-2", "my-classes", BEST, True, words)]


def entities(args: argparse.Namespace) -> list[dict]:
    """CoNLL-2003: the states of every word."""
    conll = args.data / "conll2003"
    words = ["--train", conll / "train.iob2", "--dev", conll / "dev.iob2", f"probe.lstm_size={args.lstm_size}"]
    words += [f"train.epochs={args.epochs}", "train.keep=last", "train.evaluate_every=1000000"]
    runs = [probe(args, "conll-2003", "probe-entities", layers, False, words) for layers in args.layers or ENTITIES]
    return [*runs, probe(args, "conll-2003", "probe-entities", BEST, True, words)]


def main() -> None:
    measured = {"sst-2": texts, "conll-2003": entities}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=measured, default=list(measured))
    parser.add_argument("--layers", nargs="+", choices=ENTITIES + TEXTS, help="if not all that are listed above")
    parser.add_argument("--start", type=Path, default=ROOT / "models" / "mini-en")
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--lstm-size", type=int, default=768)
    parser.add_argument("--epochs", type=int, default=10, help="of the BiLSTM")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "features")
    args = parser.parse_args()
    for task in args.tasks:
        runs = measured[task](args)
        size = {"texts": args.texts} if task == "sst-2" else {"lstm": {"size": args.lstm_size, "epochs": args.epochs}}
        write_result(
            f"feature-based-{task}",
            "python benchmarks/feature_based.py " + " ".join(sys.argv[1:]),
            runs,
            versions=versions("dokkai", "torch", "scikit-learn"),
            start=args.start.name,
            **size,
        )


if __name__ == "__main__":
    main()
