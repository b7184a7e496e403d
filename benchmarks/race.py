"""Time to quality: who reaches a held-out masked-LM loss sooner, on the same text, masks and machine?

    python benchmarks/race.py peer --data DIR --rate 1e-3 --out peer-1e-3.json      (three rates, one core each)
    dokkai pretrain RECIPE --data DIR --out RUN ...
    python benchmarks/race.py compare --data DIR --peers peer-*.json --own RUN      -> results/race.json

The peer is the BERT of ``transformers`` in a plain loop: AdamW, warm-up, linear fall, dropout 0, compiled with
``--compile``. It gets dokkai's own batches, so its input costs no more than ours, with 15 % of the tokens masked, and
dokkai's held-out masks. Its clock, like dokkai's, stands still while it is evaluated; compiling does not count either.

The target is the last loss of the best peer, if that is 1.5 nats below the entropy of the words or more; else the loss
1.5 nats below it, which no peer has reached then.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from collect import run_record
from measuring import PICTURES, versions, write_result
from peer import NO_LABEL, decayed_groups, dense_labels, plain_update

from dokkai.data.shards import Corpus
from dokkai.files import replacing, write_json
from dokkai.model.config import shape_config
from dokkai.model.device import autocast
from dokkai.settings import PretrainingSettings
from dokkai.tasks.pretraining import Pretraining, PretrainingBatches
from dokkai.tokenization import load_tokenizer

BELOW = 1.5  # nats below the entropy of the words


def peer_batch(batch: dict) -> dict:
    """Our batch for transformers."""
    return {"input_ids": batch["input_ids"], "labels": dense_labels(batch)}


@torch.inference_mode()
def heldout_loss(model, features: list, task: Pretraining, length: int) -> tuple[float, float]:
    """Mean loss and accuracy over all held-out masked tokens."""
    model.eval()
    loss = hits = count = 0.0
    for start in range(0, len(features), 64):
        batch = peer_batch(task.collate(features[start : start + 64], length))
        is_masked = batch["labels"] != NO_LABEL
        labels = batch["labels"][is_masked]
        logits = model.cls(model.bert(batch["input_ids"]).last_hidden_state[is_masked])
        loss += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        hits += int((logits.argmax(-1) == labels).sum())
        count += len(labels)
    model.train()
    return loss / count, hits / count


def peer(args: argparse.Namespace) -> None:
    """Train the peer, and write its curve after every evaluation."""
    torch.manual_seed(args.seed)
    corpus = Corpus.open(args.data, "train")
    tokenizer = load_tokenizer(corpus.tokenizer_directory)
    settings = PretrainingSettings(
        next_sentence=False,
        lengths=[args.length],
        batch_tokens=args.batch_tokens,
        heldout_length=args.heldout_length,
        heldout_sequences=args.heldout_sequences,
    )
    task = Pretraining(settings, tokenizer)
    heldout = task.heldout(Corpus.open(args.data, "heldout"))
    batches = PretrainingBatches(task, corpus, args.steps, 0, args.batch_tokens, args.seed)
    shape = shape_config(args.shape, vocab_size=tokenizer.vocab_size)
    config = transformers.BertConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        intermediate_size=shape.intermediate_size,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=args.initializer_range,
    )
    model = transformers.BertForMaskedLM(config).train()
    optimizer = torch.optim.AdamW(decayed_groups(model, 0.01), lr=args.rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(0.1 * args.steps), args.steps)
    forward = torch.compile(model) if args.compile else model
    device = torch.device("cpu")
    with autocast(device, args.precision):  # compiles
        loss = forward(**peer_batch(batches[0][0])).loss
    loss.backward()
    model.zero_grad()
    record = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "threads": torch.get_num_threads(),
        "settings": {name: value for name, value in vars(args).items() if name not in ("run", "data", "out")},
        "curve": [],
    }
    seconds = cpu_seconds = total = 0.0
    start, start_cpu = time.perf_counter(), time.process_time()
    for step in range(1, args.steps + 1):
        batch = peer_batch(batches[step - 1][0])
        total += float(plain_update(model, forward, optimizer, batch, device, args.precision))
        schedule.step()
        if step % args.every == 0 or step == args.steps:
            seconds += time.perf_counter() - start
            cpu_seconds += time.process_time() - start_cpu
            value, accuracy = heldout_loss(model, heldout, task, args.heldout_length)
            line = {"step": step, "tokens": step * args.batch_tokens, "seconds": seconds, "cpu_seconds": cpu_seconds}
            line |= {"training_loss": total / args.every, "heldout_loss": value, "heldout_accuracy": accuracy}
            record["curve"].append(line)
            total = 0.0
            print(json.dumps(line), flush=True)
            write_json(args.out, record, indent=1)
            start, start_cpu = time.perf_counter(), time.process_time()


def own_curve(directory: Path) -> dict:
    """The curve of a run directory of dokkai's in the form of the peer's."""
    record = run_record(directory)
    curve = [
        {"step": line["step"], "seconds": line["seconds"], "heldout_loss": line["heldout/masked_lm_loss"]}
        | {"heldout_accuracy": line["heldout/masked_lm_accuracy"]}
        for line in record["heldout"]
    ]
    return {"run": directory.name, "settings": record["settings"], "curve": curve}


def reached(curve: list[dict], loss: float, clock: str) -> float | None:
    """Seconds until the first evaluation at this loss or below it."""
    return next((line[clock] for line in curve if line["heldout_loss"] <= loss), None)


def plot(path: Path, peers: list[dict], own: list[dict], target: float, entropy: float) -> None:
    """Held-out loss over minutes of computing."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for run, clock, colour in [(run, "cpu_seconds", "#bab0ac") for run in peers] + [
        (run, "seconds", "#4c78a8") for run in own
    ]:
        minutes = [line[clock] / 60 for line in run["curve"]]
        axes.plot(minutes, [line["heldout_loss"] for line in run["curve"]], "-", color=colour)
        axes.annotate(run["run"], (minutes[-1], run["curve"][-1]["heldout_loss"]), (3, 3), textcoords="offset points")
    axes.axhline(entropy, color="black", linewidth=0.6, linestyle=":")
    axes.annotate("entropy of the words", (0, entropy), (3, 3), textcoords="offset points", fontsize=8)
    axes.axhline(target, color="black", linewidth=0.6, linestyle="--")
    axes.annotate("target", (0, target), (3, 3), textcoords="offset points", fontsize=8)
    axes.set_xlabel("minutes of computing on one core")
    axes.set_ylabel("held-out masked-LM loss")
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)


