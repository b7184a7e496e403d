"""Write the tables of pages from benchmarks/results/*.json: python benchmarks/report.py

A table stands between <!-- table NAME --> and <!-- end -->; a test checks that the pages are what this would write.
"""

import functools
import json
import re
import statistics
from pathlib import Path

ROOT = Path(__file__).parent.parent
READER_CARD = ROOT / "models" / "reader-en.md"
PAGES = (ROOT / "docs" / "experiments.md", ROOT / "docs" / "guide" / "reader.md", READER_CARD)
COPY = ROOT / "src" / "dokkai" / "models" / READER_CARD.stem / "README.md"  # of the card, beside the model
RESULTS = ROOT / "benchmarks" / "results"
TASKS = (  # the order of the rows
    *("cola", "sst-2", "mrpc", "rte", "sts-b"),
    *("conll-2003", "conll-2003-documents"),
    *("dream", "mctest", "squad-2.0"),
)
PEERS = ("dokkai", "transformers")
_PARTS = (("all questions", ""), ("those with an answer", "HasAns_"), ("those without one", "NoAns_"))


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    if any(len(row) != len(head) for row in rows):
        raise ValueError(f"{len(head)} columns, but other rows: {rows}")
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def curve(run: dict) -> str:
    """Held-out figures of a pre-training over its steps; tokens are those of the last line that was logged before."""
    rows = []
    for line in run["heldout"]:
        seen = next((t for t in reversed(run["training"]) if t["step"] <= line["step"]), None)
        rows.append(
            [
                f"{line['step']:,}",
                f"{seen['tokens'] / 1e6:.1f}M" if seen else "",
                f"{line.get('seconds', seen['seconds']) / 60:.0f}" if seen else "",
                f"{seen['tokens_per_second']:,.0f}" if seen else "",
                f"{line['heldout/masked_lm_loss']:.3f}",
                f"{line['heldout/masked_lm_accuracy']:.3f}",
            ]
        )
    return table(["step", "tokens", "minutes", "tokens/s", "held-out loss", "held-out accuracy"], rows)


def tokens_seen(result: dict) -> str:
    """Of one recipe cut off after different numbers of tokens: what the encoder lost, and how it reads."""
    rows = [
        [
            f"{run['tokens'] / 1e6:.1f}M" if run["tokens"] else "none: random weights",
            f"{run['step']:,}" if run["tokens"] else "",
            f"{run['heldout/masked_lm_loss']:.3f}" if run["tokens"] else "",
            f"{run['exact']:.1f}",
            f"{run['f1']:.1f}",
        ]
        for run in result["runs"]
    ]
    return table(["tokens seen", "updates", "held-out loss", "EM", "F1"], rows)


def scores(runs: list[dict]) -> str:
    """Exact match and F1 of fine-tunings."""
    rows = [
        [
            run["run"],
            "random weights" if run["sources"]["random_weights"] else Path(run["sources"]["from"]).name,
            f"{run['sources']['num_examples']:,}",
            f"{run['metrics']['exact']:.2f}",
            f"{run['metrics']['f1']:.2f}",
        ]
        for run in runs
    ]
    return table(["run", "from", "questions", "EM", "F1"], rows)


def trials(runs: list[dict]) -> str:
    """Short pre-trainings side by side."""
    rows = []
    for run in runs:
        model, task, train = (run["settings"][section] for section in ("model", "task", "train"))
        cells = [run["run"], model["shape"], str(model["initializer_range"] or 0.02), f"{train['learning_rate']:g}"]
        cells += [str(task["masked_share"]), f"{train['steps']:,}", f"{run['metrics']['masked_lm_loss']:.3f}"]
        rows.append(cells)
    return table(["run", "shape", "initializer_range", "learning rate", "masked", "steps", "held-out loss"], rows)


