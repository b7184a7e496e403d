"""Time to quality: which of two reaches a held-out masked-LM loss sooner, on the same text, masks and machine?

    python benchmarks/race.py peer --data DIR --rate 1e-3 --steps 1000 --out FILE.json

The peer is the BERT of ``transformers`` of the same number of parameters in a plain loop: AdamW, warm-up, linear fall.
It gets dokkai's batches (so its input costs no more than ours), every position's logits, as its class computes them,
and dokkai's held-out masks. The clock stops while it compiles and while it is evaluated.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import transformers

from dokkai.data.shards import Corpus
from dokkai.settings import load_settings
from dokkai.tasks.pretraining import Pretraining, PretrainingBatches
from dokkai.tokenization import load_tokenizer

NO_LABEL = -100


def peer_batch(batch: dict) -> dict:
    """Our list of masked positions as the labels of transformers: one for each position."""
    labels = torch.full((batch["input_ids"].numel(),), NO_LABEL)
    real = batch["masked_labels"] != NO_LABEL
    labels[batch["masked_positions"][real]] = batch["masked_labels"][real]
    return {"input_ids": batch["input_ids"], "labels": labels.view(batch["input_ids"].shape)}


@torch.inference_mode()
def heldout_loss(model, features: list, task: Pretraining, length: int) -> tuple[float, float]:
    """Mean loss and accuracy over all held-out masked tokens."""
    model.eval()
    loss = hits = count = 0.0
    for start in range(0, len(features), 64):
        batch = peer_batch(task.collate(features[start : start + 64], length))
        logits = model(input_ids=batch["input_ids"]).logits
        labels = batch["labels"]
        loss += float(
            torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), labels.view(-1), reduction="sum")
        )
        hits += int((logits.argmax(-1) == labels).sum())
        count += int((labels != NO_LABEL).sum())
    model.train()
    return loss / count, hits / count


def peer(args: argparse.Namespace) -> None:
    """Train the peer and write its curve."""
    torch.manual_seed(args.seed)
    settings = load_settings(
        "mini-en",
        [
            "task.masked_share=0.15",
            f"task.lengths=[{args.length}]",
            "task.length_shares=[1.0]",
            f"task.heldout_length={args.heldout_length}",
            f"task.heldout_sequences={args.heldout}",
            f"task.batch_tokens={args.batch_tokens}",
        ],
    )
    data = Path(args.data)
    corpus = Corpus.open(data, "train")
    tokenizer = load_tokenizer(corpus.tokenizer_directory)
    task = Pretraining(settings.task, tokenizer)
    heldout = task.heldout(Corpus.open(data, "heldout"))
    batches = PretrainingBatches(task, corpus, args.steps, 0, args.batch_tokens, args.seed)
    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=max(1, args.hidden // 64),
        intermediate_size=4 * args.hidden,
        hidden_dropout_prob=args.dropout,
        attention_probs_dropout_prob=args.dropout,
    )
    model = transformers.BertForMaskedLM(config).train()
    parameters = sum(p.numel() for p in model.parameters())
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}],
        lr=args.rate,
        betas=(0.9, 0.98),
        eps=1e-6,
        fused=True,
    )
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(0.1 * args.steps), args.steps)
    forward = torch.compile(model) if args.compile else model
    if args.compile:
        forward(**peer_batch(batches[0][0])).loss.backward()
        model.zero_grad()
    curve, seconds, cpu, mean = [], 0.0, 0.0, 0.0
    started, started_cpu = time.perf_counter(), time.process_time()
    for step in range(args.steps):
        loss = forward(**peer_batch(batches[step][0])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        mean += float(loss.detach())
        if (step + 1) % args.every == 0 or step + 1 == args.steps:
            seconds += time.perf_counter() - started
            cpu += time.process_time() - started_cpu
            value, accuracy = heldout_loss(model, heldout, task, args.heldout_length)
            line = {
                "step": step + 1,
                "tokens": (step + 1) * args.batch_tokens,
                "seconds": round(seconds, 2),
                "cpu_seconds": round(cpu, 2),
                "training_loss": round(mean / args.every, 4),
                "heldout_loss": round(value, 4),
                "heldout_accuracy": round(accuracy, 4),
            }
            mean = 0.0
            curve.append(line)
            print(json.dumps(line), flush=True)
            Path(args.out).write_text(
                json.dumps({"parameters": parameters, "settings": vars(args), "curve": curve}, indent=1)
            )
            started, started_cpu = time.perf_counter(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("who", choices=["peer"])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--heldout-length", type=int, default=128)
    parser.add_argument("--heldout", type=int, default=500)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--init", type=float, default=0.02)
    parser.add_argument("--every", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    peer(args)


if __name__ == "__main__":
    main()
