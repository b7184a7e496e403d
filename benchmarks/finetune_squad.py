"""Fine-tuning on SQuAD beside transformers: python benchmarks/finetune_squad.py -> results/finetune-squad.json

A repetition is one pass over the windows of some random questions of the training file (``$DOKKAI_DATA/squad``), with
dropout 0.1, clipping and AdamW; questions/s is the number of questions by its time. Sides, each in a process of its
own, asked in turn:

- ``shipped``: the question-answering example of transformers as it ships (``examples/pytorch/question-answering/
  run_qa.py``; the script is not in the package, so its preprocessing and its loop are written here after it):
  max_seq_length 384, doc_stride 128 (the overlap), pad_to_max_length, batches of 8, random order;
- ``dynamic``: the same with padding to the longest of a batch, which are grouped by length with transformers'
  ``get_length_grouped_indices``, in batches of 8, 16 and 32, and compiled with dynamic shapes: the best counts;
- ``dokkai``: ``FeatureBatches`` (batches of near-equal length, of 32) and the loop's ``_accumulate``.

Both see the same windows: here the distance of dokkai's is what is left of the overlap for each question. Weights are
random, opened by both from one directory. Precision is bf16 autocast on both sides where the machine is fast in it.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from pathlib import Path

from measuring import PICTURES, alternate, bar_plot, medians, versions, write_result
from workers import Clock, Worker, answers

LENGTH, OVERLAP = 384, 128
RATE, EPSILON, CLIP = 3e-5, 1e-8, 1.0
SIDES = ("shipped 8", "dynamic 8", "dynamic 16", "dynamic 32", "dynamic 16 compiled", "dokkai 32")


def data(*parts: str) -> Path:
    """A file of the development data."""
    if not os.environ.get("DOKKAI_DATA"):
        raise SystemExit("set DOKKAI_DATA to the folder that holds squad/train-v1.1.json.xz and vocab/")
    return Path(os.environ["DOKKAI_DATA"], *parts)


def choose(path: Path, number: int) -> list:
    """Random questions, the same in every process."""
    from dokkai.data.squad import read_squad

    questions = read_squad(path)
    return random.Random(0).sample(questions, min(number, len(questions)))


def make(directory: Path, shape: str) -> None:
    """A model with random weights and the published vocabulary, as dokkai saves it."""
    from dokkai.model.checkpoint import save_model
    from dokkai.model.config import shape_config
    from dokkai.model.heads import Model

    words = data("vocab", "bert-base-uncased.vocab.txt").read_text(encoding="utf-8")
    (directory / "vocab.txt").write_text(words, encoding="utf-8")
    save_model(Model(shape_config(shape, vocab_size=len(words.splitlines())), ("span",), seed=1), directory)


def own_features(directory: Path, questions: list):
    """dokkai's task, and its windows in the order of the questions, with the overlap that the peer has."""
    from dokkai.settings import QuestionAnsweringSettings
    from dokkai.tasks import QuestionAnswering
    from dokkai.tokenization import load_tokenizer

    tokenizer = load_tokenizer(directory)
    by_stride: dict[int, list] = {}
    for item, asked in zip(questions, tokenizer.tokens_batch([item.question for item in questions]), strict=True):
        by_stride.setdefault(LENGTH - 3 - min(len(asked), 64) - OVERLAP, []).append(item)
    features = []
    for stride, group in by_stride.items():
        task = QuestionAnswering(QuestionAnsweringSettings(max_length=LENGTH, stride=stride), tokenizer)
        features += task.encode(group, training=True)
    return task, features