def screens(runs: list[dict]) -> str:
    """Short pre-trainings that differ in optimizer, lengths and positions; some were stopped before their end."""
    head = ["run", "optimizer", "rate", "lengths", "tokens per step", "positions start as"]
    head += ["last evaluation at step", "of", "held-out length", "held-out loss", "accuracy"]
    rows = []
    for run in runs:
        model, task, train = (run["settings"][section] for section in ("model", "task", "train"))
        last = run["heldout"][-1]
        sizes = [task.get("batch_tokens") or train["batch_size"] * length for length in task["lengths"]]
        cells = [run["run"], train.get("optimizer", "adamw"), f"{train['learning_rate']:g}"]
        cells += [", ".join(map(str, task["lengths"])), ", ".join(f"{size:,}" for size in dict.fromkeys(sizes))]
        cells += ["waves" if model["sinusoidal_positions"] else "drawn", f"{last['step']:,}", f"{train['steps']:,}"]
        cells += [str(task.get("heldout_length") or task["lengths"][0])]
        cells += [f"{last['heldout/masked_lm_loss']:.3f}", f"{last['heldout/masked_lm_accuracy']:.3f}"]
        rows.append(cells)
    return table(head, rows)


def variants(runs: list[dict]) -> str:
    """Short pre-trainings that differ in one thing each from the first of them."""
    base = _flat(runs[0]["settings"])
    rows = []
    for run in runs:
        own = _flat(run["settings"])
        changes = ", ".join(f"{name.split('.')[1]}={own[name]}" for name in own if own[name] != base.get(name))
        last, seen = run["heldout"][-1], run["training"][-1]
        cells = [run["run"], changes or "the base", f"{last['step']:,}", f"{seen['tokens'] / 1e6:.2f}M"]
        rows.append([*cells, f"{last['heldout/masked_lm_loss']:.3f}", f"{last['heldout/masked_lm_accuracy']:.3f}"])
    return table(["run", "what differs", "steps", "tokens", "held-out loss", "accuracy"], rows)


def _flat(settings: dict) -> dict:
    return {
        f"{section}.{key}": value for section in ("model", "task", "train") for key, value in settings[section].items()
    }


def updates(result: dict) -> str:
    """Updates of a pre-training beside the peer's."""
    rows = [
        [
            key.replace(", dropout", " · dropout").split(", batch")[0],
            key.split("batch ")[1].split(",")[0],
            key.rsplit(" ", 1)[1],
            f"{item['tokens_per_second']:,.0f}",
            f"{item['own_share']:.0%}",
            f"{item['peak_mb']:,.0f}",
        ]
        for key, item in result["medians"].items()
    ]
    head = ["", "batch", "dropout", "tokens/s", "of the matrix rate, by its own FLOPs", "peak MB"]
    ratios = [[name, f"{value:.2f}"] for name, value in result["times_faster"].items()]
    return table(head, rows) + "\n\n" + table(["", "times the tokens/s"], ratios)


def opening(runs: list[dict]) -> str:
    """Time and memory of opening a checkpoint and using it once, medians of fresh processes."""
    rows = []
    for tool in dict.fromkeys(run["tool"] for run in runs):
        own = [run for run in runs if run["tool"] == tool]
        middle = {key: statistics.median(run[key] for run in own) for key in own[0] if key.endswith(("seconds", "mb"))}
        cells = [f"{middle[key]:.2f}" for key in ("import_seconds", "open_seconds", "forward_seconds", "used_seconds")]
        rows.append([tool, *cells, f"{middle['peak_mb']:,.0f}", f"{middle['peak_growth_mb']:,.0f}", str(len(own))])
    head = ["", "import s", "open s", "first sequence s", "open + sequence s"]
    return table([*head, "peak MB", "of it after the imports MB", "repetitions"], rows)


def compare(result: dict, value: str = "", unit: str = "") -> str:
    """Sides of one measurement: medians, how many times as much dokkai does as each, and the repetitions."""
    value, unit = value or result["compare"]["value"], unit or result["compare"]["unit"]
    sides: dict[str, list[float]] = {}
    for run in result["runs"]:
        sides.setdefault(run["side"], []).append(run[value])
    middle = {side: statistics.median(values) for side, values in sides.items()}
    own = next(side for side in sides if side.startswith(("dokkai", "as it is")))
    rows = [
        [side, f"{middle[side]:,.4g}", f"{middle[own] / middle[side]:.2f}", ", ".join(f"{x:,.4g}" for x in values)]
        for side, values in sides.items()
    ]
    return table(["", f"median {unit}", f"{own} is × this", "repetitions"], rows)


