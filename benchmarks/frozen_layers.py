"""What --cache saves: python benchmarks/frozen_layers.py -> results/frozen-layers.json

MRPC from ``encoder-en`` with its eight lowest layers frozen, for the recipe's epochs, on one thread, measured on the
dev file at the end: without ``--cache``; with it and an empty folder; and with it again, another seed, whose states are
there already. Seconds are those of the whole command. Needs ``$DOKKAI_DATA``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import environment, versions, write_result

SIDES = {"without": (False, 0), "the first with --cache": (True, 0), "the next": (True, 1)}


def measure(folder: Path, data: Path, side: str, overrides: list[str]) -> dict:
    """One run of the command."""
    is_cached, seed = SIDES[side]
    out = folder / side.replace(" ", "-")
    command = [sys.executable, "-m", "dokkai.cli", "finetune", "mrpc", "--from", "encoder-en", "--out", out]
    command += ["--train", data / "glue" / "MRPC-train.tsv", "--dev", data / "glue" / "MRPC-dev.tsv"]
    command += ["--cache", folder / "states"] if is_cached else []
    settings = ["train.frozen_layers=8", "train.evaluate_every=1000000", "train.keep=last", f"train.seed={seed}"]
    start = time.perf_counter()
    subprocess.run([*map(str, command), *settings, *overrides], check=True, env=environment(1), stdout=sys.stderr)
    seconds = time.perf_counter() - start
    record = json.loads((out / "run.json").read_text())
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    training = [line for line in lines if "tokens" in line][-1]
    facts = {"tokens": training["tokens"], "training_seconds": training["seconds"], "metrics": record["metrics"]}
    return {"side": side, "seconds": round(seconds, 1), "seed": seed} | facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="a setting on top of these")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [measure(Path(folder), args.data, side, args.overrides) for side in SIDES]
    command = "python benchmarks/frozen_layers.py" + "".join(f" --set {word}" for word in args.overrides)
    write_result("frozen-layers", command, runs, versions=versions("dokkai", "torch"))


if __name__ == "__main__":
    main()