def peer_features(directory: Path, questions: list, padding: bool) -> list[dict]:
    """``prepare_train_features`` of the example: windows with the answer's tokens, or [CLS] where there is none."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, do_lower_case=True)
    tokenized = tokenizer(
        [item.question.lstrip() for item in questions],
        [item.context for item in questions],
        truncation="only_second",
        max_length=LENGTH,
        stride=OVERLAP,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length" if padding else False,
    )
    features = []
    for row, offsets in enumerate(tokenized["offset_mapping"]):
        answer = questions[tokenized["overflow_to_sample_mapping"][row]].answers[0]
        begin, stop = answer.start, answer.start + len(answer.text)
        inside = [place for place, sequence in enumerate(tokenized.sequence_ids(row)) if sequence == 1]
        start, end = inside[0], inside[-1]
        if offsets[start][0] <= begin and offsets[end][1] >= stop:
            start = max(place for place in inside if offsets[place][0] <= begin)
            end = min(place for place in inside if offsets[place][1] >= stop)
        else:
            start = end = 0
        names = ("input_ids", "token_type_ids", "attention_mask")
        features.append(
            {name: tokenized[name][row] for name in names} | {"start_positions": start, "end_positions": end}
        )
    return features


def own_pass(directory: Path, questions: list, batch: int, device, precision: str):
    """One pass with dokkai's batches, model, loop and optimizer; and the share of its tokens that are no padding."""
    from dokkai.model.checkpoint import load_model
    from dokkai.settings import TrainSettings
    from dokkai.training.bert_adam import clip_gradients
    from dokkai.training.finetune import FeatureBatches
    from dokkai.training.lookups import keep_rows, make_matrices
    from dokkai.training.loop import _accumulate
    from dokkai.training.memory import keep_freed_memory
    from dokkai.training.optimizer import create_optimizers

    keep_freed_memory()
    task, features = own_features(directory, questions)
    values = {"learning_rate": RATE, "epsilon": EPSILON, "weight_decay": 0.0, "clip_norm": CLIP}
    settings = TrainSettings(**values, batch_size=batch, epochs=1000.0)
    batches = FeatureBatches(task, features, settings, device)
    per_pass = -(-len(features) // batch)
    model, _ = load_model(directory)
    model.to(device).train()
    keep_rows(model, device)
    optimizers = create_optimizers(model, settings)

    def one_pass(number: int) -> None:
        for step in range(number * per_pass, (number + 1) * per_pass):
            _accumulate(model, task, batches[step], device, precision)
            make_matrices(model)
            clip_gradients(model.parameters(), settings.clip_norm)
            for optimizer in optimizers:
                optimizer.step()
            model.zero_grad(set_to_none=True)

    padded = sum(part["input_ids"].numel() for step in range(per_pass) for part in batches[step])
    return one_pass, {"windows": len(features), "real_share": sum(len(f.input_ids) for f in features) / padded}


def peer_pass(directory: Path, questions: list, side: str, device, precision: str):
    """One pass of the example's loop, as it ships or with its best settings."""
    import torch
    from peer import plain_update
    from torch.utils.data import DataLoader, RandomSampler
    from transformers import BertForQuestionAnswering
    from transformers.trainer_pt_utils import get_length_grouped_indices

    shipped, batch = side.startswith("shipped"), int(side.split()[1])
    features = peer_features(directory, questions, padding=shipped)

    def collate(rows: list[dict]) -> dict:
        longest = max(len(row["input_ids"]) for row in rows)
        return {  # 0 is [PAD], the first segment and no attention
            name: torch.tensor([row[name] + [0] * (longest - len(row[name])) for row in rows])
            if isinstance(rows[0][name], list)
            else torch.tensor([row[name] for row in rows])
            for name in rows[0]
        }

    lengths = [sum(row["attention_mask"]) for row in features]

    def load() -> DataLoader:
        """50 batches are sorted together, as in a full epoch; the sampler itself takes fewer of so few windows."""
        grouped = get_length_grouped_indices(lengths, batch, mega_batch_mult=50)
        return DataLoader(features, batch, sampler=RandomSampler(features) if shipped else grouped, collate_fn=collate)

    model = BertForQuestionAnswering.from_pretrained(directory, local_files_only=True).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, eps=EPSILON, weight_decay=0.0, fused=True)
    forward = torch.compile(model, dynamic=True) if "compiled" in side else model

    def one_pass(number: int) -> None:
        for rows in load():
            plain_update(model, forward, optimizer, rows, device, precision)

    padded = sum(rows["input_ids"].numel() for rows in load())
    return one_pass, {"windows": len(features), "real_share": sum(lengths) / padded}