def first_token(result: dict) -> str:
    """A head that reads [CLS], with and without the tokens that it does not see."""
    rows = []
    for model, what in dict.fromkeys((run["model"], run["what"]) for run in result["runs"]):
        rates: dict[str, list[float]] = {}
        for run in result["runs"]:
            if (run["model"], run["what"]) == (model, what):
                rates.setdefault(run["side"], []).append(run["tokens_per_second"])
        seen, every = (statistics.median(values) for values in rates.values())
        ratios = [one / other for one, other in zip(*rates.values(), strict=True)]
        cells = [f"{seen:,.0f}", f"{every:,.0f}", f"{seen / every:.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"]
        rows.append([model, what, *cells])
    return table(["model", "", "what [CLS] sees, tokens/s", "every token", "ratio", "of single repetitions"], rows)


def frozen_layers(result: dict) -> str:
    """A fine-tuning with frozen layers, with and without what they give on disk."""
    rows = [
        [
            run["side"],
            str(run["seed"]),
            f"{run['seconds']:,.0f}",
            f"{run['training_seconds']:,.0f}",
            f"{run['tokens'] / run['training_seconds']:,.0f}",
            f"{100 * run['metrics']['f1_binary']:.1f}",
        ]
        for run in result["runs"]
    ]
    return table(["", "seed", "seconds", "of them training", "tokens/s in training", "F1"], rows)


def questions(result: dict) -> str:
    """Fine-tuning beside the peer's."""
    return compare(result, "questions_per_second", "questions/s")


def memory(result: dict) -> str:
    """Preparing texts of several sizes: the peak of all processes together."""
    rows = [
        [
            run["side"],
            f"{run['text_mb']:,.0f}",
            f"{run['seconds']:.0f}",
            f"{run['mb_per_second']:.2f}",
            f"{run['peak_mb']:,.0f}",
        ]
        for run in result["memory"]
    ]
    return table(["", "MB of text", "s", "MB/s", "peak MB"], rows)


def race(result: dict) -> str:
    """When each curve reached the target, and where it ended."""
    rows = []
    for run in result["runs"]:
        last, found = run["curve"][-1], run["seconds_to_target"]
        clock = last.get("cpu_seconds", last["seconds"])
        cells = [run["run"], f"{last['step']:,}", f"{clock / 60:.1f}", f"{last['heldout_loss']:.3f}"]
        rows.append([*cells, "not reached" if found is None else f"{found / 60:.1f}"])
    return table(["run", "steps", "minutes", "last held-out loss", f"minutes to {result['target']:.3f}"], rows)


def tasks(results: list[dict]) -> str:
    """Tasks of the paper by the shipped recipes, beside plain baselines: what there is of them."""
    head = ["task", "trained on", "metric", "majority", "TF-IDF", "features", "random weights", "the encoder", "which"]
    head += ["seeds", "rate"]
    rows = []
    for result in results:
        shown = 1 if result["recipe"].startswith("squad") else 100  # SQuAD's script gives percent
        sides: dict[str, list[float]] = {}
        for run in result["runs"]:
            sides.setdefault(run["side"], []).append(shown * run["metrics"][result["metric"]])
        start = result.get("start", "")  # none where only baselines were computed
        columns = ("majority", "tf-idf", "features", "random weights", start)
        rate = re.search(r"train\.learning_rate=(\S+)", result["command"])
        cells = [re.sub("^(task|baselines)-", "", result["name"]), f"{result['examples']['train']:,}", result["metric"]]
        cells += [spread(sides.get(side, [])) for side in columns]
        numbers = dict.fromkeys(str(len(sides[side])) for side in columns[3:] if side in sides)
        rows.append([*cells, start, " and ".join(numbers), (rate[1] if rate else "by width") if start else ""])
    return table(head, rows)


