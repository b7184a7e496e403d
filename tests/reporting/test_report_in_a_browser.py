"""report.html of each kind in headless Chromium, where there is one: it asks for nothing, fits, shows its parts."""

import csv
import html
import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from test_report import check_alone

from command_line import EXAMPLES, make_home, works

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LIMIT = 120  # seconds for the browser, which needs one
MEASURE = """<script>
const page = document.documentElement
const seen = [...document.querySelectorAll("body *")].filter(item => {
  const place = item.getBoundingClientRect()
  return item.checkVisibility() && place.width > 5 && place.height > 5
})
const outside = seen.filter(item => {
  const place = item.getBoundingClientRect(), right = place.right + window.scrollX
  return !item.closest(".scroll, svg") && (place.left < 0 || right > page.clientWidth + 1)
})
document.title = JSON.stringify({
  width: window.innerWidth,
  overflow: page.scrollWidth - page.clientWidth,
  outside: outside.map(item => `${item.tagName} ${item.className}`),
  requests: performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !name.startsWith("data:")),
  broken: [...document.images].filter(image => !image.naturalWidth).length,
  charts: seen.filter(item => item.tagName == "svg" && item.getBoundingClientRect().width > 200).length,
  matrix: seen.filter(item => item.matches(".matrix td")).length,
  cells: seen.filter(item => item.matches("table:not(.matrix, .settings) td")).length,
  settings: seen.filter(item => item.matches(".settings td")).length,
  mistakes: seen.filter(item => item.matches(".mistakes li")).length,
  text: document.body.innerText.replace(/\\s+/g, " "),
})
</script>"""

LONG = "https://example.org/" + "a" * 200  # nowhere to break it
TEXTS = [f"The keeper lit lamp {number} above the harbour, and ships came home." for number in range(7)]
TEXTS += [f"Whoever wants to know more of it looks at {LONG} first."]
PAIRS = [{"text": text, "pair": f"A boat is late ({n}).", "label": n / 2} for n, text in enumerate(TEXTS)]
NAMES = ["weather", "trade", "a-label-with-a-name-that-is-longer-than-most-labels-of-anybody-are"]
SETS = [
    {"text": text, "label": [name for place, name in enumerate(NAMES) if n >> place & 1]}
    for n, text in enumerate(TEXTS)
]
CHOICES = [
    {
        "context": text,
        "question": "What does it tell of?",
        "choices": ["of a lamp at the sea", "of bees", LONG],
        "label": n % 3,
    }
    for n, text in enumerate(TEXTS)
]
TAGS = [
    {"tokens": text.split(), "tags": ["O", "B-PERSON", "I-PERSON", "O", "B-PLACE", *["O"] * (len(text.split()) - 5)]}
    for text in TEXTS
]

# kind: (recipe, examples, overrides, titles of its parts, charts among them)
KINDS = {
    "classification": ("my-classes", None, [], ["Confusion matrix", "By label", "How sure, and how right"], 1),
    "regression": ("my-numbers", PAIRS, ["task.pair=pair"], ["Predicted and true", "How far off"], 2),
    "similarity": ("sentence-vectors", PAIRS, [], ["How close, and how alike"], 1),
    "multi-label": ("my-labels", SETS, ["task.label=label"], ["By label"], 0),
    "multiple-choice": (
        "my-choices",
        CHOICES,
        ["task.context=context", 'task.choices=["choices"]'],
        ["How sure, and how right"],
        1,
    ),
    "token-classification": ("my-tags", TAGS, [], ["By entity"], 0),
    "question-answering": ("squad2", None, ["task.stride=16"], ["How sure, and how right"], 1),
}


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


@pytest.fixture(scope="module")
def open_report(home, tmp_path_factory):
    """What is seen of the report of a kind, whose run is made once, in a window so wide; and the texts it learned."""
    folder = tmp_path_factory.mktemp("browser")

    def see(kind, width):
        run = home / "encoder" if kind == "pretraining" else folder / kind
        if not run.exists():
            _train(kind, home, folder)
        source = (run / "report.html").read_text(encoding="utf-8")
        check_alone(source)
        page = folder / f"{kind}.html"
        page.write_text(source + MEASURE, encoding="utf-8")
        return _look(page, width, folder / "profile")

    return see


def _train(kind, home, folder):
    recipe, examples, overrides, _, _ = KINDS[kind]
    train, dev, more = folder / f"{kind}.jsonl", folder / f"{kind}.jsonl", []
    if examples is not None:
        train.write_text("".join(f"{json.dumps(example)}\n" for example in examples), encoding="utf-8")
    elif kind == "classification":
        train, dev, more = EXAMPLES / "topics-train.csv", EXAMPLES / "topics-dev.csv", ["--seeds", 2]
    else:
        train, dev = EXAMPLES / "train.json", home / "dev.json"
    words = ["--from", home / "encoder", "--train", train, "--dev", dev, "--out", folder / kind, "--limit", 16, *more]
    short = ["train.steps=3", "train.batch_size=8", "task.max_length=64", "train.restarts=0"]
    works("finetune", recipe, *words, *short, *overrides)


def _look(page, width, profile):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    command += [f"--window-size={width},900", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", page.as_uri()]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as browser:
        try:
            dom, errors = browser.communicate(timeout=LIMIT)
        except BaseException:
            os.killpg(browser.pid, signal.SIGKILL)  # its helpers too, which hold the pipes
            raise
    assert browser.returncode == 0, errors
    return json.loads(html.unescape(re.search("<title>(.*?)</title>", dom, re.DOTALL)[1]))


def _texts(kind, home):
    """What stands in the mistakes of this kind, one of them at least."""
    if kind == "classification":
        with (EXAMPLES / "topics-dev.csv").open(encoding="utf-8", newline="") as file:
            return [row["text"] for row in csv.DictReader(file)]
    if kind == "question-answering":
        articles = json.loads((home / "dev.json").read_text(encoding="utf-8"))["data"]
        return [item["question"] for article in articles for part in article["paragraphs"] for item in part["qas"]]
    return TEXTS


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [500, 1400])
@pytest.mark.parametrize("kind", ["pretraining", *KINDS])
def test_it_opens_offline_fits_and_shows_its_parts(kind, width, open_report, home):
    found = open_report(kind, width)
    assert (found["width"], found["overflow"], found["outside"]) == (width, 0, [])
    assert (found["requests"], found["broken"]) == ([], 0)
    assert found["settings"] >= 4
    titles, charts = (KINDS[kind][3], KINDS[kind][4]) if kind in KINDS else ([], 0)
    text = found["text"]
    places = [text.find(f" {words} ") for words in ("Metrics", *titles, "Curves", "Settings")]
    assert -1 not in places and places == sorted(places), text
    assert found["charts"] > charts  # a curve at least
    assert (found["matrix"] > 0) is ("Confusion matrix" in titles)
    assert (found["cells"] > 0) is (kind == "classification" or bool({"By label", "By entity"} & set(titles)))
    assert ("All runs" in text) is (kind == "classification")
    assert (found["mistakes"] > 0) is (kind in KINDS)
    if kind in KINDS:
        mistakes = text[text.index("The worst mistakes") : places[-1]]
        assert any(words in mistakes for words in _texts(kind, home)), mistakes
