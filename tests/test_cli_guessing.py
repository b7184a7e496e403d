"""`dokkai finetune` without a recipe: it guesses, says so, asks nothing, and goes on."""

import json
import re
import shutil

import pytest

from command_line import EXAMPLES, dokkai, external, fails, make_home, tree, works
from dokkai import shipped
from dokkai.training.finetune import usual_head_rate, usual_rate

SHORT = ["task.max_length=64", "train.steps=2", "train.batch_size=4"]


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


def test_a_table_without_a_recipe(home, tmp_path):
    words = ["finetune", *SHORT, "--train", EXAMPLES / "topics-train.csv", "--from", home / "encoder"]
    done = dokkai(*words, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "where column 'label' holds 6 different values: task.kind=classification task.text=text" in done.err
    num_rows = len((EXAMPLES / "topics-train.csv").read_text(encoding="utf-8").splitlines()) - 1
    num_held = round(num_rows / 10)
    assert f"is held out to measure on (train.dev_share): {num_held} examples" in done.err
    assert f"fine-tuning on {num_rows - num_held} examples" in done.err
    assert "labels, in the order of the logits: " in done.err
    assert "accuracy" in done.out
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["settings"]["task"]["label"] == "label" and record["settings"]["train"]["dev_share"] == 0.1
    assert record["sources"]["num_examples"] == num_rows - num_held and record["sources"]["dev"] is None
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert f"On {num_held} examples held out of {EXAMPLES / 'topics-train.csv'}." in report
    before = tree(tmp_path / "run")
    again = dokkai(*words, "--out", tmp_path / "run")
    assert again.code == 0 and "this run is finished already" in again.err
    assert tree(tmp_path / "run") == before
    (prediction,) = works("predict", tmp_path / "run", stdin='{"text": "A volcano."}\n').splitlines()
    assert len(json.loads(prediction)["probabilities"]) == 6


def test_with_a_file_to_measure_on_nothing_is_held_out(home, tmp_path):
    train = tmp_path / "train.csv"
    lines = (EXAMPLES / "topics-train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    lines = lines[:1] + lines[1:20] + lines[-20:]
    train.write_text("".join(lines[:37]), encoding="utf-8")
    dev = tmp_path / "dev.csv"
    dev.write_text("".join(lines[:1] + lines[34:40]), encoding="utf-8")
    words = ["finetune", "--train", train, "--dev", dev, "--from", home / "encoder", "--out", tmp_path / "run", *SHORT]
    done = dokkai(*words)
    assert done.code == 0, done.err
    assert "held out" not in done.err and "fine-tuning on 36 examples" in done.err
    assert "3 of 6 examples to measure on are among those to train on too (line 2, line 3, line 4)" in done.err


def test_a_table_and_nothing_else(home, tmp_path, monkeypatch):
    """Without --train, --from and --out: a table in the place of a recipe, the encoder that ships, its name."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "models")
    shutil.copytree(home / "encoder", tmp_path / "models" / "encoder-en")
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "topics-train.csv", tmp_path / "mine.v2.csv")
    done = dokkai("finetune", "mine.v2.csv", *SHORT)
    assert done.code == 0 and "the run goes to runs/mine; --out RUN names another place" in done.err, done.err
    record = json.loads((tmp_path / "runs" / "mine" / "run.json").read_text(encoding="utf-8"))
    assert record["state"] == "finished" and record["sources"]["train"].endswith("mine.v2.csv")
    assert record["sources"]["from"] == "encoder-en"


def test_a_recipe_holds_out_nothing_unless_it_says_so(home, tmp_path):
    words = ["my-classes", "--train", EXAMPLES / "topics-train.csv", "--from", home / "encoder", *SHORT]
    done = dokkai("finetune", *words, "--out", tmp_path / "run", "train.dev_share=0.5")
    assert done.code == 0 and "no recipe" not in done.err and "held out" in done.err


def test_labels_that_are_cut_off(home, tmp_path):
    """To leave them out of ``task.labels`` is no advice where nobody has set that."""
    words = ["finetune", "my-classes", "--train", EXAMPLES / "topics-train.csv", "--from", home / "encoder", *SHORT]
    done = dokkai(*words, "--limit", 4, "--out", tmp_path / "run")
    assert done.code == 0 and "to train on, as all are held out to measure on, or cut off by --limit" in done.err
    labels = json.loads((tmp_path / "run" / "task.json").read_text(encoding="utf-8"))["labels"]
    done = dokkai(*words, "--out", tmp_path / "named", f"task.labels={json.dumps([*labels, 'none'])}")
    assert "no example of 'none' to train on; add some, or leave out of task.labels what has none" in done.err


def test_a_recipe_without_a_rate_takes_that_of_the_width(home, tmp_path):
    """Narrow encoders need more than the paper's; what was taken stands in the record, and what is said counts."""
    words = ["finetune", "my-classes", "--train", EXAMPLES / "topics-train.csv", "--from", home / "encoder", *SHORT]
    said = ["train.learning_rate=1e-5", "train.head_rate=2"]
    for name, more, rates in (
        ("usual", [], (3e-4, 10)),
        ("said", said, (1e-5, 2)),
        ("released", ["train.optimizer=bert-adam"], (3e-4, 1)),
    ):
        works(*words, "--out", tmp_path / name, *more)
        record = json.loads((tmp_path / name / "run.json").read_text(encoding="utf-8"))
        train = record["settings"]["train"]
        assert (train["learning_rate"], train["head_rate"]) == rates


def test_tags_and_answers_have_one_rate(home, tmp_path):
    """A faster new layer has only been measured where one judges whole texts."""
    words = ["finetune", "my-questions", "--train", EXAMPLES / "train.json", "--from", home / "encoder", "--limit", 20]
    works(*words, "--out", tmp_path / "run", "task.no_answer=true", *SHORT)
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["settings"]["train"]["head_rate"] == 1


@pytest.mark.parametrize(
    ("width", "rate", "head"), [(1024, 2e-5, 1), (768, 5e-5, 1), (512, 1e-4, 1), (384, 3e-4, 10), (64, 3e-4, 10)]
)
def test_rates_by_width(width, rate, head, tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "hidden_size": width,
                "num_attention_heads": 1,
                "num_hidden_layers": 1,
                "intermediate_size": 8,
                "vocab_size": 9,
            }
        )
    )
    assert (usual_rate(tmp_path), usual_head_rate(tmp_path)) == (rate, head)