def work(args: argparse.Namespace) -> None:
    """One side in this process."""
    out = answers()
    import torch

    from dokkai.model.device import choose_device, choose_precision

    torch.manual_seed(0)
    device = choose_device()
    chosen = questions(args)
    where = (device, choose_precision("auto", device))
    if args.side.startswith("dokkai"):
        one_pass, facts = own_pass(args.directory, chosen, int(args.side.split()[1]), *where)
    else:
        one_pass, facts = peer_pass(args.directory, chosen, args.side, *where)
    (args.directory / f"{args.side}.json").write_text(json.dumps(facts))
    clock = Clock(out, warm_ups=1)
    for number in range(1000):
        one_pass(number)
        clock.tick()


def questions(args: argparse.Namespace) -> list:
    """Those of a repetition."""
    return choose(data("squad", "train-v1.1.json.xz"), args.questions)


def speed(args: argparse.Namespace) -> None:
    """All sides in turn."""
    from dokkai.model.device import choose_device, choose_precision

    workers: dict[str, Worker] = {}
    with tempfile.TemporaryDirectory() as directory:
        make(Path(directory), args.shape)
        try:
            for side in args.sides:
                print(f"starting {side}", file=sys.stderr, flush=True)
                words = [__file__, "--side", side, "--directory", directory, "--questions", args.questions]
                workers[side] = Worker(words, args.threads)
            runs = alternate(args.sides, args.repetitions, lambda side: workers[side].run(0), warm_up=False)
        finally:
            for worker in workers.values():
                worker.stop()
        facts = {side: json.loads((Path(directory) / f"{side}.json").read_text()) for side in args.sides}
    if len({item["windows"] for item in facts.values()}) > 1:
        raise SystemExit(f"the sides do not see the same windows: {facts}")
    for run in runs:
        run["questions_per_second"] = args.questions * run["rounds"] / run["seconds"]
    middle = medians(runs, ("questions_per_second", "cpu_seconds", "peak_mb"))
    rates = {side: item["questions_per_second"] for side, item in middle.items()}
    own = max((rate for side, rate in rates.items() if side.startswith("dokkai")), default=None)
    best = {kind: max((rates[s] for s in rates if s.startswith(kind)), default=None) for kind in ("shipped", "dynamic")}
    faster = {kind: own / rate for kind, rate in best.items() if own and rate}
    path = write_result(
        args.out.stem if args.out else "finetune-squad",
        "python benchmarks/finetune_squad.py " + " ".join(sys.argv[1:]),
        runs,
        out=args.out,
        versions=versions("dokkai", "torch", "transformers", "tokenizers"),
        shape=args.shape,
        questions=args.questions,
        precision=choose_precision("auto", choose_device()),
        threads=args.threads,
        facts=facts,
        medians=middle,
        times_faster=faster,
    )
    bars = {side: [run["questions_per_second"] for run in runs if run["side"] == side] for side in args.sides[::-1]}
    title = f"Fine-tuning {args.shape} on SQuAD, windows up to {LENGTH}"
    bar_plot((args.out.parent if args.out else PICTURES) / f"{path.stem}.png", title, "questions/s", bars)
    print(json.dumps({"medians": middle, "times_faster": faster, "facts": facts}, indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="L6-H384")
    parser.add_argument("--questions", type=int, default=160, help="to train on")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="instead of the file in results/")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse()
    work(args) if args.side else speed(args)


if __name__ == "__main__":
    main()