def spread(values: list[float], digits: int = 1) -> str:
    """Mean and deviation, the deviation only of several."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}" if values else ""
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def agreement(result: dict) -> str:
    """The same recipe here and in transformers: scores and training loss; then every seed, and the time it took."""
    head = ["task", "", "dokkai", "transformers", "seeds", "difference", "in standard errors"]
    rows, seeds = [], []
    for task, metrics in result["tasks"].items():
        runs = [run for run in result["runs"] if run["task"] == task]
        for metric, found in metrics.items():
            digits = 2 if task == "squad" and metric != "training_loss" else 4  # SQuAD's script gives percent
            sides = [[run["metrics"][metric] for run in runs if run["side"] == side] for side in PEERS]
            cells = [task, metric.replace("_", " "), *(spread(values, digits) for values in sides)]
            cells += [" and ".join(sorted({str(len(values)) for values in sides}))]
            rows.append([*cells, f"{found['difference']:+.{digits}f}", f"{found['in_standard_errors']:+.1f}"])
        for side in PEERS:
            own = [run for run in runs if run["side"] == side]
            metric = next(iter(metrics))
            values = ", ".join(f"{run['metrics'][metric]:.4g}" for run in own)
            clocks = [f"{statistics.median(run[key] for run in own):,.0f}" for key in ("seconds", "cpu_seconds")]
            seeds.append([task, side, values, *clocks])
    times = table(["task", "", "the first score, each seed", "median s", "median CPU s"], seeds)
    return table(head, rows) + "\n\n" + times


def in_reach(result: dict) -> str:
    """The share of questions with the answer among the k best passages."""
    numbers = list(result["runs"][0]["in_reach"])
    rows = [
        [run["data"], run["collection"], f"{run['passages']:,.0f}", *(f"{run['in_reach'][k]:.1f}" for k in numbers)]
        for run in result["runs"]
    ]
    return table(["", "collection", "passages", *(f"best {k}" for k in numbers)], rows)


def prior(result: dict) -> str:
    """How well weights of BM25 fit: the mean of -ln of the share of the right passage."""
    weights = list(result["runs"][0]["prior"])
    rows = [[run["data"], run["collection"], *(f"{run['prior'][w]:.3f}" for w in weights)] for run in result["runs"]]
    return table(["", "collection", *(f"weight {w}" for w in weights)], rows)


def features(result: dict) -> str:
    """A small model on features of each choice of layers."""
    rows = []
    for run in result["runs"]:
        metric = "accuracy" if run["task"] == "sst-2" else "f1"
        rows.append([run["task"], metric, run["side"], run["layers"], f"{100 * run['metrics'][metric]:.1f}"])
    return table(["task", "metric", "weights", "layers", "score"], rows)


def evaluations(result: dict) -> str:
    """A reader after some updates and after all, beside the same shape from random weights; in percent."""
    keys = ("exact", "f1", "HasAns_f1", "NoAns_f1", "best_f1")
    rows = [[run["side"], f"{run['step']:,}", *(f"{run[key]:.1f}" for key in keys)] for run in result["runs"]]
    head = ["weights", "updates", "EM", "F1", "F1, with an answer", "F1, without one", "F1, best threshold"]
    return table(head, rows)


def noise(result: dict) -> str:
    """What tells texts apart beside what dropout adds."""
    rows = [
        [run["task"], f"{run['apart']:.3f}", f"{run['noise']:.3f}", f"{run['apart'] / run['noise']:.2f}"]
        for run in result["runs"]
    ]
    return table(["task", "between texts", "between passes", "ratio"], rows)


def masks(result: dict) -> str:
    """The loss of masked words, by the length of the text and by how many of its tokens are masked."""
    names = list(dict.fromkeys(run["masks"] for run in result["runs"]))
    rows = []
    for model in dict.fromkeys(run["model"] for run in result["runs"]):
        own = [run for run in result["runs"] if run["model"] == model]
        for length in dict.fromkeys(run["length"] for run in own):
            losses = {run["masks"]: run["masked_lm_loss"] for run in own if run["length"] == length}
            rows.append([model, str(length), *(f"{losses[name]:.2f}" for name in names)])
    return table(["encoder", "tokens", *(f"{name} masked" for name in names)], rows)


def layers(runs: list[dict]) -> str:
    """What the heads of each layer of an encoder look at, and the loss without them."""
    looks = {(run["masks"], run["layer"]): run for run in runs if run["what"] == "attention"}
    rows = []
    for run in runs:
        if run["what"] == "loss" and run["without"] is not None:
            one, many = looks["one", run["without"]], looks["15 %", run["without"]]
            shares = [f"{100 * look['to_mask']:.1f} %" for look in (one, many)]
            cells = [f"{one['entropy']:.2f}", f"{one['greatest']:.2f}", *shares, f"{run['loss']:.2f}"]
            rows.append([str(run["without"]), *cells])
    return table(["layer", "entropy", "greatest weight", "to one mask", "to 15 % masks", "loss without"], rows)


def likeness(result: dict) -> str:
    """Encoders by the loss of masked words, and by how alike the mean vectors of their layers make what is alike."""
    rows = []
    for model in dict.fromkeys(run["model"] for run in result["runs"]):
        own = [run for run in result["runs"] if run["model"] == model]
        (loss,) = (run["loss"] for run in own if run["what"] == "loss" and run["without"] is None)
        (found,) = (run["layers"] for run in own if run["what"] == "likeness")
        rows.append([model, f"{loss:.2f}", *(f"{found[layer]:.1f}" for layer in (0, 1, 5, -1))])
    return table(["encoder", "loss, 15 % masked", "words", "layer 1", "layer 5", "last layer"], rows)


def waiting(result: dict) -> str:
    """How long a person waits."""
    rows = []
    for side, found in result["medians"].items():
        times = [run["seconds"] for run in result["runs"] if run["side"] == side]
        rows.append([side, f"{found['seconds']:.2f}", f"{min(times):.2f} to {max(times):.2f}", str(len(times))])
    return table(["", "seconds", "from, to", "repetitions"], rows)


def asking(result: dict) -> str:
    """Questions put to ever more text; of the settings of the search those that ``ask`` has."""
    rows = []
    for run in result["runs"]:
        if run["prior"] == result["prior"]:
            cells = [f"{run['scores'][name]:.1f}" for name in ("exact", "f1")]
            cells += [f"{run['refused'][name]:.1f} %" for name in ("caught", "falsely_refused")]
            number = "all" if run["collection"] == "its passage" else str(run["passages"])
            rows.append([run["collection"], number, *cells])
    return table(["text", "passages read", "EM", "F1", "without an answer, refused", "with one, refused"], rows)


def asking_confidence(result: dict) -> str:
    """Of the answers that ``ask`` shows, how many are right, by the text that they come from."""
    return tenths({run["collection"]: run["confidence"] for run in result["runs"] if "confidence" in run})


def tenths(found: dict[str, dict]) -> str:
    """Answers and how many of them are right, by tenths of confidence, in a column for each of these."""
    starts = sorted({row["from"] for one in found.values() for row in one["tenths"]})
    rows = []
    for start in starts:
        cells = [f"{100 * start:.0f} to {100 * start + 10:.0f} %"]
        for one in found.values():
            row = next((row for row in one["tenths"] if row["from"] == start), None)
            cells.append(f"{100 * row['right']:.0f} % of {row['answers']}" if row else "")
        rows.append(cells)
    errors = [f"{100 * one['calibration_error']:.1f} %" for one in found.values()]
    return table(["shown with", *found], [*rows, ["expected calibration error", *errors]])


def prior_of_reader(result: dict) -> str:
    """F1 by what a point of BM25 is worth, on both halves of the questions."""
    rows = []
    for run in result["runs"]:
        if run["passages"] == result["passages"] and run["collection"] != "its passage":
            halves = [f"{half['f1']:.1f}" for half in run["halves"]]
            rows.append([run["collection"], f"{run['prior']:g}", f"{run['scores']['f1']:.1f}", *halves])
    return table(["text", "weight", "F1", "first half", "second half"], rows)


def follow_ups(result: dict) -> str:
    """Questions read alone, and behind the last answer too, by what its answer is lowered by."""
    rows = []
    for run in result["runs"]:
        cells = [f"{run[name]:.1f}" if name in run else "" for name in ("f1", "HasAns_f1", "NoAns_f1")]
        rows.append([run["follows"], str(run["pairs"]), str(run["handicap"]), *cells])
    return table(["from the one before", "pairs", "handicap", "F1", "with an answer", "without one"], rows)


def everyday(result: dict, is_brief: bool = False) -> str:
    """Ordinary questions, by the threshold for "no answer"; briefly by that which ships, and none, alone."""
    rows = []
    for run in result["runs"]:
        if is_brief and not (run["is_own"] or run["threshold"] is None):
            continue
        name = (
            "never refusing"
            if run["threshold"] is None
            else f"{run['threshold']:.2f}" + " (as it ships)" * run["is_own"]
        )
        cells = [
            str(run[key]) for key in ("right", "wrong", "refused", "right below it", "refused rightly", "answered")
        ]
        rows.append([run["texts"], name, *cells])
    head = ["texts", "threshold", "answered rightly", "wrongly", "refused", "of these right below it"]
    return table([*head, "without an answer: refused", "answered"], rows)


def overlap(result: dict) -> str:
    """A reader on passages that its encoder may have seen, and on others."""
    rows = [
        [run["passages"], f"{run['number']:,}", f"{run['questions']:,}", f"{run['exact']:.1f}", f"{run['f1']:.1f}"]
        for run in result["runs"]
    ]
    return table(["passages", "number", "questions", "EM", "F1"], rows)


def shapes(result: dict) -> str:
    """Shapes that had the same time: what they saw, and what they are worth to a reader."""
    head = ["shape", "vocabulary", "parameters", "tokens/s", "tokens seen", "held-out loss", "EM", "F1"]
    rows = [
        [
            run["shape"],
            f"{run['vocabulary']:,}",
            f"{run['parameters'] / 1e6:.1f}M",
            f"{run['tokens_per_second'] / 1e6:.2f}M",
            f"{run['tokens'] / 1e6:.0f}M",
            f"{run['masked_lm_loss']:.3f}",
            f"{run['exact']:.1f}",
            f"{run['f1']:.1f}",
        ]
        for run in result["runs"]
    ]
    return table(head, rows)


def reading_scores(result: dict) -> str:
    """Both dev files, and always answering "none"."""
    with_answers, both = result["runs"][:2]
    rows = [
        [f"SQuAD 1.1, {with_answers['questions']:,} questions, it must answer", with_answers["scores"]],
        [f"SQuAD 2.0, {both['questions']:,} questions, it may say none", both["scores"]],
        ["SQuAD 2.0, always none", both["always none"]],
    ]
    return table(["", "EM", "F1"], [[name, f"{s['exact']:.1f}", f"{s['f1']:.1f}"] for name, s in rows])


def reading_by(result: dict, name: str) -> str:
    """SQuAD 1.1 by kind of answer, by question word, or by length."""
    groups = result["runs"][0]["by"][name.replace("-", " ")]
    if name == "words-of-the-passage":
        groups = dict(sorted(groups.items(), key=lambda pair: int(re.search(r"\d+", pair[0])[0])))
    rows = [[key, f"{g['questions']:,}", f"{g['exact']:.1f}", f"{g['f1']:.1f}"] for key, g in groups.items()]
    return table([name.replace("-", " "), "questions", "EM", "F1"], rows)


def reading_refused(result: dict) -> str:
    """How often it rightly and wrongly says that there is no answer."""
    found, scores = result["runs"][1]["refused"], result["runs"][1]["scores"]
    rows = [
        ["questions without an answer that it refused", f"{scores['NoAns_total']:,.0f}", f"{found['caught']:.1f} %"],
        ["questions with one that it refused", f"{scores['HasAns_total']:,.0f}", f"{found['falsely_refused']:.1f} %"],
    ]
    return table(["", "questions", "share"], rows)


def reading_elsewhere(result: dict) -> str:
    """SQuAD 2.0 with the model's own threshold and temperatures, found there, and with those of another half of it."""
    run = result["runs"][1]
    rows = []
    for name, found in {"the file itself (as it ships)": run, **run["fitted elsewhere"]}.items():
        cells = [f"{found['scores'][key]:.1f}" for key in ("exact", "f1")]
        cells += [f"{found['refused'][key]:.1f} %" for key in ("caught", "falsely_refused")]
        halves = " and ".join(f"{half['threshold']:.2f}" for half in found.get("halves", ()))
        name = f"the other half of its {name}" if halves else name
        rows.append([name, halves, *cells, f"{100 * found['confidence']['calibration_error']:.1f} %"])
    head = ["threshold and temperatures from", "thresholds", "EM", "F1", "without an answer, refused"]
    return table([*head, "with one, refused", "calibration error"], rows)


