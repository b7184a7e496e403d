"""Does dropout drown what tells texts apart? python benchmarks/dropout_noise.py MODEL -> results/dropout-noise.json

For some dev examples of each task, of the vector of [CLS] behind the last layer, which a head of classes or choices
reads:

- ``apart``: its standard deviation from one text to another without dropout, of choices among those of one question,
  the mean over the coordinates;
- ``noise``: its standard deviation from one pass to another of the same text with dropout, likewise.

A head sees the first through the second: at a ratio far below one it learns from hardly anything but chance.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measuring import versions, write_result
from paper_tasks import TASKS

from dokkai.model.heads import Model
from dokkai.pipeline import Pipeline, load
from dokkai.settings import load_settings
from dokkai.tasks import create_task
from dokkai.tasks.base import ModelInput, pad

MEASURED = ("cola", "sst-2", "mrpc", "rte", "sts-b", "dream", "mctest")


def groups_of(name: str, pipeline: Pipeline, data: Path, number: int, seed: int) -> list[list[ModelInput]]:
    """Sequences that are to be told apart: all, or the choices of each question."""
    recipe, _, dev, overrides = TASKS[name]
    settings = load_settings(recipe, overrides).task
    task = create_task(settings, pipeline.tokenizer)
    examples = task.read(data / dev)
    task = create_task(settings, pipeline.tokenizer, task.find_labels(examples, data / dev))
    is_choice = task.kind == "multiple-choice"
    chosen = np.random.default_rng(seed).permutation(len(examples))[: number // 4 if is_choice else number]
    features = task.encode([examples[i] for i in chosen], training=False)
    return [list(item.choices) for item in features] if is_choice else [list(features)]


@torch.inference_mode()
def vectors(model: Model, items: Sequence[ModelInput], pad_id: int) -> torch.Tensor:
    """[CLS] behind the last layer, ``(len(items), D)``."""
    batch = pad(items, max(len(item.input_ids) for item in items), pad_id)
    return list(model.encoder.states(**batch))[-1][:, 0].float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--texts", type=int, default=64, help="of each task; a quarter as many questions with choices")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    args = parser.parse_args()
    pipeline = load(args.model, "cpu", "fp32")
    config = replace(pipeline.model.config, hidden_dropout_prob=args.dropout)
    noisy = Model(config, pipeline.model.heads)
    noisy.load_state_dict(pipeline.model.state_dict())
    pipeline.model.eval()
    noisy.train()
    torch.manual_seed(0)
    runs = []
    for name in MEASURED:
        apart, noise = [], []
        for group in groups_of(name, pipeline, args.data, args.texts, 0):
            apart.append(vectors(pipeline.model, group, pipeline.tokenizer.pad_id).var(0))
            first, second = (vectors(noisy, group, pipeline.tokenizer.pad_id) for _ in range(2))
            noise.append((first - second).square().mean(0) / 2)
        deviations = [float(torch.stack(part).mean(0).sqrt().mean()) for part in (apart, noise)]
        runs.append({"task": name, "apart": deviations[0], "noise": deviations[1]})
    write_result(
        "dropout-noise",
        f"python benchmarks/dropout_noise.py {args.model}",
        runs,
        model=Path(args.model).name,
        texts=args.texts,
        dropout=args.dropout,
        versions=versions("dokkai", "torch"),
    )


if __name__ == "__main__":
    main()
