"""What a reader gains by tokens of pre-training: python benchmarks/curve.py RUN PREPARED -> results/curve.json

RUN is a pre-training by the schedule ``trapezoid``, of one length, that kept checkpoints (``train.save_every``,
``train.keep_checkpoints``), PREPARED what it read. From each checkpoint chosen, before the rate of the run falls, a
branch goes on with all of the optimizer's state and comes down at once, as a shorter run by the same recipe would have
(Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", section 3). The ends
of the branches, of the run and random weights of the same shape are fine-tuned in the same way on the same questions of
SQuAD 1.1; F1 on its dev file, at the last step, also as a picture. The same command goes on where it was stopped.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import PICTURES, ROOT, versions, write_result

from dokkai.files import link, read_json, replacing, write_json
from dokkai.training.run_directory import flatten

DOKKAI = (sys.executable, "-m", "dokkai.cli")


def branch(run: Path, prepared: Path, step: int, out: Path) -> Path:
    """The end of a run that is like this one up to ``step``, where its rate begins to fall."""
    record = read_json(run / "run.json", "record of a run")
    train = record["settings"]["train"]
    train["steps"] = round(step / (1 - train["cooldown_share"]))
    if not out.exists():
        with replacing(out) as folder:
            checkpoint(folder, step).mkdir(parents=True)
            for file in checkpoint(run, step).iterdir():
                link(file, checkpoint(folder, step) / file.name)
            for file in (*run.glob("*.json"), *run.glob("*.txt")):
                link(file, folder / file.name)
            shutil.copyfile(run / "metrics.jsonl", folder / "metrics.jsonl")  # lines are added to it in its place
            write_json(folder / "run.json", record | {"state": "stopped"})
    recipe = out.with_suffix(".toml")
    settings = flatten(record["settings"]).items()
    recipe.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings if value is not None))
    init = record["sources"]["init"]
    _run("pretrain", recipe, "--data", prepared, "--out", out, *(["--init", init] if init else []))
    return out


def checkpoint(run: Path, step: int) -> Path:
    """Where a run keeps its checkpoint of a step."""
    return run / "checkpoints" / f"step-{step:08d}"


def unfit(run: Path, steps: Sequence[int]) -> str:
    """Why no curve can be made of these steps of a run; "" if it can."""
    record = read_json(run / "run.json", "record of a run")
    train, task = record["settings"]["train"], record["settings"]["task"]
    end = train["steps"]
    if train["schedule"] != "trapezoid" or not end:
        return "its schedule is not a trapezoid over train.steps"
    if len(task["lengths"]) > 1 or task["masked_share_end"] is not None:
        return "a shorter run would have other lengths or shares of masks at the same step"
    first, last = round(train["warmup_share"] * end), end - round(train["cooldown_share"] * end)
    for step in set(steps) - {0, end}:
        if not first <= step <= last:
            return f"at step {step} its rate is not at the peak"
        if not checkpoint(run, step).exists():
            return f"no checkpoint of step {step} is kept"
    return "it is not finished" if end in steps and record["state"] != "finished" else ""


def read(start: Path, out: Path, args: argparse.Namespace, *words: str) -> dict[str, float]:
    """Metrics of one fine-tuning, or of an earlier one."""
    squad = args.data / "squad"
    files = ("--train", squad / "train-v1.1.json.xz", "--dev", squad / "dev-v1.1.json.xz", "--limit", args.questions)
    settings = ("train.epochs=1", "train.evaluate_every=1000000", "train.keep=last", *args.overrides)
    _run("finetune", "squad", "--from", start, "--out", out, *words, *files, *settings)
    found: dict[str, float] = json.loads((out / "run.json").read_text())["metrics"]
    return found


def _run(*words: object) -> None:
    subprocess.run([*DOKKAI, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def pretrained(model: Path) -> dict[str, float]:
    """Where a pre-training ended: updates, tokens seen and the loss of held-out text."""
    lines = [json.loads(line) for line in (model / "metrics.jsonl").read_text().splitlines()]
    last = {name: value for line in lines for name, value in line.items()}  # of each measure the latest
    return {name: last[name] for name in ("step", "tokens", "heldout/masked_lm_loss")}


def draw(path: Path, runs: list[dict[str, Any]], questions: int) -> None:
    """F1 over tokens, each doubling as wide; random weights are a line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    seen = sorted((run["tokens"] / 1e6, run["f1"]) for run in runs if run["tokens"])
    axes.plot(*zip(*seen, strict=True), "o-", color="#4c78a8")
    for tokens, f1 in seen:
        axes.annotate(f"{f1:.1f}", (tokens, f1), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    for run in (run for run in runs if not run["tokens"]):
        axes.axhline(run["f1"], color="black", linewidth=0.6, linestyle=":")
        axes.annotate(f"random weights {run['f1']:.1f}", (seen[0][0], run["f1"]), (0, 3), textcoords="offset points")
    axes.set_xscale("log", base=2)
    axes.set_xticks([tokens for tokens, _ in seen], [f"{tokens:.1f}M" for tokens, _ in seen])
    axes.set_xlabel("tokens of pre-training")
    axes.set_ylabel("F1 on dev-v1.1")
    axes.set_title(f"Fine-tuned on {questions:,} questions", fontsize=10)
    axes.margins(y=0.15)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--steps", type=int, nargs="+", required=True, help="checkpoints; 0 for random weights")
    parser.add_argument("--questions", type=int, default=20_000)
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="a setting on top of the recipe's")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "curve")
    args = parser.parse_args()
    if why := unfit(args.run, args.steps):
        parser.error(f"{args.run}: {why}")
    end = read_json(args.run / "run.json", "record of a run")["settings"]["train"]["steps"]
    runs = []
    for step in args.steps:
        if step == 0:
            found = read(args.run, args.work / "random", args, "--random-weights")
            runs.append({"run": "random", "step": 0, "tokens": 0, **found})
        else:
            model = args.run if step == end else branch(args.run, args.prepared, step, args.work / f"branch-{step}")
            found = read(model, args.work / f"reader-{step}", args)
            runs.append({"run": model.name, **pretrained(model), **found})
    command = f"python benchmarks/curve.py RUN PREPARED --steps {' '.join(map(str, args.steps))}"
    write_result(
        "curve",
        f"{command} --questions {args.questions}" + "".join(f" --set {word}" for word in args.overrides),
        runs,
        versions=versions("dokkai", "torch"),
        questions=args.questions,
    )
    if any(run["tokens"] for run in runs):
        draw(PICTURES / "curve.png", runs, args.questions)


if __name__ == "__main__":
    main()
