"""Several runs by seed or over a grid: each in its directory, the best one's model where a single run has it."""

import html
import json
import os
import re
import signal
import statistics
from types import SimpleNamespace

import pytest

from command_line import EXAMPLES, dokkai, fails, make_home, works
from dokkai.errors import Diverged, Interrupted, UserError
from dokkai.training import finetune as finetuning
from dokkai.training import loop
from dokkai.training.several import Point, choose_points, find_low_rates, grid, run_several, seeds, show_table
from killing import killed_at_call, weights

SHORT = ["train.steps=2", "train.batch_size=8", "task.max_length=16", "train.learning_rate=1e-3", "train.restarts=0"]
GRID = """description = "a small grid"
[task]
kind = "classification"
[grid]
train.learning_rate = [1e-3, 1e-4]
train.seed = [3, 4, 5]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


def command(home, out, *more, recipe="my-classes"):
    files = ["--from", home / "encoder", "--train", EXAMPLES / "topics-train.csv", "--dev", EXAMPLES / "topics-dev.csv"]
    return ["finetune", recipe, *files, "--out", out, "--limit", 24, "--device", "cpu", *SHORT, *more]


def record_of(path):
    return json.loads(path.read_text(encoding="utf-8"))


def table_on(page):
    """The cells of the table of all runs, and the text below it."""
    section = re.search(r"<h2>All runs</h2>(.*?)</section>", page.read_text(encoding="utf-8"), re.DOTALL)[1]
    rows = re.findall("<tr>(.*?)</tr>", section, re.DOTALL)
    cells = [[html.unescape(cell) for cell in re.findall("<t[hd]>(.*?)</t[hd]>", row)] for row in rows]
    return cells, section[section.index("</table>") :]


@pytest.fixture(scope="module")
def three(home, tmp_path_factory):
    """Three seeds, and what was printed."""
    out = tmp_path_factory.mktemp("seeds") / "out"
    return out, works(*command(home, out, "--seeds", 3))


def test_seeds(three):
    out, printed = three
    record = record_of(out / "seeds.json")
    assert [run["name"] for run in record["runs"]] == ["seed-0", "seed-1", "seed-2"]
    assert len({weights(out / run["name"]) for run in record["runs"]}) == 3
    for run in record["runs"]:
        assert run["metrics"] == record_of(out / run["name"] / "run.json")["metrics"]
    values = [run["metrics"]["accuracy"] for run in record["runs"]]
    assert record["mean"]["accuracy"] == pytest.approx(sum(values) / 3)
    assert record["deviation"]["accuracy"] == pytest.approx(statistics.stdev(values))
    best = record["runs"][values.index(max(values))]["name"]
    assert (record["best"], record["state"]) == (best, "finished")
    lines = printed.splitlines()
    assert lines[0].split()[:3] == ["run", "train.seed", "accuracy"]
    assert [line.split()[0] for line in lines[1:]] == ["seed-0", "seed-1", "seed-2", "mean", "deviation"]
    assert [line.split()[0] for line in lines if line.endswith("best")] == [best]


def test_the_best_one_lies_at_out(three):
    out, _ = three
    best = out / record_of(out / "seeds.json")["best"]
    assert weights(out) == weights(best)
    names = {path.name for path in best.iterdir() if path.is_file() and "tfevents" not in path.name}
    assert names | {"seeds.json"} == {path.name for path in out.iterdir() if path.is_file()}
    line = json.loads(works("predict", out, stdin='{"text": "Glaciers carve valleys.", "id": "a"}\n'))
    assert line["id"] == "a" and line["label"]


def test_the_page_at_out_has_all_runs(three):
    """Before all that is of the best one alone; the page of each run stays its own."""
    out, printed = three
    record = record_of(out / "seeds.json")
    (head, *rows), below = table_on(out / "report.html")
    assert head[:3] == ["run", "train.seed", "accuracy"] and {len(row) for row in rows} == {len(head)}
    for row, run in zip(rows, record["runs"], strict=False):
        accuracy = f"{run['metrics']['accuracy']:.4f}"
        mark = " · best" if run["name"] == record["best"] else ""
        assert row[:3] == [run["name"] + mark, run["name"].removeprefix("seed-"), accuracy]
    assert [row[:3] for row in rows[3:]] == [
        [line, "", f"{record[line]['accuracy']:.4f}"] for line in ("mean", "deviation")
    ]
    printed = [line.removesuffix("best").split() for line in printed.splitlines()]
    assert [" ".join(row).replace(" · best", "").split() for row in (head, *rows)] == printed
    assert f"{record['best']} was kept, the best by accuracy" in below and "seeds.json" in below
    of_one = (out / record["best"] / "report.html").read_text(encoding="utf-8")
    assert "All runs" not in of_one
    page = (out / "report.html").read_text(encoding="utf-8")
    section = page[page.index("<section>") : page.index("</section>\n") + len("</section>\n")]
    assert page.index("All runs") < page.index(">Metrics<") and page.replace(section, "", 1) == of_one


def test_a_page_of_before_gets_the_table_too(tmp_path):
    """That of a run which was finished by an older dokkai; a run without a page has none."""
    old = "<html><body><header>\n&lt;/header&gt;\n</header>\n\n<section>numbers</section></body></html>"

    def train(overrides, run):
        run.mkdir(parents=True)
        (run / "run.json").write_text('{"metrics": {"f1": 0.5}}', encoding="utf-8")
        if "old" in run.parts:
            (run / "report.html").write_text(old, encoding="utf-8")
        return SimpleNamespace(task=SimpleNamespace(primary_metric="f1"))

    points = [Point("point-1", ['task.labels=["<a>", "b"]']), Point("point-2", ['task.labels=["b"]'])]
    run_several("grid", points, tmp_path / "old", train)
    cells, below = table_on(tmp_path / "old" / "report.html")
    assert cells == [
        ["run", "task.labels", "f1"],
        ["point-1 · best", '["<a>", "b"]', "0.5000"],
        ["point-2", '["b"]', "0.5000"],
    ]
    assert "point-1 was kept" in below and "grid.json" in below
    page = (tmp_path / "old" / "report.html").read_text(encoding="utf-8")
    assert page.startswith(old[: old.index("\n\n")]) and page.endswith(old[old.index("\n\n") :])
    assert (tmp_path / "old" / "point-1" / "report.html").read_text(encoding="utf-8") == old
    run_several("grid", points, tmp_path / "none", train)
    assert not (tmp_path / "none" / "report.html").exists()


def test_its_folders_lie_there_too(tmp_path):
    """Sentence vectors have one, which ``sentence-transformers`` needs; checkpoints stay with their run."""

    def train(overrides, run):
        for name in ("1_Pooling/config.json", "checkpoints/step-00000001/state.json", "run.json"):
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            (run / name).write_text('{"metrics": {"spearman": 0.5}}', encoding="utf-8")
        return SimpleNamespace(task=SimpleNamespace(primary_metric="spearman"))

    run_several("seeds", [Point("seed-0", [])], tmp_path / "out", train)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["1_Pooling", "run.json", "seed-0", "seeds.json"]
    assert (tmp_path / "out" / "1_Pooling" / "config.json").is_file()


def test_again_nothing_is_trained(three, home):
    out, printed = three
    before = {path: path.stat().st_mtime_ns for path in out.glob("seed-*/*")}
    done = dokkai(*command(home, out, "--seeds", 3))
    assert done.out == printed
    assert done.err.count("this run is finished already") == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not [path.name for path in out.rglob(".*")]


def test_killed_between_and_within(three, home, tmp_path):
    """In the midst of the second seed, then before the third; the same command goes on to the same end."""
    whole, _ = three
    out = tmp_path / "out"
    words = command(home, out, "--seeds", 3)
    killed_at_call(2, finetuning.RunDirectory, "evaluated", lambda: works(*words))
    killed_at_call(2, finetuning.RunDirectory, "finish", lambda: works(*words))
    done = json.loads(works(*words, "--json"))
    assert done["runs"] == record_of(whole / "seeds.json")["runs"]
    assert weights(out) == weights(whole)


def test_grid(home, tmp_path):
    recipe, out = tmp_path / "recipe.toml", tmp_path / "out"
    recipe.write_text(GRID, encoding="utf-8")
    words = [word for word in command(home, out, "--grid", "train.seed=4", recipe=recipe) if word != SHORT[3]]
    done = dokkai(*words)
    printed = done.out
    assert done.code == 0 and "of this grid" not in done.err
    record = record_of(out / "grid.json")
    assert [run["overrides"] for run in record["runs"]] == [
        ["train.learning_rate=0.001"],
        ["train.learning_rate=0.0001"],
    ]
    settings = [record_of(out / run["name"] / "run.json")["settings"]["train"] for run in record["runs"]]
    assert [(item["learning_rate"], item["seed"]) for item in settings] == [(1e-3, 4), (1e-4, 4)]
    assert weights(out) == weights(out / record["best"])
    assert [line.split()[0] for line in printed.splitlines()] == ["run", "point-1", "point-2"]


def test_a_rate_that_is_too_high(home, tmp_path):
    """Its run has no end; the grid has one. If all runs are so, there is no best."""
    recipe, out = tmp_path / "recipe.toml", tmp_path / "out"
    recipe.write_text(GRID.replace("[1e-3, 1e-4]", "[1e30, 1e-3]"), encoding="utf-8")
    words = [word for word in command(home, out, "--grid", "train.seed=4", recipe=recipe) if word != SHORT[3]]
    for _ in range(2):
        done = dokkai(*words)
        assert done.code == 0 and "point-1: the loss is not finite at step 2; it is left out\n" in done.err
        record = record_of(out / "grid.json")
        assert (record["state"], record["best"], record["runs"][0]) == (
            "finished",
            "point-2",
            {"name": "point-1", "overrides": ["train.learning_rate=1e+30"], "metrics": {}, "diverged": True},
        )
        assert record["mean"] == record["runs"][1]["metrics"]
        assert [line.split()[:3] for line in done.out.splitlines()[1:]] == [
            ["point-1", "1e+30", "diverged"],
            ["point-2", "0.001", f"{record['mean']['accuracy']:.4f}"],
        ]
        (head, *rows), _ = table_on(out / "report.html")
        assert head[:3] == ["run", "train.learning_rate", "accuracy"]
        assert [row[:3] for row in rows] == [
            ["point-1", "1e+30", "diverged"],
            ["point-2 · best", "0.001", f"{record['mean']['accuracy']:.4f}"],
        ]
    recipe.write_text(GRID.replace("[1e-3, 1e-4]", "[1e30]"), encoding="utf-8")
    words[words.index(out)] = tmp_path / "none"
    done = dokkai(*words)
    message = "of no run the loss stayed finite; lower train.learning_rate and start again in another directory"
    assert (done.code, done.err.splitlines()[-1]) == (2, f"dokkai: {tmp_path / 'none'}: {message}")


def test_stopped_where_the_loss_is_not_finite():
    """So that the next run does not begin; alone, without a signal, it is the same mistake as ever."""
    mistake = Diverged("the loss is not finite at step 2; lower it")
    with pytest.raises(Interrupted, match="stopped; the loss is not finite at step 2; lower it"), loop._signals():
        os.kill(os.getpid(), signal.SIGTERM)
        raise mistake
    with pytest.raises(Diverged), loop._signals():
        raise mistake


def test_points(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(GRID, encoding="utf-8")
    points = grid(str(recipe), [])
    assert [point.name for point in points] == [f"point-{number}" for number in range(1, 7)]
    assert points[1].overrides == ["train.learning_rate=0.001", "train.seed=4"]
    assert [point.overrides for point in grid(str(recipe), ["train.seed=9"])] == [
        ["train.learning_rate=0.001"],
        ["train.learning_rate=0.0001"],
    ]
    assert len(grid("paper-classes", [])) == 18
    assert grid("paper-classes", [])[0].name == "point-01"
    assert seeds("my-classes", ["train.seed=7"], 2) == [
        Point("seed-7", ["train.seed=7"]),
        Point("seed-8", ["train.seed=8"]),
    ]


def test_what_is_no_search(tmp_path):
    with pytest.raises(UserError, match=r"recipe 'my-classes': it has no .grid.; write one"):
        choose_points("my-classes", [], None, True, True)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(GRID, encoding="utf-8")
    with pytest.raises(UserError, match="all of its grid is given on the command line"):
        grid(str(recipe), ["train.seed=1", "train.learning_rate=1e-3"])
    with pytest.raises(UserError, match="two searches; run the grid first"):
        choose_points("paper-classes", [], 3, True, True)


def test_errors_of_the_command(home, tmp_path):
    words = command(home, tmp_path / "out", "--seeds", 2)
    place = words.index("--dev")
    assert "compare runs on labelled examples; give them with --dev" in fails(*words[:place], *words[place + 2 :])
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("dear", encoding="utf-8")
    assert "holds something else than such runs (no seeds.json in it); choose another --out" in fails(
        *command(home, other, "--seeds", 2)
    )
    assert f"{other / 'letter.txt'} is a file; --out must be a directory" in fails(
        *command(home, other / "letter.txt", "--seeds", 2)
    )


def test_table_of_a_grid_marks_the_best():
    runs = [
        {"name": f"point-{i}", "overrides": [f"train.epochs={i}"], "metrics": {"loss": 1.0, "f1": value}}
        for i, value in ((1, 0.5), (2, 0.75))
    ]
    table = show_table({"kind": "grid", "metric": "f1", "runs": runs, "best": "point-2"})
    assert table.splitlines() == [
        "run      train.epochs  f1      loss",
        "point-1  1             0.5000  1.0000",
        "point-2  2             0.7500  1.0000  best",
    ]


def test_table_says_which_runs_were_stuck():
    stuck = {"step": 6, "label": "no", "loss": 0.69, "guessing": 0.6931, "learning_rate": 1e-5}
    runs = [
        {"name": f"seed-{i}", "overrides": [f"train.seed={i}"], "metrics": {"f1": value}} | facts
        for i, value, facts in (
            (0, 0.25, {"restarts": 2, "stuck": stuck}),
            (1, 0.75, {"restarts": 1, "stuck": None}),
            (2, 0.5, {"restarts": 0, "stuck": None}),
        )
    ]
    record = {"kind": "seeds", "metric": "f1", "runs": runs, "best": "seed-1"}
    table = show_table(record | {"mean": {"f1": 0.5}, "deviation": {"f1": 0.25}})
    assert table.splitlines() == [
        "run        train.seed  f1      restarts",
        "seed-0     0           0.2500  2, stuck",
        "seed-1     1           0.7500  1         best",
        "seed-2     2           0.5000  0",
        "mean                   0.5000",
        "deviation              0.2500",
    ]


@pytest.mark.parametrize(
    ("rates", "width", "is_low"),
    [
        ([5e-5, 2e-5], 384, True),  # usual: 3e-4
        ([1.5e-4], 384, True),
        ([1.6e-4, 2e-5], 384, False),
        ([5e-5, 2e-5], 512, True),  # 1e-4
        ([5e-5, 2e-5], 768, False),  # 5e-5
        ([], 64, False),
    ],
)
def test_rates_that_are_low_for_an_encoder(rates, width, is_low):
    points = [Point(f"point-{i}", [f"train.learning_rate={rate}", "train.seed=1"]) for i, rate in enumerate(rates)]
    points = points or [Point("point-1", ["train.seed=1"])]
    assert (find_low_rates(points, width) is not None) is is_low
    assert "paper-classes-small" not in (find_low_rates(points, width, is_classification=False) or "")


def test_low_rates_of_a_grid_are_said(home, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(GRID.replace("[1e-3, 1e-4]", "[5e-5, 3e-5]"), encoding="utf-8")
    words = command(home, tmp_path / "out", "--grid", "train.seed=4", recipe=recipe)
    done = dokkai(*(word for word in words if word != SHORT[3]))
    assert done.code == 0, done.err
    line = (
        "note: the highest train.learning_rate of this grid is 5e-05, and usual for an encoder 64 wide is 0.0003; "
        "take a recipe with a grid for such encoders (paper-classes-small), or copy yours and write a [grid] of its own"
    )
    assert done.err.splitlines().count(line) == 1


def test_equal_runs_the_first(tmp_path):
    def train(more, out):
        out.mkdir(parents=True)
        (out / "run.json").write_text(json.dumps({"metrics": {"accuracy": 0.5}}), encoding="utf-8")
        return type("Pipeline", (), {"task": type("Task", (), {"primary_metric": "accuracy"})})

    record = run_several("seeds", seeds("my-classes", [], 3), tmp_path / "out", train)
    assert record["best"] == "seed-0"
    assert record["deviation"] == {"accuracy": 0.0}