def reading_sources(result: dict) -> str:
    """SQuAD 2.0 by where a passage comes from."""
    groups = result["runs"][1]["by"]["source of the passage"]
    rows = [[name, f"{g['questions']:,}", f"{g['exact']:.1f}", f"{g['f1']:.1f}"] for name, g in groups.items()]
    return table(["source of the passage", "questions", "EM", "F1"], rows)


def reading_confidence(result: dict) -> str:
    """Of the answers shown, how many are right."""
    rows = [
        [
            f"{100 * row['from']:.0f} to {100 * row['from'] + 10:.0f} %",
            f"{row['answers']:,}",
            f"{100 * row['right']:.0f} %",
        ]
        for row in result["runs"][1]["confidence"]["tenths"]
    ]
    error = result["runs"][1]["confidence"]["calibration_error"]
    rows.append(["expected calibration error", "", f"{100 * error:.1f} %"])
    return table(["shown with", "answers", "right"], rows)


def reading_examples(result: dict) -> str:
    """The passages of the examples: scores and refusals of each file."""
    rows = [[run["file"], *row] for run in result["runs"] for row in _parts(run)]
    return table(["file", "", "questions", "EM", "F1", "refused"], rows)


def reading_file(result: dict) -> str:
    """A file of questions: scores and refusals, and what the reader is worth where it must answer."""
    (run,) = result["runs"]
    answering = run["never refusing"]["scores"]
    cells = [f"{answering[f'HasAns_{kind}']:.1f}" for kind in ("exact", "f1")]
    row = ["those with an answer, never refusing", f"{answering['HasAns_total']:,.0f}", *cells, ""]
    return table(["", "questions", "EM", "F1", "refused"], [*_parts(run), row])


