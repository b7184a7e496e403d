"""What a reader gains by tokens of pre-training: python benchmarks/curve.py RUN -> results/curve.json

Each checkpoint that a pre-training kept (``train.save_every``, ``train.keep_checkpoints``), the last among them, and
random ones of the same shape are fine-tuned in the same way on the same questions of SQuAD 1.1; F1 on its dev file, at
the last step. Where the rate of the pre-training falls late, checkpoints before it are worth more than they show here.
The same command goes on where it was stopped.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from measuring import ROOT, versions, write_result

from dokkai.files import link, replacing


def as_model(run: Path, weights: Path, out: Path) -> Path:
    """A model directory: the files of the run, with these weights."""
    if not out.exists():
        with replacing(out) as folder:
            folder.mkdir()
            for file in run.iterdir():
                if file.suffix in (".json", ".txt") and file.name != "run.json":
                    link(file, folder / file.name)
            link(weights, folder / weights.name)
    return out


def read(start: Path, out: Path, args: argparse.Namespace, words: list[str]) -> dict[str, float]:
    """Metrics of one fine-tuning, or of an earlier one."""
    command = [sys.executable, "-m", "dokkai.cli", "finetune", "squad", "--from", start, "--out", out, *words]
    command += [
        "--train",
        args.data / "squad" / "train-v1.1.json.xz",
        "--dev",
        args.data / "squad" / "dev-v1.1.json.xz",
    ]
    command += ["--limit", args.questions, "train.epochs=1", "train.evaluate_every=1000000", "train.keep=last"]
    subprocess.run([*map(str, command), *args.overrides], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, float] = json.loads((out / "run.json").read_text())["metrics"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--questions", type=int, default=20_000)
    parser.add_argument("--steps", type=int, nargs="*", help="these checkpoints alone")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="a setting on top of the recipe's")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "curve")
    args = parser.parse_args()
    states = {int(file.parent.name.removeprefix("step-")): file for file in args.run.glob("checkpoints/*/state.json")}
    if not states:
        parser.error(f"{args.run}: no checkpoints are kept there")
    chosen = [step for step in sorted(states) if args.steps is None or step in (*args.steps, max(states))]
    runs = [{"step": 0, "tokens": 0, **read(args.run, args.work / "random", args, ["--random-weights"])}]
    for step in chosen:
        weights = states[step].with_name("model.safetensors")
        start = as_model(args.run, weights, args.work / f"from-{step}")
        tokens = json.loads(states[step].read_text())["tokens"]
        runs.append({"step": step, "tokens": tokens, **read(start, args.work / f"step-{step}", args, [])})
    write_result(
        "curve",
        f"python benchmarks/curve.py RUN --questions {args.questions}"
        + (f" --steps {' '.join(map(str, args.steps))}" if args.steps else "")
        + "".join(f" --set {word}" for word in args.overrides),
        runs,
        versions=versions("dokkai", "torch"),
        questions=args.questions,
    )


if __name__ == "__main__":
    main()
