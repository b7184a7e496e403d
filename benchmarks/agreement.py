"""Does dokkai learn what transformers learns? python benchmarks/agreement.py -> results/agreement-START.json

MRPC and SQuAD 1.1 (random questions of ``$DOKKAI_DATA/squad``, the same for all) are fine-tuned from one checkpoint by

- ``dokkai``: ``dokkai finetune RECIPE``, the command itself, whose last weights count;
- ``transformers``: its tokenizer from the directory, its model, its ``Trainer``. Features and decoding are written
  after its examples ``run_glue.py`` and ``run_qa.py``, which are not in the package.

Both have the settings of the recipe with ``--set`` on top: epochs, batch size, rate, decay, clipping, lengths, dropout
(where nothing is set, that of the checkpoint). Windows of a text begin ``task.stride`` tokens apart on both sides.
What is the other's own: order and make-up of the batches (random there for MRPC, grouped by length by its own sampler
for SQuAD, where random ones would take twice the time), padding (to the longest of a batch), which weights are drawn,
the rounding of the warm-up. Weights are in float32, precision is bf16 autocast where dokkai would
choose it. Both are scored by the same functions (scikit-learn's F1; that of SQuAD's script) on the same dev file.

The same command goes on where it was stopped: what is done lies under ``--work``. With fewer ``--seeds`` it compares
what is there already.
"""

import argparse
import csv
import json
import lzma
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import ROOT, environment, versions, write_result

SIDES = ("dokkai", "transformers")
METRICS = {"mrpc": ("f1_binary", "accuracy"), "squad": ("f1", "exact")}
TRAINING_LOSS = "training_loss"  # the mean over all updates: it varies less between seeds than any score
SAMPLING = {"mrpc": "random", "squad": "group_by_length"}  # of the peer
FIXED = ["train.keep=last", "train.restarts=0", "train.calibrate=false", "train.head_rate=1"]  # as the peer
FIXED += ["train.evaluate_every=1000000000", "train.log_every=1"]
EVALUATION_BATCH = 32


def files(args: argparse.Namespace, task: str) -> list[Path]:
    """Training and dev file."""
    if task == "mrpc":
        return [args.data / "glue" / f"MRPC-{part}.tsv" for part in ("train", "dev")]
    return [
        subset(args.data / "squad" / f"{part}-v1.1.json.xz", number, args.work / f"squad-{part}-{number}.json")
        for part, number in zip(("train", "dev"), args.questions, strict=True)
    ]


def subset(source: Path, number: int, path: Path) -> Path:
    """So many random questions in the layout of SQuAD, each with its context."""
    if not path.exists():
        with lzma.open(source, "rt", encoding="utf-8") as file:
            articles = json.load(file)["data"]
        entries = [
            {"title": article["title"], "paragraphs": [{"context": paragraph["context"], "qas": [question]}]}
            for article in articles
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
        chosen = random.Random(0).sample(entries, min(number, len(entries)))
        path.write_text(json.dumps({"version": "1.1", "data": chosen}), encoding="utf-8")
    return path


# --- the peer -------------------------------------------------------------------------------------------------------


class Mrpc:
    """The steps of ``run_glue.py``."""

    model_class = "AutoModelForSequenceClassification"

    def __init__(self, tokenizer: Any, settings: Any) -> None:
        self.tokenizer, self.settings = tokenizer, settings

    def read(self, path: Path) -> list[dict[str, str]]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))

    def encode(self, rows: Sequence[dict[str, str]], training: bool) -> list[dict[str, Any]]:
        first, second = ([row[name] for row in rows] for name in ("#1 String", "#2 String"))
        encoded = self.tokenizer(first, second, max_length=self.settings.max_length, truncation=True)
        return [
            {name: encoded[name][number] for name in encoded} | {"labels": int(row["Quality"])}
            for number, row in enumerate(rows)
        ]

    def score(self, rows: Sequence[dict[str, str]], features: Sequence[dict], output: Any) -> dict[str, float]:
        from dokkai.evaluation.metrics import classification_scores

        guesses = [str(label) for label in output.argmax(-1)]
        return classification_scores([row["Quality"] for row in rows], guesses, ("0", "1"))


