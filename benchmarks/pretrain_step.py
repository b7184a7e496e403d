"""Updates of a pre-training beside transformers: python benchmarks/pretrain_step.py -> results/pretrain-step.json

One update is forward, loss, backward, clipping and AdamW, on the same sequences with the same 15 % of their tokens
masked. Sides: ``BertForMaskedLM`` (attention as it comes, SDPA) in a plain loop, eager and compiled, and in
``transformers``' own ``Trainer``; dokkai's model, loss, loop and optimizer, eager and compiled. Precision is bf16
autocast on both sides where the machine is fast in it, else float32. Each side lives in a process of its own, which
is started, compiled and warmed up once; then they are asked in turn, one at a time, while the others sleep.

FLOPs of an update, 2 for each multiplication with addition, three times the forward (the backward is two forwards):
``3 * (tokens * layers * (2 * (4 * D * D + 2 * D * F) + 4 * L * D) + places * 2 * (D * D + D * V))`` with D hidden
size, F = 4 D, L length, V vocabulary; ``places`` are those where the head guesses: the masked ones for dokkai, all for
the peer. ``own_share`` is a side's own FLOPs/s by the machine's matrix rate, ``needed_share`` counts the masked places
alone, for both.

The same file says how well both sides agree: from equal weights (dokkai's checkpoint, opened by transformers) the loss
of every update of a short training without dropout.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from measuring import PICTURES, alternate, bar_plot, environment, matrix_rate, medians, versions, write_result
from workers import Clock, Worker, answers

SIDES = ("peer eager", "peer compiled", "peer Trainer", "dokkai eager", "dokkai compiled")
VOCABULARY = 30522
RATE, BETA2, EPSILON, DECAY, CLIP = 1e-4, 0.999, 1e-6, 0.01, 1.0
LIMIT = 0.01  # largest relative difference of the losses


def make(directory: Path, shape: str, length: int, model_type: str = "bert") -> None:
    """A vocabulary, and a model with random weights as dokkai saves it."""
    from dokkai.model.checkpoint import save_model
    from dokkai.model.config import shape_config
    from dokkai.model.heads import Model

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(VOCABULARY - 5))]
    (directory / "vocab.txt").write_text("\n".join(words) + "\n")
    save_model(
        Model(shape_config(shape, vocab_size=VOCABULARY, model_type=model_type), ("masked_lm",), seed=1), directory
    )


def make_task(directory: Path):
    """dokkai's task: masked words alone, on full sequences."""
    from dokkai.settings import PretrainingSettings
    from dokkai.tasks.pretraining import Pretraining
    from dokkai.tokenization import load_tokenizer

    return Pretraining(PretrainingSettings(next_sentence=False), load_tokenizer(directory))


def make_features(task, number: int, length: int) -> list:
    """Masked sequences whose words are as rare as in text (Zipf), the same in every process."""
    import numpy as np

    from dokkai.data import masking
    from dokkai.tasks.pretraining import MaskedSequence

    rng = np.random.default_rng(0)
    words = task.vocabulary
    rarity = 1 / np.arange(10, 10 + len(words.regular_ids))
    rarity /= rarity.sum()
    features = []
    for _ in range(number):
        ids = rng.choice(words.regular_ids, length, p=rarity).astype(np.int32)
        ids[0], ids[-1] = words.cls_id, words.sep_id
        most = masking.max_predictions(length, 0.15)
        masked = masking.mask(ids, words, 0.15, most, False, rng)
        features.append(MaskedSequence(masked[0], np.zeros(length, np.int8), masked[1], masked[2], False))
    return features


def peer_batch(task, features: list, length: int) -> dict:
    """What transformers' model takes: labels -100 where nothing is masked; no mask, since nothing is padded."""
    from peer import dense_labels

    batch = task.collate(features, length)
    return {name: batch[name] for name in ("input_ids", "token_type_ids")} | {"labels": dense_labels(batch)}


def peer_model(directory: Path, dropout: float):
    """``BertForMaskedLM`` with this dropout, in training."""
    from transformers import BertForMaskedLM

    changes = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return BertForMaskedLM.from_pretrained(directory, local_files_only=True, **changes).train()


def peer_update(model, forward: Callable, batches: list[dict], device, precision: str) -> Callable[[int], float]:
    """A plain loop with the fused AdamW."""
    import torch
    from peer import decayed_groups, plain_update

    groups = decayed_groups(model, DECAY)
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, BETA2), eps=EPSILON, fused=True)
    return lambda number: plain_update(model, forward, optimizer, batches[number % len(batches)], device, precision)