def compare(args: argparse.Namespace) -> None:
    """Put the curves side by side and say who reached the target when."""
    corpus = Corpus.open(args.data, "train")
    counts = corpus.token_counts(load_tokenizer(corpus.tokenizer_directory).vocab_size)
    shares = counts[counts > 0] / counts.sum()
    entropy = float(-(shares * np.log(shares)).sum())
    peers = [{"run": path.stem, **json.loads(path.read_text())} for path in args.peers]
    own = [own_curve(directory) for directory in args.own]
    best = min(run["curve"][-1]["heldout_loss"] for run in peers)
    target = min(best, entropy - BELOW) if best <= entropy - BELOW else entropy - BELOW
    runs = peers + own
    for run in runs:
        run["seconds_to_target"] = reached(run["curve"], target, "cpu_seconds" if run in peers else "seconds")
    write_result(
        "race",
        "python benchmarks/race.py " + " ".join(sys.argv[1:]),
        runs,
        args.note,
        versions=versions("dokkai", "torch", "transformers"),
        entropy_of_the_words=entropy,
        target=target,
    )
    plot(PICTURES / "race.png", peers, own, target, entropy)
    print(json.dumps({run["run"]: run["seconds_to_target"] for run in runs} | {"target": target}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="run", required=True)
    one = parts.add_parser("peer")
    one.add_argument("--data", type=Path, required=True)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--rate", type=float, default=1e-3)
    one.add_argument("--steps", type=int, default=5000)
    one.add_argument("--shape", default="tiny")
    one.add_argument("--length", type=int, default=32)
    one.add_argument("--batch-tokens", type=int, default=2048)
    one.add_argument("--heldout-length", type=int, default=32)
    one.add_argument("--heldout-sequences", type=int, default=2000)
    one.add_argument("--initializer-range", type=float, default=0.02)
    one.add_argument("--every", type=int, default=250)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    one.add_argument("--compile", action="store_true")
    two = parts.add_parser("compare")
    two.add_argument("--data", type=Path, required=True)
    two.add_argument("--peers", type=Path, nargs="+", required=True)
    two.add_argument("--own", type=Path, nargs="+", required=True)
    two.add_argument("--note", action="append", default=[])
    args = parser.parse_args()
    peer(args) if args.run == "peer" else compare(args)


if __name__ == "__main__":
    main()
