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
