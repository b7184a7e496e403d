"""The report: one file that needs no other, with everything in it, and nothing in it that runs."""

import json
import re
from html.parser import HTMLParser

import pytest

from command_line import EXAMPLES, make_home, works
from dokkai.data.rows import Row
from dokkai.reporting.charts import draw_histogram, draw_panels, draw_scatter
from dokkai.reporting.measurements import read_curves
from dokkai.reporting.outcomes import describe
from dokkai.reporting.page import write_report
from dokkai.settings import ClassificationSettings, Settings, TrainSettings
from dokkai.tasks import create_task

VOID = {"meta", "br", "hr", "img", "link", "input"}
EVIL = '<script>alert("x")</script> & <b>bold</b>'


class Page(HTMLParser):
    """Its text, and that every tag is closed in its place."""

    def __init__(self, source):
        super().__init__()
        self.open, self.texts, self.attributes, self.tags = [], [], [], []
        self.feed(source)
        assert self.open == []
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


def check_alone(source):
    """Nothing is fetched and nothing runs."""
    page = Page(source)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in ("src", "srcset", "action") or name.startswith("on")]
    links = [value for name, value in page.attributes if name in ("href", "xlink:href")]
    assert all(value.startswith("#") for value in links)
    assert "@import" not in source
    assert all(place.startswith("#") for place in re.findall(r"url\(['\"]?([^)'\"]*)", source))
    return page


@pytest.fixture
def run(tmp_path):
    """A folder with measurements."""
    lines = [
        {"step": step, "loss/classification": 1 / step, "loss": 1 / step, "seconds": 2.0 * step} for step in (1, 2, 3)
    ]
    lines.append({"step": 3, "heldout/accuracy": 0.5, "heldout/f1_macro": 0.4, "seconds": 6.0})
    folder = tmp_path / "a <run>"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return folder


RECORD = {
    "command": "finetune",
    "settings": Settings(
        description=f"for {EVIL}", task=ClassificationSettings(max_length=32), train=TrainSettings(seed=7, patience=3)
    ).model_dump(),
    "sources": {"from": "models/mini-en", "num_examples": 1234, "train": "train.csv", "dev": None},
    "versions": {"dokkai": "1.2.3"},
    "metrics": {"accuracy": 0.5, "f1_macro": 0.4},
    "best": {"step": 2, "metric": "accuracy", "value": 0.5},
    "kept": 2,
    "stopped_early": 3,
    "restarts": [{"step": 9, "label": EVIL, "loss": 0.7, "guessing": 0.693, "learning_rate": 1e-3}],
    "calibration": {"temperature": 1.5, "ece_before": 0.21, "ece_after": 0.03, "num_examples": 4},
}


def prediction(id, text, label, **probabilities):
    return {"id": id, "text": text, "label": label, "probability": probabilities[label], "probabilities": probabilities}


def classes(tokenizer, rows, labels=("no", "yes")):
    """What is shown of ``(text, label, prediction)`` and the probability of the prediction."""
    task = create_task(ClassificationSettings(), tokenizer, labels)
    examples = [Row(text, None, label, str(i), f"line {i}") for i, (text, label, _, _) in enumerate(rows)]
    predictions = []
    for i, (text, _, guess, value) in enumerate(rows):
        rest = (1 - value) / (len(labels) - 1)
        predictions.append(prediction(str(i), text, guess, **(dict.fromkeys(labels, rest) | {guess: value})))
    return describe(task, examples, predictions, f"dev {EVIL}.csv")


FOUR = [
    ("good", "yes", "yes", 0.9),
    ("bad", "no", "no", 0.7),
    ("not bad", "yes", "no", 0.6),
    (f"odd {EVIL}", "no", "yes", 0.8),
]


def test_the_page_says_it_all(run, tokenizer):
    write_report(run, RECORD, classes(tokenizer, FOUR))
    page = check_alone((run / "report.html").read_text(encoding="utf-8"))
    for words in (
        "a <run>",
        f"for {EVIL}",
        "trained on 1,234 examples",
        "length 3 steps in 0:06",
        f"every prediction was “{EVIL}”",
        "Stopped early at step 3: no better accuracy in 3 evaluations.",
        "The model is that of step 2, the best evaluation by accuracy.",
        "temperature 1.5, calibration error 21.0% before, 3.0% after.",
        f"On dev {EVIL}.csv.",
        "2 of 4 predictions are wrong; the surest first.",
        "yes 80.0% right: no no 20.0% id 3",
        f"odd {EVIL}",
        "train.seed 7",
        "task.max_length 32",
        "How sure, and how right",
        "Written by dokkai 1.2.3.",
    ):
        assert words in page.text, words
    places = [page.text.index(words) for words in ("odd <script>", "not bad", "task.max_length", "with their default")]
    assert places == sorted(places) and places[-1] < page.text.index("train.beta1")
    assert page.tags.count("svg") == 4  # confidence, loss, accuracy, f1_macro


