"""`dokkai predict` beside transformers: python benchmarks/predict.py -> results/predict-{texts,questions}-SHAPE.json

A model with random weights is saved by dokkai; both sides open that directory, read the same JSON lines and write JSON
lines. *texts*: labels for texts of mixed lengths; the peer is the text-classification pipeline. *questions*: SQuAD with
windows up to 384; transformers 5 has no pipeline for it any more, so the peer is a plain loop: the fast tokenizer with
overlapping windows, batches padded to their longest, the n best spans as in its question-answering script. The
peer is given batches of 1, 8 and 32. "sorted" is the peer with records sorted by length beforehand,
which nothing in it does by itself. Seconds are those from the loaded model to the last line; starting is apart.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import PICTURES, RESULTS, alternate, articles, bar_plot, environment, medians, versions, write_result

LENGTH, OVERLAP = 384, 128
STRIDE = 237  # between window starts: 384, less 3 special tokens, 16 of the question and the overlap of 128
LABELS = ("one", "two", "three", "four")
BATCHES = (1, 8, 32)
BEST, LONGEST = 20, 30  # answers kept, tokens of an answer


def make(task: str, folder: Path, shape: str, vocabulary: Path, data: Path, number: int) -> None:
    """A model and a file of records."""
    import torch

    from dokkai.model.config import shape_config
    from dokkai.model.heads import Model
    from dokkai.pipeline import Pipeline
    from dokkai.settings import ClassificationSettings, QuestionAnsweringSettings
    from dokkai.tasks import create_task
    from dokkai.tokenization import load_tokenizer

    tokenizer = load_tokenizer(vocabulary)
    if task == "texts":
        made = create_task(ClassificationSettings(max_length=LENGTH), tokenizer, LABELS)
    else:
        made = create_task(QuestionAnsweringSettings(max_length=LENGTH, stride=STRIDE), tokenizer)
    config = shape_config(shape, vocab_size=tokenizer.vocab_size, initializer_range=0.05)
    model = Model(config, made.heads, num_labels=len(LABELS), seed=1)
    Pipeline(model, tokenizer, made, torch.device("cpu")).save(folder / "model")
    paragraphs = [paragraph for article in articles(data) for paragraph in article["paragraphs"]]
    pairs = [(q["question"], p["context"]) for p in paragraphs for q in p["qas"]]
    pairs = pairs[:: max(1, len(pairs) // number)][:number]
    with (folder / "records.jsonl").open("w") as file:
        for index, (question, context) in enumerate(pairs):
            # A short, a long and a very long text in turn: a question, a paragraph, a paragraph with what follows.
            text = (question, context, f"{context} {pairs[index - 1][1]}")[index % 3]
            record = {"text": text} if task == "texts" else {"question": question, "context": context}
            file.write(json.dumps({"id": str(index)} | record) + "\n")


def run_dokkai(folder: Path, file: Path) -> None:
    """The command itself, with a clock around the loading of the model."""
    from dokkai import cli, predicting

    load, loaded = predicting.load, []

    def timed(*args):
        pipeline = load(*args)
        loaded.append(time.perf_counter())
        return pipeline

    predicting.load = timed
    sys.argv = ["dokkai", "predict", str(folder / "model"), str(file)]
    try:
        cli.main()
    finally:
        print(json.dumps({"seconds": time.perf_counter() - loaded[0]}), file=sys.stderr)


def run_peer(task: str, folder: Path, file: Path, batch_size: int, is_sorted: bool) -> None:
    """The same records through transformers."""
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer, pipeline

    from dokkai.model.device import autocast, choose_precision

    device = torch.device("cpu")
    if task == "texts":
        classify = pipeline("text-classification", str(folder / "model"), device="cpu", dtype=torch.float32)
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder / "model")
        model = AutoModelForQuestionAnswering.from_pretrained(folder / "model", dtype=torch.float32).eval()
    start = time.perf_counter()
    records = [json.loads(line) for line in file.read_text().splitlines()]
    order = list(range(len(records)))
    if is_sorted:
        order.sort(key=lambda i: -sum(map(len, records[i].values())))
    chosen = [records[i] for i in order]
    with torch.inference_mode(), autocast(device, choose_precision("auto", device)):
        if task == "texts":
            texts = [record["text"] for record in chosen]
            found = classify(texts, batch_size=batch_size, top_k=None, truncation=True, max_length=LENGTH)
        else:
            found = read_questions(model, tokenizer, chosen, batch_size, is_sorted)
    outputs = dict(zip(order, found, strict=True))
    for index, record in enumerate(records):
        output = outputs[index]
        if task == "texts":
            scores = {item["label"]: item["score"] for item in output}
            output = {"label": max(scores, key=scores.get), "probabilities": scores}
        print(json.dumps({"id": record["id"]} | output, ensure_ascii=False))
    sys.stdout.flush()
    print(json.dumps({"seconds": time.perf_counter() - start}), file=sys.stderr)


def read_questions(model, tokenizer, records: list[dict], batch_size: int, is_sorted: bool) -> list[dict]:
    """The n best answers of each question."""
    windows = tokenizer(
        [record["question"] for record in records],
        [record["context"] for record in records],
        truncation="only_second",
        max_length=LENGTH,
        stride=OVERLAP,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners, offsets = windows.pop("overflow_to_sample_mapping"), windows.pop("offset_mapping")
    order = list(range(len(owners)))
    if is_sorted:
        order.sort(key=lambda i: -len(windows["input_ids"][i]))
    spans: list[list[tuple]] = [[] for _ in records]
    for begin in range(0, len(order), batch_size):
        chosen = order[begin : begin + batch_size]
        batch = tokenizer.pad({key: [windows[key][i] for i in chosen] for key in windows}, return_tensors="pt")
        logits = model(**batch)
        for row, (starts, ends) in enumerate(zip(logits.start_logits, logits.end_logits, strict=True)):
            i = chosen[row]
            size = len(windows["input_ids"][i])
            places = [p if s == 1 else None for p, s in zip(offsets[i], windows.sequence_ids(i), strict=True)]
            spans[owners[i]] += best_spans(starts[:size].float().numpy(), ends[:size].float().numpy(), places)
    return [decide(found, record["context"]) for found, record in zip(spans, records, strict=True)]


def best_spans(starts, ends, places) -> list[tuple]:
    """Spans between the best starts and ends of a window."""
    first, last = ((-x).argsort(kind="stable")[:BEST].tolist() for x in (starts, ends))
    return [
        (float(starts[s] + ends[e]), places[s][0], places[e][1])
        for s in first
        for e in last
        if places[s] and places[e] and s <= e < s + LONGEST
    ]


def decide(spans: list[tuple], context: str) -> dict:
    """The best different texts with their probabilities."""
    import numpy as np

    kept: dict[str, tuple] = {}
    for span in sorted(spans, key=lambda item: -item[0]):
        kept.setdefault(context[span[1] : span[2]], span)
        if len(kept) == BEST:
            break
    scores = np.array([span[0] for span in kept.values()])
    shares = np.exp(scores - scores.max(initial=-np.inf))
    nbest = [
        {"answer": text, "start": span[1], "end": span[2], "probability": float(share / shares.sum())}
        for (text, span), share in zip(kept.items(), shares, strict=True)
    ]
    return (nbest[0] if nbest else {"answer": ""}) | {"nbest": nbest}


def agreement(one: Path, other: Path) -> dict:
    """The share of records with the same label or answer, and how far the probabilities of labels differ."""
    pairs = [
        [json.loads(line) for line in lines]
        for lines in zip(one.read_text().splitlines(), other.read_text().splitlines(), strict=True)
    ]
    key = "label" if "label" in pairs[0][0] else "answer"
    facts: dict = {"records": len(pairs), "same_share": sum(a[key] == b[key] for a, b in pairs) / len(pairs)}
    if key == "label":
        facts["largest_difference"] = max(
            abs(a["probabilities"][name] - b["probabilities"][name]) for a, b in pairs for name in LABELS
        )
    facts["different_outcomes"] = len({a[key] for a, _ in pairs})
    return facts


def measure_task(task: str, args: argparse.Namespace) -> None:
    """All sides on one kind of record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = [sys.executable, __file__, "--folder", name, "--task", task, "--records", str(args.records)]
        own += ["--shape", args.shape]
        places = ["--vocabulary", str(args.vocabulary), "--data", str(args.data)]
        subprocess.run([*own, *places, "--part", "make"], check=True, env=environment(args.threads))

        def run(part: str, file: Path, out: str, batch: int = 0) -> dict:
            command = [*own, "--part", part, "--file", str(file), "--batch", str(batch)]
            start = time.perf_counter()
            with (folder / out).open("w") as stdout:
                done = subprocess.run(
                    command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment(args.threads)
                )
            if done.returncode:
                sys.exit(done.stderr)
            facts = json.loads(done.stderr.splitlines()[-1]) | {"all_seconds": time.perf_counter() - start}
            number = len(file.read_text().splitlines())
            return facts | {"records_per_second": number / facts["seconds"]}

        kind = "pipeline" if task == "texts" else "loop"
        parts = {"dokkai": ("dokkai", 0)}
        parts |= {f"transformers {kind}, batch {size}": ("peer", size) for size in BATCHES}
        parts |= {"transformers, sorted, batch 32": ("sorted", 32)}

        def measure(side: str) -> dict:
            part, size = parts[side]
            return run(part, folder / "records.jsonl", f"{part}{size}.out", size)

        runs = alternate(list(parts), args.repetitions, measure, warm_up=False)
        own_lines = folder / "dokkai0.out"
        others = {side: folder / f"{part}{size}.out" for side, (part, size) in parts.items() if part != "dokkai"}
        agreements = {side: agreement(own_lines, lines) for side, lines in others.items()}
    middle = medians(runs, ("seconds", "records_per_second", "all_seconds"))
    result = f"predict-{task}-{args.shape}"
    options = f"--task {task} --shape {args.shape} --repetitions {args.repetitions} --records {args.records}"
    best = max(item["records_per_second"] for side, item in middle.items() if side != "dokkai")
    write_result(
        result,
        f"python benchmarks/predict.py {options}",
        runs,
        [f"{args.shape}, random weights, {args.threads} threads; seconds without starting, all_seconds with it"],
        out=args.out and args.out / f"{result}.json",
        versions=versions("dokkai", "torch", "transformers", "tokenizers"),
        shape=args.shape,
        max_length=LENGTH,
        compare={"value": "records_per_second", "unit": "records/s"},
        medians=middle,
        ratio_to_the_best=middle["dokkai"]["records_per_second"] / best,
        agreement_with_dokkai=agreements,
    )
    bars = {side: [run["records_per_second"] for run in runs if run["side"] == side] for side in parts}
    title = {"texts": "Labels for texts of mixed lengths", "questions": "Answers to SQuAD questions"}[task]
    bar_plot((args.out or PICTURES) / f"{result}.png", f"{title}, {args.shape}", "records per second", bars)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("DOKKAI_DATA", ".")) / "squad" / "dev-v1.1.json.xz"
    parser.add_argument("--task", choices=("texts", "questions"), help="unset: both")
    parser.add_argument("--shape", default="L6-H384")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--records", type=int, default=240)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--vocabulary", type=Path, default=RESULTS.parent.parent / "runs" / "vocab-en")
    parser.add_argument("--data", type=Path, default=data, help="SQuAD dev, .json.xz")
    parser.add_argument("--out", type=Path, help="another folder for the result and the picture")
    parser.add_argument("--part", choices=("make", "dokkai", "peer", "sorted"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part == "make":
        make(args.task, args.folder, args.shape, args.vocabulary, args.data, args.records)
    elif args.part == "dokkai":
        run_dokkai(args.folder, args.file)
    elif args.part:
        run_peer(args.task, args.folder, args.file, args.batch, args.part == "sorted")
    else:
        for task in (args.task,) if args.task else ("texts", "questions"):
            measure_task(task, args)


if __name__ == "__main__":
    main()