def test_questions_without_a_recipe(home, tmp_path):
    words = ["--train", EXAMPLES / "train.json", "--from", home / "encoder", "--out", tmp_path / "run", "--limit", 40]
    done = dokkai("finetune", *words, *SHORT, "task.stride=16")
    assert done.code == 0, done.err
    assert (
        "articles hold paragraphs with questions (SQuAD): task.kind=question-answering task.no_answer=true" in done.err
    )


TEXTS = ["the sea is grey", "a hill of ash", "rain falls", "old walls"]
FILES = {
    "multi-label": (
        "a.csv",
        "text,tags\n" + "".join(f"{text},{tags}\n" for text, tags in zip(TEXTS, ["x|y", "x", "y", "x"], strict=True)),
    ),
    "regression": ("a.csv", "text,score\n" + "".join(f"{text},{n / 2}\n" for n, text in enumerate(TEXTS))),
    "multiple-choice": (
        "a.jsonl",
        "".join(
            json.dumps({"question": text, "choices": ["yes", "no"], "label": n % 2}) + "\n"
            for n, text in enumerate(TEXTS)
        ),
    ),
    "token-classification": ("a.bio", "\n".join(f"{text.split()[0]} O\n{text.split()[1]} B-X\n" for text in TEXTS)),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_trains(kind, home, tmp_path):
    name, content = FILES[kind]
    (tmp_path / name).write_text(content, encoding="utf-8")
    words = ["--train", tmp_path / name, "--from", home / "encoder", "--out", tmp_path / "run", *SHORT]
    done = dokkai("finetune", *words)
    assert done.code == 0, done.err
    assert f"task.kind={kind}" in done.err and "(train.dev_share): 1 examples" in done.err
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["settings"]["train"]["head_rate"] == (10 if kind in ("multi-label", "regression") else 1)


def test_mistakes(home, tmp_path):
    def said(train, *more):
        done = dokkai("finetune", "--train", train, "--from", home / "encoder", "--out", tmp_path / "run", *more)
        assert (done.code, done.out) == (2, "") and "Traceback" not in done.err
        return done.err.splitlines()[-1]

    table = tmp_path / "a.csv"
    table.write_text("first,second\n1,2\n2,3\n", encoding="utf-8")
    assert "a.csv: no kind of task fits its columns (first, second); name them" in said(table)
    assert "a.csv: no column 'stars'; there is: first, second" in said(table, "task.label=stars")
    assert said(tmp_path / "nothing.csv").endswith("nothing.csv: no such file")
    assert said(tmp_path / "nothing").endswith("nothing: no such file")
    assert re.search(
        r"no such file, and the Hugging Face hub cannot be reached .*check the name", said("nobody/nothing")
    )
    assert "unknown task.kind 'clasification'; did you mean 'classification'?" in said(table, "task.kind=clasification")
    shutil.copy(EXAMPLES / "topics-train.csv", table)
    assert "a.csv: unknown setting 'train.epoch'; did you mean 'train.epochs'?" in said(table, "train.epoch=3")
    assert "unknown recipe 'label=x'" in said(table, "label=x")
    line = "no examples to train on; give --train FILE, or the file alone: dokkai finetune my.csv"
    assert fails("finetune", "--from", home / "encoder") == fails("finetune", "my-classes") == line
    assert fails("finetune", "none.csv").startswith("none.csv: no such file, and no recipe of this name; there is: ")
    line = "my-clases: no such file, and no recipe of this name; did you mean 'my-classes'?"
    assert fails("finetune", "my-clases") == line
    assert fails("finetune", "..") == "no name for the run is in '..'; give --out RUN"
    done = dokkai("finetune", "nobody/nothing[train]", "--from", home / "encoder")
    assert done.code == 2 and "runs/nothing;" in done.err and "hub cannot be reached" in done.err
    assert not (tmp_path / "run").exists()


def test_a_guess_loads_no_library_that_it_does_not_need(tmp_path):
    """A CSV is read without datasets; `dokkai --help` anyway."""
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,2\n", encoding="utf-8")
    check = (
        "import atexit, sys\n"
        "heavy = {'datasets', 'pyarrow', 'pandas'}\n"
        "atexit.register(lambda: print('LOADED', sorted(heavy & set(sys.modules))))"
    )
    done = external("finetune", "--train", path, "--from", tmp_path, "--out", tmp_path / "run", code=check)
    assert done.returncode == 2 and done.stdout.rstrip().endswith("LOADED []")