def test_a_run_that_is_stuck_to_the_end(run):
    """Without a label, where the loss alone tells."""
    again = {"step": 8, "loss": 1.39, "guessing": 1.3863, "learning_rate": 5e-4}
    write_report(run, RECORD | {"restarts": [again | {"learning_rate": 1e-3}], "stuck": again})
    page = check_alone((run / "report.html").read_text(encoding="utf-8"))
    line = "Stuck at step 8 with learning rate {}: the loss (1.39) was no better than that of guessing (1.386). {}"
    assert line.format("0.001", "Begun anew with half the rate.") in page.text
    assert line.format("0.0005", "No restart was left.") in page.text


def test_a_temperature_that_was_left_out(run):
    left_out = RECORD["calibration"] | {"ece_after": 0.3, "left_out": "the calibration error rises"}
    write_report(run, RECORD | {"calibration": left_out})
    page = check_alone((run / "report.html").read_text(encoding="utf-8"))
    assert (
        "Probabilities are as the model gives them, calibration error 21.0%: a temperature of 1.5 fitted to 4 "
        "examples, with 30.0%, was left out, because the calibration error rises." in page.text
    )


def test_parts_of_a_metric_come_behind_it(tmp_path):
    names = ("HasAns_f1", "HasAns_total", "best_exact", "best_exact_thresh", "exact", "f1", "total")
    line = {"step": 1, "loss": 1.0} | {f"heldout/{name}": 1.0 for name in names}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line), encoding="utf-8")
    titles = [chart.title for chart in draw_panels(read_curves(tmp_path), "f1")]
    assert titles == ["loss", "f1", "exact", "HasAns_f1", "best_exact", "best_exact_thresh"]


def test_no_steps_between_steps(run):
    """However few there are."""
    for chart in draw_panels(read_curves(run)):
        axis = chart.svg[chart.svg.index('id="matplotlib.axis_1"') : chart.svg.index('id="matplotlib.axis_2"')]
        assert set(re.findall(r">([^<\n]+)</text>", axis)) <= {"0", "1", "2", "3", "4", "step"}, chart.title


def test_many_mistakes_are_counted(tokenizer, run):
    found = classes(tokenizer, [("x" * 5000, "no", "yes", 0.6)] * 40)
    assert len(found.mistakes) == 30
    write_report(run, RECORD, found)
    page = check_alone((run / "report.html").read_text(encoding="utf-8"))
    assert "40 of 40 predictions are wrong; the surest 30." in page.text
    assert "… (3,500 more characters)" in page.text


def test_unknown_kind_has_the_general_page(run):
    found = describe(type("Other", (), {"kind": "other", "primary_metric": "accuracy"})(), ["a"], [{}], "dev.csv")
    write_report(run, RECORD, found)
    page = check_alone((run / "report.html").read_text(encoding="utf-8"))
    assert "accuracy 0.5" in page.text and "Predictions" not in page.text and "mistakes" not in page.text


def test_a_run_that_says_little(tmp_path):
    write_report(tmp_path, {"command": "pretrain", "settings": {}, "metrics": {}})
    page = check_alone((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Curves" not in page.text and "Metrics" not in page.text


def test_charts_take_the_colours_of_the_page(run):
    panels = draw_panels(read_curves(run), "accuracy")
    others = [
        draw_scatter([1.0, 2.0, 3.0], [1.5, 2.0, 2.5], "numbers"),
        draw_histogram({"right": [0.5], "wrong": [0.6]}, "sure", "probability", (0.0, 1.0)),
    ]
    for chart in [*panels, *others]:
        assert not re.findall(r"[:\"] ?#[0-9a-f]{6}\b", chart.svg), chart.title
        assert "var(--series-1)" in chart.svg and "var(--soft)" in chart.svg
        assert "DejaVu" not in chart.svg and "<?xml" not in chart.svg
    assert draw_panels(read_curves(run), "accuracy") == panels


def test_curves_in_order(run):
    assert [chart.title for chart in draw_panels(read_curves(run), "f1_macro")] == ["loss", "f1_macro", "accuracy"]
    curves = read_curves(run)
    assert (curves.steps, curves.seconds) == (3, 6.0)


def test_every_run_has_one(tmp_path_factory):
    home = make_home(tmp_path_factory)
    for name in ("encoder", "reader", "sorter"):
        page = check_alone((home / name / "report.html").read_text(encoding="utf-8"))
        assert name in page.text and "Curves" in page.text
    out = tmp_path_factory.mktemp("report") / "topics"
    table = ["--train", EXAMPLES / "topics-train.csv", "--dev", EXAMPLES / "topics-dev.csv"]
    short = ["train.steps=2", "task.max_length=16", "train.restarts=0"]
    works("finetune", "my-classes", "--from", home / "encoder", *table, "--out", out, *short)
    page = check_alone((out / "report.html").read_text(encoding="utf-8"))
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert f"accuracy {record['metrics']['accuracy']:.4g}" in page.text
    assert "Confusion matrix" in page.text and "predictions are wrong" in page.text