class Squad:
    """The steps of ``run_qa.py`` and ``utils_qa.py``."""

    model_class = "AutoModelForQuestionAnswering"

    def __init__(self, tokenizer: Any, settings: Any) -> None:
        self.tokenizer, self.settings = tokenizer, settings

    def read(self, path: Path) -> list[dict[str, Any]]:
        return [
            question | {"context": paragraph["context"]}
            for article in json.loads(path.read_text(encoding="utf-8"))["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]

    def windows(self, row: dict[str, Any]) -> Any:
        """A question at a time: the overlap that the tokenizer wants depends on the question's length."""
        asked, longest = row["question"].lstrip(), self.settings.max_length
        room = longest - 3 - len(self.tokenizer(asked, add_special_tokens=False)["input_ids"])
        return self.tokenizer(
            asked,
            row["context"],
            truncation="only_second",
            max_length=longest,
            stride=max(0, room - self.settings.stride),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )

    def encode(self, rows: Sequence[dict[str, Any]], training: bool) -> list[dict[str, Any]]:
        """For training with the answer's tokens, or [CLS] where the window has not all of it."""
        self.places: list[tuple[int, list]] = []  # of each feature its row, and the offsets of its context
        features = []
        for number, row in enumerate(rows):
            encoded = self.windows(row)
            for place, offsets in enumerate(encoded["offset_mapping"]):
                names = [name for name in self.tokenizer.model_input_names if name in encoded]
                feature = {name: encoded[name][place] for name in names}
                sequences = encoded.sequence_ids(place)
                inside = [span if sequences[at] == 1 else None for at, span in enumerate(offsets)]
                if training:
                    start, end = answer_tokens(inside, row["answers"][0])
                    feature |= {"start_positions": start, "end_positions": end}
                self.places.append((number, inside))
                features.append(feature)
        return features

    def score(self, rows: Sequence[dict[str, Any]], features: Sequence[dict], output: Any) -> dict[str, float]:
        """The best span of all windows of a question (``postprocess_qa_predictions``)."""
        from dokkai.evaluation.metrics import squad_scores

        best: dict[int, tuple[float, str]] = {}
        for (number, inside), starts, ends in zip(self.places, *output, strict=True):
            for score, begin, stop in self.spans(inside, starts, ends):
                if number not in best or score > best[number][0]:
                    best[number] = score, rows[number]["context"][begin:stop]
        answers = {row["id"]: [answer["text"] for answer in row["answers"]] for row in rows}
        texts = {row["id"]: best.get(number, (0.0, "empty"))[1] for number, row in enumerate(rows)}
        return squad_scores(answers, texts)

    def spans(self, inside: list, starts: Any, ends: Any) -> list[tuple[float, int, int]]:
        """Allowed spans from one of the best starts to one of the best ends: score, and code points."""
        import numpy as np

        number, longest = self.settings.n_best_size, self.settings.max_answer_length
        found = []
        for start in np.argsort(starts[: len(inside)])[::-1][:number].tolist():
            for end in np.argsort(ends[: len(inside)])[::-1][:number].tolist():
                if inside[start] is None or inside[end] is None or not 0 <= end - start < longest:
                    continue
                found.append((float(starts[start] + ends[end]), inside[start][0], inside[end][1]))
        return found


def answer_tokens(inside: list, answer: dict[str, Any]) -> tuple[int, int]:
    """The first and the last token of an answer in a window (``prepare_train_features``); [CLS] if it is not whole."""
    begin, stop = answer["answer_start"], answer["answer_start"] + len(answer["text"])
    context = [place for place, span in enumerate(inside) if span is not None]
    if not context or inside[context[0]][0] > begin or inside[context[-1]][1] < stop:
        return 0, 0
    start = max(place for place in context if inside[place][0] <= begin)
    return start, min(place for place in context if inside[place][1] >= stop)


def peer(args: argparse.Namespace, task: str, seed: int, out: Path) -> dict[str, Any]:
    """Train and score in this process."""
    import torch
    import transformers

    from dokkai.model.device import choose_device, choose_precision

    settings = settings_of(args, task)
    train, model_changes = settings.train, settings.model.changes()
    transformers.set_seed(seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.start, local_files_only=True)
    steps = {"mrpc": Mrpc, "squad": Squad}[task](tokenizer, settings.task)
    model = getattr(transformers, steps.model_class).from_pretrained(
        args.start, local_files_only=True, dtype=torch.float32, **model_changes
    )
    device = choose_device()
    trainer = transformers.Trainer(
        model,
        transformers.TrainingArguments(
            output_dir=str(out),
            num_train_epochs=train.epochs,
            max_steps=train.steps or -1,
            per_device_train_batch_size=train.batch_size,
            per_device_eval_batch_size=EVALUATION_BATCH,
            learning_rate=train.learning_rate,
            warmup_steps=train.warmup_share,
            train_sampling_strategy=SAMPLING[task],
            lr_scheduler_type="linear",
            weight_decay=train.weight_decay,
            adam_beta1=train.beta1,
            adam_beta2=train.beta2,
            adam_epsilon=train.epsilon,
            max_grad_norm=train.clip_norm,
            bf16=choose_precision(train.precision, device) == "bf16",
            use_cpu=device.type == "cpu",
            seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        ),
        data_collator=transformers.DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8),
        train_dataset=steps.encode(steps.read(args.files[0]), training=True),
    )
    loss = trainer.train().training_loss
    rows = steps.read(args.files[1])
    features = steps.encode(rows, training=False)
    trainer.args.train_sampling_strategy = "sequential"  # grouping by length would shuffle the predictions too
    metrics = steps.score(rows, features, trainer.predict(features).predictions)
    metrics = {name: metrics[name] for name in METRICS[task]} | {TRAINING_LOSS: loss}
    return {"metrics": metrics, "steps": trainer.state.global_step}


# --- dokkai ---------------------------------------------------------------------------------------------------------


def own(args: argparse.Namespace, task: str, seed: int, out: Path) -> dict[str, Any]:
    """Train by the command; its metrics are those of the last weights."""
    command = [sys.executable, "-m", "dokkai.cli", "finetune", task, "--from", args.start, "--out", out]
    command += ["--train", args.files[0], "--dev", args.files[1], f"train.seed={seed}", *FIXED, *args.overrides]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    metrics = json.loads((out / "run.json").read_text())["metrics"]
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    losses = [line["loss"] for line in lines if "loss" in line]  # one for each update
    metrics = {name: metrics[name] for name in METRICS[task]} | {TRAINING_LOSS: statistics.mean(losses)}
    return {"metrics": metrics, "steps": len(losses)}


# --- both -----------------------------------------------------------------------------------------------------------


def overrides_of(args: argparse.Namespace, task: str) -> list[str]:
    """Those of ``--set`` for all tasks and for this one."""
    found = []
    for word in args.overrides:
        head, _, rest = word.partition(":")
        if head not in METRICS:
            found.append(word)
        elif head == task:
            found.append(rest)
    return found


def settings_of(args: argparse.Namespace, task: str) -> Any:
    """Those of both sides; where no rate is set, that which dokkai takes for the width of the checkpoint."""
    from dokkai.settings import load_settings
    from dokkai.training.finetune import usual_rate

    settings = load_settings(task, [*FIXED, *overrides_of(args, task)])
    rate = settings.train.learning_rate or usual_rate(args.start)
    return settings.model_copy(update={"train": settings.train.model_copy(update={"learning_rate": rate})})


def one(args: argparse.Namespace, task: str, side: str, seed: int) -> dict[str, Any]:
    """The result of a seed, from its file, or measured in a fresh process."""
    out = args.work / f"{task}-{side}-{seed}"
    path = out.with_suffix(".json")
    overrides = overrides_of(args, task)
    asked = {"task": task, "side": side, "seed": seed, "start": args.start.name, "set": overrides}
    asked |= {"questions": args.questions} if task == "squad" else {}
    if not path.exists():
        words = [sys.executable, __file__, "--tasks", task, "--side", side, "--seed", seed, "--out", out]
        words += ["--start", args.start, "--work", args.work, "--data", args.data, "--questions", *args.questions]
        words += [word for override in overrides for word in ("--set", override)]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(list(map(str, words)), check=True, env=environment(args.threads))
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found = json.loads(path.read_text())
        path.write_text(json.dumps(found | asked | {"seconds": seconds, "cpu_seconds": used}))
    found = json.loads(path.read_text())
    if "seconds" not in found:  # killed between the two writings
        path.unlink()
        return one(args, task, side, seed)
    if {key: found[key] for key in asked} != asked:
        raise SystemExit(f"{path} is of other settings: {found}; give another --work")
    return found


def compare(runs: Sequence[dict[str, Any]], metric: str) -> dict[str, Any]:
    """Means and deviations of the sides; their difference, also in units of its pooled standard error."""
    scores = {side: [run["metrics"][metric] for run in runs if run["side"] == side] for side in SIDES}
    means = {side: statistics.mean(values) for side, values in scores.items()}
    found: dict[str, Any] = {
        side: {"mean": means[side], "deviation": statistics.stdev(values), "seeds": len(values)}
        for side, values in scores.items()
    }
    squares = sum((value - means[side]) ** 2 for side, values in scores.items() for value in values)
    pooled = squares / (sum(map(len, scores.values())) - len(SIDES))
    error = (pooled * sum(1 / len(values) for values in scores.values())) ** 0.5
    difference = means["dokkai"] - means["transformers"]
    return found | {
        "difference": difference,
        "standard_error": error,
        "in_standard_errors": difference / error if error else 0.0,
    }


def measure(args: argparse.Namespace) -> None:
    """Seed by seed, all tasks, the sides in turn: whatever is done when time is short can be compared."""
    from dokkai.model.device import choose_device, choose_precision

    args.work.mkdir(parents=True, exist_ok=True)
    numbers = dict(zip(args.tasks, args.seeds * len(args.tasks) if len(args.seeds) == 1 else args.seeds, strict=True))
    runs = []
    for seed in range(max(numbers.values())):
        for task in (task for task, number in numbers.items() if seed < number):
            files(args, task)
            for side in SIDES[:: 1 if seed % 2 else -1]:
                runs.append(one(args, task, side, seed))
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    for task in args.tasks:
        if len({run["steps"] for run in runs if run["task"] == task}) > 1:
            raise SystemExit(f"{task}: the sides do not make equally many updates: {runs}")
    tasks = {
        task: {
            metric: compare([run for run in runs if run["task"] == task], metric)
            for metric in (*METRICS[task], TRAINING_LOSS)
        }
        for task in args.tasks
    }
    settings = {task: settings_of(args, task).model_dump() for task in args.tasks}
    write_result(
        f"agreement-{args.start.name}",
        "python benchmarks/agreement.py " + " ".join(sys.argv[1:]),
        runs,
        versions=versions("dokkai", "torch", "transformers", "tokenizers", "accelerate", "scikit-learn"),
        start=args.start.name,
        precision=choose_precision("auto", choose_device()),
        threads=args.threads,
        questions=args.questions,
        settings=settings,
        tasks=tasks,
    )
    print(json.dumps(tasks, indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(METRICS), default=list(METRICS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[5], help="for all tasks, or one number for each")
    parser.add_argument(
        "--questions", nargs=2, type=int, default=[8000, 1000], metavar=("TRAIN", "DEV"), help="of SQuAD"
    )
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], help="a setting on top of the recipe's, or TASK:setting"
    )
    parser.add_argument("--start", type=Path, default=ROOT / "models" / "mini-en")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "agreement", help="runs are kept here")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if len(args.seeds) not in (1, len(args.tasks)):
        parser.error("--seeds: give one number, or one for each task")
    if min(args.seeds) < 2:
        parser.error("--seeds: a deviation takes two")
    return args


def main() -> None:
    args = parse()
    if not args.side:
        measure(args)
        return
    (task,) = args.tasks
    args.files = files(args, task)
    result = {"dokkai": own, "transformers": peer}[args.side](args, task, args.seed, args.out)
    args.out.with_suffix(".json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
