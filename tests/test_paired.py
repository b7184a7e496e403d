"""models/paired.py: one run learns masked words and pairs, can be stopped, and leaves a model for masked words."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dokkai
from dokkai.data.prepare import prepare
from dokkai.model.checkpoint import LoadReport, load_model, save_model
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.tokenization import save_tokenizer

ROOT = Path(__file__).parent.parent
SETTINGS = [
    "task.next_sentence=false",
    "task.lengths=[32]",
    "task.length_shares=[1]",
    "task.batch_tokens=256",
    "task.heldout_sequences=8",
]
SETTINGS += ["train.optimizer=adamw", "train.learning_rate=1e-3", "train.micro_batch_tokens=256", "train.workers=0"]
SETTINGS += ["train.evaluate_every=1000", "train.schedule=linear"]


@pytest.fixture
def start(prepared, tokenizer, tmp_path):
    """The script, from a small model, on so many of whose pairs A is B."""
    config = shape_config("L1-H64", vocab_size=tokenizer.vocab_size, model_type="modernbert")
    save_model(Model(config, ("masked_lm",)), tmp_path / "init")
    save_tokenizer(tokenizer, tmp_path / "init")
    lines = [f"the river {n},the river {n},5\nthe river {n},a king,0\n" for n in range(50)]
    (tmp_path / "pairs.csv").write_text("sentence1,sentence2,score\n" + "".join(lines))

    def run(*words, data=prepared, is_stopped=False):
        command = [sys.executable, ROOT / "models" / "paired.py", data, tmp_path / "pairs.csv"]
        command += ["--init", tmp_path / "init", "--out", tmp_path / "out", "--recipe", "demo-pretrain"]
        command += [*SETTINGS, *words]
        process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
        if is_stopped:
            while process.poll() is None and not list(tmp_path.glob("out/checkpoints/step-*")):
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, stderr=said)

    return run


def test_both_are_learned_and_one_is_kept(start, tmp_path):
    done = start("train.steps=40")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    first, last = (line for line in (lines[0], [line for line in lines if "loss/regression" in line][-1]))
    assert last["loss/regression"] < first["loss/regression"] / 2
    assert last["loss/masked_lm"] < first["loss/masked_lm"]
    metrics = json.loads((tmp_path / "out" / "run.json").read_text())["metrics"]
    assert metrics["pair_spearman"] > 0.8 and metrics["masked_lm_loss"] > 0
    model = dokkai.load(tmp_path / "out")
    assert set(model.model.heads) == {"masked_lm"} and model.fill_mask("the [MASK]")
    again = start("train.steps=40")
    assert again.returncode == 0 and "finished already" in again.stderr


def test_a_stopped_run_goes_on_with_both(start, tmp_path):
    """From the checkpoint in the middle, as after a kill, to the same weights; those of the pairs' layer too."""
    words = ("train.steps=4", "train.save_every=2")
    assert start(*words).returncode == 0
    out, weights = tmp_path / "out", (tmp_path / "out" / "model.safetensors").read_bytes()
    record = json.loads((out / "run.json").read_text())
    spearman = record["metrics"].pop("pair_spearman")
    (out / "run.json").write_text(json.dumps(record | {"state": "running"}))
    shutil.rmtree(out / "checkpoints" / "step-00000004")
    again = start(*words)
    assert again.returncode == 0 and "going on from step 2 of 4" in again.stderr, again.stderr
    assert (out / "model.safetensors").read_bytes() == weights
    assert json.loads((out / "run.json").read_text())["metrics"]["pair_spearman"] == spearman
    assert load_model(out)[1] == LoadReport(), "nothing of the pairs is left in it"


def test_a_stop_is_one_line(start):
    done = start("train.steps=1000000", "train.save_every=1", "train.compile=off", is_stopped=True)
    assert done.returncode == 130
    last = done.stderr.splitlines()[-1]
    assert last.startswith("paired.py: stopped at step ") and last.endswith("the same command goes on from there")


def test_a_single_document_leaves_nothing_to_measure_masked_words_on(start, tokenizer, tmp_path):
    (tmp_path / "text.txt").write_text((ROOT / "examples" / "passages.txt").read_text().replace("\n\n", "\n"))
    prepare([tmp_path / "text.txt"], tokenizer, tmp_path / "one", num_processes=1)
    done = start("train.steps=1", data=tmp_path / "one")
    assert done.returncode == 0, done.stderr
    assert set(json.loads((tmp_path / "out" / "run.json").read_text())["metrics"]) == {"pair_spearman"}


def test_bad_settings(start):
    done = start("train.step=3")
    assert done.returncode == 2
    assert done.stderr.startswith("paired.py: ") and done.stderr.count("\n") == 1
