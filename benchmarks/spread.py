"""Do batches of near-equal length change results? python benchmarks/spread.py -> results/finetune-spread.json

The same fine-tuning over some seeds, with batches as they are (``group_by_length``), and with random ones instead.
From a trained model on sentences of SST-2 (``$DOKKAI_DATA/glue``), phrases of few words and sentences of many.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from measuring import PICTURES, ROOT, bar_plot, versions, write_result

from dokkai.data.order import permutation
from dokkai.training import finetune

RECIPE = ["task.text=sentence", "task.label=label", "train.evaluate_every=1000000"]


def random_batches(lengths, batch_size: int, seed: int, epoch: int) -> list:
    """In place of ``group_by_length``: the order of the epoch, cut."""
    order = permutation(len(lengths), seed, 0, epoch)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


KINDS = {"near-equal length": finetune.group_by_length, "random": random_batches}


def measure(args: argparse.Namespace) -> list[dict]:
    """The accuracy of every seed with both kinds of batches."""
    overrides = [*RECIPE, f"train.epochs={args.epochs}", f"train.learning_rate={args.learning_rate}"]
    data = Path(os.environ["DOKKAI_DATA"], "glue")
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.seeds):
            for side, batches in KINDS.items():
                finetune.group_by_length = batches
                out = Path(folder, f"{side}-{seed}")
                files = (data / "SST-2-train.tsv", out, data / "SST-2-dev.tsv")
                values = [*overrides, f"train.seed={seed}"]
                finetune.finetune("my-classes", args.start, *files, values, limit=args.examples)
                metrics = json.loads((out / "run.json").read_text())["metrics"]
                runs.append({"side": side, "seed": seed, "accuracy": metrics["accuracy"]})
                print(runs[-1], file=sys.stderr, flush=True)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--examples", type=int, default=3000)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--start", type=Path, default=ROOT / "models" / "mini-en")
    args = parser.parse_args()
    runs = measure(args)
    scores = {side: [run["accuracy"] for run in runs if run["side"] == side] for side in KINDS}
    figures = {
        side: {"mean": statistics.mean(values), "deviation": statistics.stdev(values)}
        for side, values in scores.items()
    }
    write_result(
        "finetune-spread",
        "python benchmarks/spread.py " + " ".join(sys.argv[1:]),
        runs,
        versions=versions("dokkai", "torch"),
        examples=args.examples,
        start=args.start.name,
        accuracy=figures,
    )
    bar_plot(PICTURES / "finetune-spread.png", f"Accuracy of {args.seeds} seeds by kind of batches", "accuracy", scores)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
