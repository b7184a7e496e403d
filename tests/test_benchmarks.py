"""What the measurements record and compare, where a slip would flatter or mislead."""

import json
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dokkai.settings import load_settings

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import agreement
import baselines
import collect
import curve
import measuring
import paper_tasks

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("overrides", "rate"), [([], 3e-4), (["train.learning_rate=1e-4"], 1e-4)])
def test_the_peer_has_the_rate_of_dokkai_though_the_recipe_has_none(overrides, rate):
    args = Namespace(start=ROOT / "models" / "mini-en", overrides=overrides)
    assert agreement.settings_of(args, "mrpc").train.learning_rate == rate


def test_no_threshold_is_chosen_on_the_file_that_it_is_measured_on():
    recipe, _, _, overrides = paper_tasks.TASKS["squad-2.0"]
    assert not load_settings(recipe, overrides).train.tune_threshold


def test_the_last_line_of_a_training_is_collected(tmp_path):
    lines = [{"step": step, "tokens": step} for step in range(1, 251)]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    record = dict.fromkeys(("command", "settings", "versions", "metrics")) | {"sources": {}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    kept = [line["step"] for line in collect.run_record(tmp_path)["training"]]
    assert kept == [*range(1, 250, 2), 250]


def test_the_calibration_is_collected_where_there_is_one(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "tokens": 1}\n')
    record = dict.fromkeys(("command", "settings", "versions", "metrics")) | {"sources": {}}
    found = {"temperature": 1.5, "ece_before": 0.2, "ece_after": 0.1}
    for facts in ({}, {"calibration": found}):
        (tmp_path / "run.json").write_text(json.dumps(record | facts))
        collected = collect.run_record(tmp_path)
        assert {key: collected[key] for key in collected if key == "calibration"} == facts


def test_vectors_of_sentences_stand_beside_the_cosine_of_their_words():
    texts = [("a red house", "a red house"), ("a red house", "a red barn"), ("a red house", "two dogs bark")]
    rows = [SimpleNamespace(text=text, pair=pair) for text, pair in texts]
    task = SimpleNamespace(kind="similarity", score=lambda examples, found: [item["similarity"] for item in found])
    (run,) = baselines.baselines(task, rows, rows)
    same, near, far = run["metrics"]
    assert run["side"] == "tf-idf" and same == pytest.approx(1) and 0 < near < 1 and far == 0


@pytest.mark.skipif(not shutil.which("git"), reason="the commit is asked of git")
@pytest.mark.parametrize("name", ["src/dokkai/loop.py", "benchmarks/baselines.py"])
def test_a_changed_measurement_is_told_from_that_of_its_commit(tmp_path, monkeypatch, name):
    monkeypatch.setattr(measuring, "ROOT", tmp_path)
    (tmp_path / name).parent.mkdir(parents=True)
    for text in ("one", "two"):
        (tmp_path / name).write_text(text)
        if text == "one":
            (tmp_path / "src").mkdir(exist_ok=True)
            who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
            for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "one"]):
                subprocess.run(["git", *words], cwd=tmp_path, check=True)
            assert not measuring.commit().endswith("with changes")
    assert measuring.commit().endswith("with changes")


def trapezoid(folder, state="finished", **task):
    """A run of 16 updates whose rate begins to fall at 12, with checkpoints of 6 and 12."""
    words = ["train.steps=16", "train.cooldown_share=0.25", "task.lengths=[64]", "task.length_shares=[1.0]"]
    settings = load_settings("encoder-en", words).model_dump()
    settings["task"] |= task
    for step in (6, 12):
        curve.checkpoint(folder, step).mkdir(parents=True)
        (curve.checkpoint(folder, step) / "state.json").write_text(f"{step}")
    (folder / "metrics.jsonl").write_text('{"step": 16}\n')
    (folder / "run.json").write_text(json.dumps({"state": state, "settings": settings, "sources": {"init": None}}))
    return folder


def test_a_branch_is_a_shorter_run_by_the_same_recipe(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(curve, "_run", lambda *words: ran.append(words))
    run = trapezoid(tmp_path / "run")
    out = curve.branch(run, tmp_path / "prepared", 6, tmp_path / "branch")
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["train"]["steps"] == 8 and record["state"] == "stopped"
    assert json.loads((run / "run.json").read_text())["settings"]["train"]["steps"] == 16
    assert [place.name for place in (out / "checkpoints").iterdir()] == ["step-00000006"]
    ((verb, recipe, *words),) = ran
    assert (verb, words) == ("pretrain", ["--data", tmp_path / "prepared", "--out", out])
    assert load_settings(str(recipe), []).model_dump() == record["settings"]
    with (out / "metrics.jsonl").open("a") as lines:
        lines.write("more\n")
    assert (run / "metrics.jsonl").read_text() == '{"step": 16}\n', "its own file"


def test_no_curve_of_what_is_none(tmp_path):
    run = trapezoid(tmp_path / "run")
    assert not curve.unfit(run, [0, 6, 12, 16])
    assert "no checkpoint of step 7" in curve.unfit(run, [6, 7])
    assert "step 13 its rate is not at the peak" in curve.unfit(run, [13])
    assert "not finished" in curve.unfit(trapezoid(tmp_path / "running", state="running"), [6, 16])
    assert not curve.unfit(tmp_path / "running", [6])
    assert "other lengths" in curve.unfit(trapezoid(tmp_path / "lengths", lengths=[64, 128]), [6])