def dokkai_update(directory: Path, task, batches: list[dict], dropout: float, compiled: bool, device, precision: str):
    """An update as ``training/loop.py`` makes it, by its own functions."""
    from dokkai.model.checkpoint import load_model
    from dokkai.settings import TrainSettings
    from dokkai.training.bert_adam import clip_gradients
    from dokkai.training.loop import _accumulate, _compiled
    from dokkai.training.memory import keep_freed_memory
    from dokkai.training.optimizer import create_optimizers
    from dokkai.training.schedule import RunLength

    keep_freed_memory()
    values = {"learning_rate": RATE, "weight_decay": DECAY, "beta2": BETA2, "epsilon": EPSILON, "clip_norm": CLIP}
    settings = TrainSettings(**values, compile="on" if compiled else "off")
    model, _ = load_model(directory, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    model.to(device).train()
    optimizers = create_optimizers(model, settings)
    forward = _compiled(model, task, settings, RunLength(1_000_000, is_time=False), device)

    def update(number: int):
        losses = _accumulate(forward, task, [batches[number % len(batches)]], device, precision)
        clip_gradients(model.parameters(), settings.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        return losses["masked_lm"]

    return update


def run_trainer(model, rows: list[dict], batch: int, precision: str, clock: Clock, folder: str) -> None:
    """``Trainer``'s own loop; a callback keeps the time."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Tick(TrainerCallback):
        def on_step_end(self, args, state, control, **other) -> None:
            clock.tick()

    values = {"learning_rate": RATE, "adam_beta2": BETA2, "adam_epsilon": EPSILON, "weight_decay": DECAY}
    quiet = {"logging_strategy": "no", "save_strategy": "no", "report_to": "none", "disable_tqdm": True}
    arguments = TrainingArguments(
        folder,
        max_steps=1_000_000,
        per_device_train_batch_size=batch,
        bf16=precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        **values,
        **quiet,
    )
    Trainer(model, arguments, train_dataset=rows, callbacks=[Tick()]).train()


def work(args: argparse.Namespace) -> None:
    """One side in this process: asked for updates until nobody asks, or (``--equal``) the losses of some."""
    out = answers()
    import torch

    from dokkai.model.device import choose_device, choose_precision

    torch.manual_seed(0)
    device = choose_device()
    precision = choose_precision("auto", device)
    task = make_task(args.directory)
    number = args.equal or 4
    features = make_features(task, number * args.batch, args.length)
    parts = [features[start : start + args.batch] for start in range(0, len(features), args.batch)]
    side = args.side
    if side.startswith("dokkai"):
        batches = [task.collate(part, args.length) for part in parts]
        update = dokkai_update(args.directory, task, batches, args.dropout, "comp" in side, device, precision)
    else:
        batches = [peer_batch(task, part, args.length) for part in parts]
        model = peer_model(args.directory, args.dropout).to(device)
        if side == "peer Trainer":
            rows = [{name: values[row] for name, values in b.items()} for b in batches for row in range(args.batch)]
            with tempfile.TemporaryDirectory() as folder:
                run_trainer(model, rows, args.batch, precision, Clock(out), folder)
            return
        update = peer_update(model, torch.compile(model) if "comp" in side else model, batches, device, precision)
    if args.equal:
        print(json.dumps([float(update(number)) for number in range(args.equal)]), file=out, flush=True)
        return
    clock = Clock(out)
    for number in range(1_000_000):
        update(number)
        clock.tick()


def flops(shape: str, batch: int, length: int, places: int) -> float:
    """Of one update; the formula stands above."""
    from dokkai.model.config import shape_config

    config = shape_config(shape, vocab_size=VOCABULARY)
    D, F = config.hidden_size, config.intermediate_size
    token = config.num_hidden_layers * (2 * (4 * D * D + 2 * D * F) + 4 * length * D)
    return 3.0 * (batch * length * token + places * 2 * (D * D + D * VOCABULARY))


def equal_updates(args: argparse.Namespace, directory: str) -> dict:
    """The losses of both sides over the same updates from the same weights, without dropout."""
    words = [sys.executable, __file__, "--length", str(args.length), "--batch", "8", "--dropout", "0"]
    words += ["--equal", str(args.updates), "--directory", directory, "--side"]
    losses = {}
    for side in ("peer eager", "dokkai eager"):
        done = subprocess.run(
            [*words, side], stdout=subprocess.PIPE, text=True, check=True, env=environment(args.threads)
        )
        losses[side] = json.loads(done.stdout)
    pairs = zip(*losses.values(), strict=True)
    largest = max(abs(peer - own) / peer for peer, own in pairs)
    return {"batch": 8, "losses": losses, "largest_relative_difference": largest, "is_within_limit": largest < LIMIT}


def measure(args: argparse.Namespace, directory: str, dropout: float, places: int) -> list[dict]:
    """All sides at this dropout, in turn."""
    chosen = {f"{side} {batch}": (side, batch) for batch in args.batches for side in args.sides}
    chosen |= {f"{SIDES[3]} {batch}": (SIDES[3], batch) for batch in args.own_batches}
    workers: dict[str, Worker] = {}
    try:
        for name, (side, batch) in chosen.items():
            print(f"starting {name}, dropout {dropout:g}", file=sys.stderr, flush=True)
            words = [__file__, "--shape", args.shape, "--length", args.length, "--side", side, "--batch", batch]
            words += ["--dropout", dropout, "--directory", directory]
            workers[name] = Worker(words, args.threads)
        runs = alternate(list(chosen), args.repetitions, lambda name: workers[name].run(args.seconds), warm_up=False)
    finally:
        for worker in workers.values():
            worker.stop()
    for run in runs:
        name = run["side"]
        side, batch = chosen[name]
        own = flops(args.shape, batch, args.length, batch * (places if "dokkai" in side else args.length))
        needed = flops(args.shape, batch, args.length, batch * places)
        speed = run["rounds"] / run["seconds"]
        run |= {"side": side, "batch": batch, "dropout": dropout, "tokens_per_second": speed * batch * args.length}
        run |= {"own_gflops": speed * own / 1e9, "needed_gflops": speed * needed / 1e9}
        run["start_seconds"] = workers[name].start_seconds
    return runs


def summary(runs: list[dict], rate: float) -> dict:
    """Medians of each side, its shares of the matrix rate, and how many times faster dokkai is at the same batch."""
    keyed = [run | {"key": f"{run['side']}, batch {run['batch']}, dropout {run['dropout']:g}"} for run in runs]
    values = ("tokens_per_second", "own_gflops", "needed_gflops", "cpu_seconds", "peak_mb")
    middle = medians(keyed, values, "key")
    for item in middle.values():
        item |= {"own_share": item["own_gflops"] / rate, "needed_share": item["needed_gflops"] / rate}
    ratios = {}
    for key, item in middle.items():
        for kind in ("eager", "compiled"):
            own = middle.get(key.replace("peer Trainer", f"dokkai {kind}").replace(f"peer {kind}", f"dokkai {kind}"))
            if key.startswith("peer") and own not in (None, item):
                ratios[f"dokkai {kind} by {key}"] = own["tokens_per_second"] / item["tokens_per_second"]
    return {"medians": middle, "times_faster": ratios}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="L6-H384")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batches", type=int, nargs="+", help="sequences per update (default 32; 8 from H768 on)")
    parser.add_argument("--own-batches", type=int, nargs="*", help="more, for dokkai eager (default: twice as many)")
    parser.add_argument("--dropouts", type=float, nargs="+", default=[0.1, 0.0])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each repetition, one update at least")
    parser.add_argument("--updates", type=int, default=12, help="whose losses are compared")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="instead of results/pretrain-step.json (-SHAPE if not L6-H384)")
    for name, kind in (("side", str), ("batch", int), ("dropout", float), ("equal", int), ("directory", Path)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.batches is None:
        args.batches = [32] if int(args.shape.partition("-H")[2] or 768) < 768 else [8]
    if args.own_batches is None:
        args.own_batches = [2 * batch for batch in args.batches]
    return args


def main() -> None:
    args = parse()
    if args.side:
        work(args)
        return
    from dokkai.model.device import choose_device, choose_precision

    name = "pretrain-step" + ("" if args.shape == "L6-H384" else f"-{args.shape}")
    precision = choose_precision("auto", choose_device())
    kind = "bfloat16" if precision == "bf16" else "float32"
    rates = [matrix_rate(kind, args.threads)]
    with tempfile.TemporaryDirectory() as directory:
        make(Path(directory), args.shape, args.length)
        places = len(make_features(make_task(Path(directory)), 1, args.length)[0].positions)
        equal = equal_updates(args, directory)
        runs = [run for dropout in args.dropouts for run in measure(args, directory, dropout, places)]
    rates.append(matrix_rate(kind, args.threads))
    figures = summary(runs, max(rates))
    path = write_result(
        args.out.stem if args.out else name,
        "python benchmarks/pretrain_step.py " + " ".join(sys.argv[1:]),
        runs,
        out=args.out,
        versions=versions("dokkai", "torch", "transformers", "accelerate"),
        shape={"shape": args.shape, "vocabulary": VOCABULARY, "length": args.length, "masked_per_sequence": places},
        threads=args.threads,
        precision=precision,
        limit_gflops={"before": rates[0], "after": rates[1]},
        equal_updates=equal,
        **figures,
    )
    bars = {}
    for run in runs:
        label = f"{run['side']}, batch {run['batch']}, dropout {run['dropout']:g}"
        bars.setdefault(label, []).append(run["tokens_per_second"])
    bars = dict(sorted(bars.items(), key=lambda item: ("dropout 0.1" not in item[0], "dokkai" not in item[0])))
    picture = PICTURES if args.out is None else args.out.parent
    bar_plot(picture / f"{path.stem}.png", f"Pre-training, {args.shape}, {precision}", "tokens/s", bars)
    print(json.dumps(figures | {"equal_updates": equal["largest_relative_difference"]}, indent=1))


if __name__ == "__main__":
    main()