def _parts(run: dict) -> list[list[str]]:
    """All questions, those with and those without an answer: number, EM, F1, share refused."""
    rows = []
    for name, key in _PARTS:
        scores = run["scores"]
        cells = [f"{scores[f'{key}total']:,.0f}", *(f"{scores[f'{key}{kind}']:.1f}" for kind in ("exact", "f1"))]
        share = {"NoAns_": "caught", "HasAns_": "falsely_refused"}.get(key)
        rows.append([name, *cells, f"{run['refused'][share]:.1f} %" if share else ""])
    return rows


def reading_thresholds(result: dict) -> str:
    """The passages of the examples, by the threshold for "no answer": the one that ships, none, and another's."""
    rows = []
    for run in result["runs"]:
        other = run["fitted on the other"]
        name = f"from the questions of {other['file']}, {other['threshold']:.2f}"
        for label, found in {"as it ships": run, "never refusing": run["never refusing"], name: other}.items():
            cells = [f"{found['scores'][key]:.1f}" for key in ("exact", "f1", "HasAns_f1")]
            cells += [f"{found['refused'][key]:.1f} %" for key in ("falsely_refused", "caught")]
            rows.append([run["file"], label, *cells, f"{100 * found['confidence']['calibration_error']:.1f} %"])
    head = ["file", "threshold", "EM", "F1", "F1, with an answer", "with one, refused"]
    return table([*head, "without one, refused", "calibration error"], rows)


