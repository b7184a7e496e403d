"""What each technique gives: dokkai's update beside itself without it: python benchmarks/techniques.py

The update is that of ``pretrain_step.py`` (dokkai, eager, dropout 0.1). Each side leaves one technique out; each lives
in a process of its own and is asked in turn. Writes results/techniques.json and docs/pictures/techniques.png.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from measuring import PICTURES, alternate, bar_plot, versions, write_result
from pretrain_step import dokkai_update, make, make_features, make_task
from workers import Clock, Worker, answers

AS_IT_IS = "as it is"
SIDES = (
    AS_IT_IS,
    "head on every position",
    "PyTorch's dropout",
    "memory given back",
    "AdamW tensor by tensor",
    "without dropout",
    "ModernBERT's layers",
)


def leave_out(side: str) -> None:
    """Put the plain way in the place of the technique."""
    import torch
    from torch.nn import functional as F

    from dokkai.model import dropout, encoder
    from dokkai.training import memory, optimizer

    if side == "PyTorch's dropout":
        dropout.dropout = F.dropout
        encoder.attention = F.scaled_dot_product_attention
    elif side == "memory given back":
        memory.keep_freed_memory = lambda: False
    elif side == "AdamW tensor by tensor":
        kind = optimizer.torch.optim.AdamW  # the module is loaded: the class that inherits from it is made
        torch.optim.AdamW = lambda groups, fused, **options: kind(groups, foreach=False, **options)


def on_every_position(batch: dict) -> dict:
    """The same batch for a head that computes all logits and drops most of them."""
    import torch
    from peer import dense_labels

    labels = dense_labels(batch).flatten()
    return batch | {"masked_positions": torch.arange(len(labels)), "masked_labels": labels}


def work(args: argparse.Namespace) -> None:
    """One side in this process."""
    out = answers()
    import torch

    from dokkai.model.device import choose_device, choose_precision

    torch.manual_seed(0)
    leave_out(args.side)
    device = choose_device()
    task = make_task(args.directory)
    features = make_features(task, 4 * args.batch, args.length)
    parts = [features[start : start + args.batch] for start in range(0, len(features), args.batch)]
    batches = [task.collate(part, args.length) for part in parts]
    if args.side == "head on every position":
        batches = [on_every_position(batch) for batch in batches]
    dropout = 0.0 if args.side == "without dropout" else 0.1
    update = dokkai_update(args.directory, task, batches, dropout, False, device, choose_precision("auto", device))
    clock = Clock(out)
    for number in range(1_000_000):
        update(number)
        clock.tick()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="L6-H384")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        work(args)
        return
    workers: dict[str, Worker] = {}
    with tempfile.TemporaryDirectory() as directory:
        for face in ("bert", "modernbert"):
            (Path(directory) / face).mkdir()
            make(Path(directory) / face, args.shape, args.length, face)
        try:
            for side in SIDES:
                face = "modernbert" if side == SIDES[-1] else "bert"
                words = [__file__, "--length", args.length, "--batch", args.batch, "--side", side]
                workers[side] = Worker([*words, "--directory", Path(directory) / face], args.threads)
            runs = alternate(SIDES, args.repetitions, lambda side: workers[side].run(args.seconds), warm_up=False)
        finally:
            for worker in workers.values():
                worker.stop()
    for run in runs:
        run["tokens_per_second"] = run["rounds"] * args.batch * args.length / run["seconds"]
    write_result(
        "techniques",
        "python benchmarks/techniques.py " + " ".join(sys.argv[1:]),
        runs,
        versions=versions("dokkai", "torch"),
        compare={"value": "tokens_per_second", "unit": "tokens/s"},
        shape={"shape": args.shape, "length": args.length, "batch": args.batch},
        threads=args.threads,
    )
    bars = {side: [run["tokens_per_second"] for run in runs if run["side"] == side] for side in SIDES}
    bar_plot(PICTURES / "techniques.png", f"One update without a technique, {args.shape}", "tokens/s", bars)


if __name__ == "__main__":
    main()