def reading_few(result: dict) -> str:
    """F1 by a threshold from the questions about a few passages of the other file."""
    rows = []
    for run in result["runs"]:
        for few in run["threshold from few"]:
            values = few["f1"]
            cells = [statistics.mean(values), min(values), max(values)]
            rows.append([run["file"], str(few["passages"]), *(f"{value:.1f}" for value in cells)])
    return table(["file", "passages", "F1, mean of twenty draws", "lowest", "highest"], rows)


def reading_tenths(result: dict) -> str:
    """Of the answers shown of each file of the examples, how many are right."""
    return tenths({run["file"]: run["confidence"] for run in result["runs"]})


def reading_answers(result: dict) -> str:
    """Answers as they came, of the first file that has them."""
    found = next(run["as they came"] for run in result["runs"] if "as they came" in run)
    rows = [
        [
            item["question"].replace("|", "\\|"),
            " / ".join(item["right"]).replace("|", "\\|") or "(none)",
            item["answer"].replace("|", "\\|") or "(none)",
            f"{100 * item['confidence']:.0f} %",
            "yes" if item["is_right"] else "no",
        ]
        for item in found
    ]
    return table(["question", "right answer", "its answer", "confidence", "right"], rows)


def render(name: str) -> str:
    """The table called ``FILE:KIND``, ``FILE:curve:RUN`` or ``FILE:layers:MODEL``; kinds are the functions above.

    ``task-*:tasks`` is of all such files. Where there is none yet, that is said instead.
    """
    file, kind, *run = name.split(":")
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{file}.json"))}
    if not found:
        return "Not measured yet."
    if kind == "tasks":
        places = {task: place for place, task in enumerate(TASKS)}
        return tasks([found[stem] for stem in sorted(found, key=lambda stem: places.get(stem.partition("-")[2], 99))])
    result = found[file]
    runs = result["runs"]
    of_all = {
        "agreement": agreement,
        "compare": compare,
        "evaluations": evaluations,
        "features": features,
        "first_token": first_token,
        "follow_ups": follow_ups,
        "frozen_layers": frozen_layers,
        "in_reach": in_reach,
        "memory": memory,
        "noise": noise,
        "prior": prior,
        "questions": questions,
        "race": race,
        "tokens_seen": tokens_seen,
        "updates": updates,
    }
    of_all |= {
        "likeness": likeness,
        "masks": masks,
        "shapes": shapes,
        "waiting": waiting,
        "overlap": overlap,
        "reading": reading_scores,
        "refused": reading_refused,
        "elsewhere": reading_elsewhere,
        "sources": reading_sources,
        "confidence": reading_confidence,
        "answers": reading_answers,
        "examples": reading_examples,
        "file": reading_file,
        "everyday": everyday,
        "everyday_brief": functools.partial(everyday, is_brief=True),
        "thresholds": reading_thresholds,
        "few": reading_few,
        "tenths": reading_tenths,
        "asking": asking,
        "asking_confidence": asking_confidence,
        "asking_prior": prior_of_reader,
    }
    if kind in of_all:
        return of_all[kind](result)
    if kind == "by":
        return reading_by(result, run[0])
    if kind == "layers":
        return layers([item for item in runs if item["model"] == run[0]])
    if kind == "opening":
        return opening(runs)
    if run:
        runs = [item for item in runs if item["run"] == run[0]]
    pretrained = [run for run in runs if run["command"] == "pretrain"]
    if kind == "curve":
        return curve(pretrained[0])
    if kind == "scores":
        return scores([run for run in runs if run["command"] == "finetune"])
    return {"screens": screens, "trials": trials, "variants": variants}[kind](pretrained)


def fill(page: str) -> str:
    """The page with every table written anew."""
    return re.sub(
        r"(<!-- table (\S+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}\n{render(match[2])}\n\n{match[3]}",
        page,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    COPY.write_text(READER_CARD.read_text(encoding="utf-8"), encoding="utf-8")
