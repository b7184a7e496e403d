"""models/build.py: from text to both directories, stopped and gone on with; weights cut up and put together."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest
import torch

import dokkai
from dokkai.errors import UserError
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.pipeline import Pipeline

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "models" / "build.py"
EXAMPLES = ROOT / "examples"
TASK = {"max_length": 128, "stride": 64, "no_answer": False}


def load_script():
    spec = importlib.util.spec_from_file_location("build", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(tmp_path, *words, text=EXAMPLES / "passages.txt"):
    return subprocess.run(command(tmp_path, *words, text=text), capture_output=True, text=True, cwd=tmp_path)


def command(tmp_path, *more, text=EXAMPLES / "passages.txt"):
    words = [sys.executable, SCRIPT, text, "--train", EXAMPLES / "train.json"]
    words += ["--dev", EXAMPLES / "dev.json", "--work", tmp_path / "work", "--ship", tmp_path / "ship"]
    words += ["--vocab-size", "1024", "--encoder", "demo-pretrain", "--reader", "demo-questions"]
    words += ["--set", "model.shape=L1-H64", "train.steps=4", "task.lengths=[32]", "task.length_shares=[1.0]"]
    words += ["--pairs", "60", "--set-paired", "train.steps=2", "task.lengths=[32]", "task.length_shares=[1.0]"]
    words += [
        "--set-reader",
        "train.epochs=1",
        "--set-longer",
        "train.steps=2",
        "task.max_length=128",
        "task.stride=64",
    ]
    words += ["--dtype", "bfloat16", *more]
    return [*map(str, words)]


def test_from_text_to_the_directories_in_two_sittings(tmp_path):
    short = start(tmp_path, "--minutes", "0.001")
    assert short.returncode == load_script().GO_ON
    assert not (tmp_path / "ship").exists()
    done = start(tmp_path, "--pieces", tmp_path / "pieces")
    assert done.returncode == 0, done.stderr
    reader, encoder = (dokkai.load(tmp_path / "ship" / name) for name in ("reader-en", "encoder-en"))
    assert reader.ask("Who?", "Ada wrote it.").answer in "Ada wrote it."
    assert encoder.fill_mask("the [MASK]")
    assert "dev.json --calibrate" in done.stderr, "temperatures of the weights as they are shipped"
    assert not (tmp_path / "ship" / "reader-en" / "checkpoints").exists()
    names = ("paired", "reader", "longer", "longer-2")
    runs = {name: json.loads((tmp_path / "work" / name / "run.json").read_text()) for name in names}
    assert runs["paired"]["command"] == "paired" and runs["paired"]["metrics"]["pair_spearman"] > -1
    assert runs["paired"]["sources"]["init"] == str(tmp_path / "work" / "encoder")
    assert runs["reader"]["sources"]["from"] == str(tmp_path / "work" / "paired")
    assert runs["longer"]["sources"]["from"] == str(tmp_path / "work" / "reader")
    assert runs["longer"]["settings"]["model"]["hidden_dropout_prob"] == 0 and runs["longer"]["state"] == "finished"
    assert runs["longer-2"]["sources"]["from"] == str(tmp_path / "work" / "longer")
    assert runs["longer-2"]["settings"]["model"]["hidden_dropout_prob"] == 0.1
    learned = dokkai.load(tmp_path / "work" / "longer-2").model.state_dict()
    for name, tensor in reader.model.state_dict().items():
        assert tensor.equal(learned[name].bfloat16().float()), "the one that learned on is shipped"
    assert len((tmp_path / "work" / "pairs.csv").read_text().splitlines()) == 1 + 60
    load_script().join(tmp_path / "pieces", tmp_path / "joined")
    for name, tensor in dokkai.load(tmp_path / "joined").model.state_dict().items():
        assert tensor.equal(reader.model.state_dict()[name]), "bf16 both"
    again = start(tmp_path)
    assert again.returncode == 0, again.stderr
    assert "$ dokkai convert" in again.stderr and "$ dokkai pretrain" not in again.stderr
    assert "paired.py" not in again.stderr
    configs = [json.loads((tmp_path / part / "config.json").read_text()) for part in ("ship/encoder-en", "work/paired")]
    assert [config["hidden_dropout_prob"] for config in configs] == [0.1, 0.0], "for fine-tuning, and as it was trained"
    texts = start(tmp_path, text=EXAMPLES / "volcano.txt")
    assert texts.returncode == 2 and "other source files" in texts.stderr.splitlines()[-1], "models of other texts"
    for options in (
        ["--vocab-size", "512"],
        ["--pairs", "61"],
        ["--reader", "squad"],
        ["--set-reader", "train.seed=3"],
        ["--set-longer", "train.seed=3"],
    ):
        words = start(tmp_path, *options)
        assert words.returncode == 2 and "was made by" in words.stderr and words.stderr.count("\n") == 1, words.stderr
    other = start(tmp_path, "--pairs", "0")
    assert other.returncode == 2 and "work/longer was made by" in other.stderr.splitlines()[-1]
    other = start(tmp_path, "--longer", "none")
    assert other.returncode == 2 and "work/longer is there" in other.stderr.splitlines()[-1]
    shutil.rmtree(tmp_path / "work" / "longer")
    other = start(tmp_path)
    assert other.returncode == 2 and "work/longer-2 has learned on from another" in other.stderr.splitlines()[-1]
    shutil.rmtree(tmp_path / "work" / "longer-2")
    other = start(tmp_path, "--pairs", "0")
    assert other.returncode == 2 and "work/reader" in other.stderr.splitlines()[-1], "a reader of other weights"
    shutil.rmtree(tmp_path / "work" / "reader")
    without = start(tmp_path, "--pairs", "0", "--longer", "none")
    assert without.returncode == 0, without.stderr
    shipped, pretrained = dokkai.load(tmp_path / "ship" / "encoder-en"), dokkai.load(tmp_path / "work" / "encoder")
    for name, tensor in shipped.model.state_dict().items():
        assert tensor.equal(pretrained.model.state_dict()[name].bfloat16().float()), "before the pairs"


def test_what_may_change_and_when(tmp_path, monkeypatch):
    """Before a run is finished what its verb says, such as less memory; from then on no option, --init neither."""
    script = load_script()
    monkeypatch.setattr(script.Sitting, "verb", lambda self, *words: None)
    monkeypatch.setattr(script, "lay", lambda *words, **more: None)
    lists = dict.fromkeys(("texts", "set", "set_reader", "set_paired", "set_longer"), ())
    texts = {"encoder": "e", "reader": "r", "train": "train.json", "dev": "dev.json", "dtype": "int8"}
    others = {"minutes": None, "pairs": 0, "pieces": None, "init": None, "vocab_size": 9, "dropout": 0.1}
    args = {"work": tmp_path, "ship": tmp_path, "longer": ["longer.toml"]} | lists | texts | others
    for state in ("running", "finished"):
        for name in ("encoder", "reader") if state == "running" else ("encoder", "reader", "longer"):
            (tmp_path / name).mkdir(exist_ok=True)
            record = {"state": state, "sources": {"from": str(tmp_path / "encoder")}, "settings": {"task": TASK}}
            (tmp_path / name / "run.json").write_text(json.dumps(record))
        changes = ({"set": ["train.micro_batch_tokens=9"]}, {"init": "i"}, {"train": "t"}, {"dev": "d"})
        for change in changes:
            if state == "running":
                script.build(Namespace(**args | change))
            else:
                with pytest.raises(UserError, match=r"(encoder|reader) was made by"):
                    script.build(Namespace(**args | change))
        script.build(Namespace(**args))
    for recipe in ("none", "b/longer.toml"):
        with pytest.raises(UserError, match=r"longer (is there|was made by)"):
            script.build(Namespace(**args | {"longer": [recipe]}))
    more = args | {"longer": ["longer.toml", "again.toml"]}
    script.build(Namespace(**more))
    (tmp_path / "longer-2").mkdir()
    with pytest.raises(UserError, match="longer-2 is there already"):
        script.build(Namespace(**args))
    for stage in ("longer-2", "longer"):
        (tmp_path / stage / "run.json").write_text(json.dumps({"state": "finished"}))
        script.build(Namespace(**more))
    (tmp_path / "longer" / "run.json").write_text(json.dumps({"state": "running"}))
    with pytest.raises(UserError, match="longer-2 has learned on from another reader; remove it"):
        script.build(Namespace(**more))
    shutil.rmtree(tmp_path / "longer-2")
    (tmp_path / "longer-kept-by-me").mkdir()
    script.build(Namespace(**args | {"longer": ["longer.toml"]}))
    for state in ("finished", "running"):
        (tmp_path / "longer" / "run.json").write_text(json.dumps({"state": state}))
        (tmp_path / "reader" / "run.json").write_text(json.dumps({"state": "running"}))
        with pytest.raises(UserError, match="longer has learned on from another reader; remove it"):
            script.build(Namespace(**args))


@pytest.mark.parametrize("may_refuse", [True, False])
def test_the_shipped_reader_is_fitted_again(may_refuse, tmp_path, monkeypatch):
    """Where no threshold is any good the verb says so, and the old ones stay; other ends are ends."""
    script = load_script()
    (tmp_path / "task.json").write_text(json.dumps({"task": {"no_answer": may_refuse}}))
    without = ("evaluate", tmp_path, "dev.json", "--calibrate")
    first = (*without, "--set-threshold") if may_refuse else without
    refused = script.REFUSED
    for codes, expected in (
        ((None,), [first]),
        ((refused, None), [first, without] if may_refuse else [first]),
        ((refused, refused), [first, without] if may_refuse else [first]),  # what is wrong is not the threshold
        ((script.GO_ON,), [first]),
        ((1,), [first]),
    ):
        words, left = [], list(codes)

        def verb(self, *options, words=words, left=left):
            words.append(options)
            if code := left.pop(0):
                raise SystemExit(code)

        monkeypatch.setattr(script.Sitting, "verb", verb)
        if codes[-1] is None and (may_refuse or len(codes) == 1):
            script.fit(script.Sitting(None), tmp_path, "dev.json")
        else:
            with pytest.raises(SystemExit):
                script.fit(script.Sitting(None), tmp_path, "dev.json")
        assert words == expected


@pytest.mark.slow  # it starts seven verbs
def test_stopped_in_the_middle_of_the_pretraining(tmp_path):
    """Ctrl-C for all processes, as on a terminal: it saves itself, leaves its pieces, and goes on from there."""
    more = ["--pairs", "0", "--pieces", tmp_path / "pieces", "--set", "model.shape=L1-H64", "task.lengths=[32]"]
    more += ["task.length_shares=[1.0]", "train.steps=1000000", "train.save_every=5"]
    run, last = tmp_path / "work" / "encoder", 0
    for sitting in (1, 2):
        with (tmp_path / "said").open("w") as said:
            process = subprocess.Popen(command(tmp_path, *more), cwd=tmp_path, stderr=said, start_new_session=True)
            while process.poll() is None and steps_of(run) < last + 10:
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait() == load_script().GO_ON, (tmp_path / "said").read_text()
        if sitting == 2:
            assert f"going on from step {last:,} of" in (tmp_path / "said").read_text()
        last = steps_of(run)
        assert json.loads((run / "run.json").read_text())["state"] != "finished" and not (tmp_path / "ship").exists()
    load_script().join(tmp_path / "pieces", tmp_path / "joined")
    dokkai.load(tmp_path / "joined")


STOPPED = """
import sys
sys.path.insert(0, {models!r})
import build
from pathlib import Path
build.build = lambda args: build.Sitting(None)._run(["-c", Path("verb.py").read_text()])
build.cut = lambda work, out: out.touch()
build.main("text --train questions --dev questions --pieces pieces".split())
"""
VERB = """
import signal, sys, time
from pathlib import Path
def save(number, frame):
    time.sleep(0.3)
    Path("saved").touch()
    sys.exit(130)
signal.signal(signal.SIGINT, save)
Path("ready").touch()
time.sleep(20)
"""


def test_what_is_done_when_the_time_is_over_is_done(monkeypatch):
    """A verb that hears of nothing, under nohup and `&`, may end while it is waited for; the next is not begun."""
    build = load_script()
    monkeypatch.setattr(build, "ignore_stops", lambda: None)
    sitting = build.Sitting(0.001)  # which is over before any verb is done
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a child begins with it
    try:
        sitting._end += 0.5
        sitting._run(["-c", "import time; time.sleep(1)"])
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(SystemExit) as end:
        sitting._run(["-c", ""])
    assert end.value.code == build.GO_ON


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_machine_that_is_taken_back_or_a_closed_terminal(tmp_path, number):
    """The verb, in a session of its own, hears nothing of it: it is told to save itself, and is not left running."""
    (tmp_path / "verb.py").write_text(VERB)
    driver = STOPPED.format(models=str(SCRIPT.parent))
    process = subprocess.Popen(
        [sys.executable, "-c", driver],
        cwd=tmp_path,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # whoever runs the tests may be under nohup
    )
    while process.poll() is None and not (tmp_path / "ready").exists():
        time.sleep(0.02)
    while process.poll() is None:  # as often as it likes
        process.send_signal(number)
        time.sleep(0.1)
    assert process.returncode == load_script().GO_ON
    assert (tmp_path / "saved").exists() and (tmp_path / "pieces").exists()


@pytest.mark.parametrize("task", [TASK, TASK | {"null_slack": 0.2}])
def test_who_learns_on_keeps_the_slack_of_the_reader(tmp_path, task):
    """Of one that was made before there was any, there is none to keep."""
    build, ran = load_script(), []
    (tmp_path / "reader").mkdir()
    (tmp_path / "reader" / "run.json").write_text(json.dumps({"state": "finished", "settings": {"task": task}}))
    sitting = Namespace(verb=lambda *words: ran.append(words))
    args = Namespace(work=tmp_path, train="t", dev="d", set_longer=[])
    build.read_on(sitting, "longer.toml", tmp_path / "reader", tmp_path / "longer", args)
    assert ("task.null_slack=0.2" in ran[0]) is ("null_slack" in task)
    assert {"task.max_length=128", "task.stride=64", "task.no_answer=false"} <= set(ran[0])


def test_practice_is_mixed_with_the_questions_once(tmp_path, monkeypatch):
    """What the reader learns from is then the file of both; one that learned from another is refused."""
    build, ran = load_script(), []

    def run(sitting, words):
        words = [*map(str, words)]
        ran.append(
            words[words.index("dokkai.cli") + 1 :] if "dokkai.cli" in words else [Path(words[0]).name, *words[1:]]
        )
        out = Path(words[words.index("--out") + 1])
        if ran[-1][0] in ("pretrain", "finetune"):
            out.mkdir()
            record = {"state": "finished", "sources": {"from": str(tmp_path / "encoder")}}
            (out / "run.json").write_text(json.dumps(record))
        elif ran[-1][0] == "practice.py":
            out.touch()

    monkeypatch.setattr(build.Sitting, "_run", run)
    monkeypatch.setattr(build, "lay", lambda *args, **kwargs: None)
    lists = dict.fromkeys(("texts", "set", "set_reader", "set_paired", "set_longer"), ())
    others = {"vocab_size": 1, "encoder": "e", "init": None, "dtype": "int8", "dropout": 0.1, "pieces": None}
    questions = {"reader": "reader-en", "train": "t.json", "dev": "d.json", "longer": ["none"]}
    args = {"work": tmp_path, "ship": tmp_path / "ship", "minutes": None, "pairs": 0, "practice": 2}
    args |= lists | others | questions
    for _ in range(2):
        build.build(Namespace(**args))
    mixed = str(tmp_path / "questions.json.xz")
    assert [words for words in ran if words[0] == "practice.py"] == [
        ["practice.py", "t.json", "--out", mixed, "--variants", "2"]
    ]
    (finetune,) = [words for words in ran if words[0] == "finetune"]
    assert finetune[finetune.index("--train") + 1] == mixed
    for other in ({"train": "u.json"}, {"practice": 3}, {"practice": 0}):
        (tmp_path / "questions.json.xz").unlink(missing_ok=True)
        with pytest.raises(UserError, match="reader was made by"):
            build.build(Namespace(**args | other))
    monkeypatch.setattr(build, "digest_of_practice", lambda: "0123abcd")  # of other texts
    with pytest.raises(
        UserError, match=r"reader was made by .*'--practice', '2', 'texts:[0-9a-f]{8}'.*, not .*'texts:0123abcd'"
    ):
        build.build(Namespace(**args))
    with pytest.raises(UserError, match=r"--practice has .*; squad needs task\.no_answer=true"):
        build.build(Namespace(**args | {"reader": "squad", "work": tmp_path / "other"}))
    assert not (tmp_path / "other").exists(), "found out before the hours of pre-training"


def test_a_sitting_ends_with_the_encoder_so_that_it_can_be_brought_over(tmp_path, monkeypatch):
    build, ran = load_script(), []

    def run(sitting, words):
        words = list(map(str, words))
        verb = words[2] if words[1] == "dokkai.cli" else Path(words[0]).stem
        ran.append(verb)
        if "--out" not in words:
            return
        out = Path(words[words.index("--out") + 1])
        if verb == "pairs":
            out.touch()
            return
        out.mkdir(parents=True, exist_ok=True)
        start = words[words.index("--from") + 1] if "--from" in words else None
        record = {"state": "finished", "sources": {"from": start}, "settings": {"task": TASK}}
        (out / "run.json").write_text(json.dumps(record))
        (out / "config.json").write_text("{}")
        (out / "task.json").write_text(json.dumps({"task": TASK}))

    monkeypatch.setattr(build, "STOPS", ())  # those of this process stay as they are
    monkeypatch.setattr(build.Sitting, "_run", run)
    monkeypatch.setattr(build, "cut", lambda work, out: ran.append("cut"))
    more = ["--minutes", "9", "--pieces", str(tmp_path / "pieces")]
    with pytest.raises(SystemExit) as ended:
        build.main([*command(tmp_path)[2:], *more])
    assert ended.value.code == build.GO_ON and ran[-3:] == ["pairs", "paired", "cut"]
    ran.clear()
    build.main([*command(tmp_path)[2:], *more])
    assert [verb for verb in ran if verb not in ("vocab", "prepare")] == [
        "finetune",
        "finetune",
        "finetune",
        "convert",
        "convert",
        "evaluate",
        "cut",
    ]


@pytest.mark.parametrize("words", [("--pieces", "full"), ("--join", "pieces", "full")])
def test_a_folder_with_something_else_is_not_replaced(tmp_path, words, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(SystemExit) as ended:
        load_script().main(["text", "--train", "a", "--dev", "b", *words])
    assert ended.value.code == 2 and (tmp_path / "full" / "thesis.txt").exists()
    said = capsys.readouterr().err
    assert said.startswith("build.py: full ") and said.count("\n") == 1


def steps_of(run):
    """The number of the newest checkpoint."""
    return max((int(place.name.removeprefix("step-")) for place in run.glob("checkpoints/step-*")), default=0)


def test_a_text_without_pairs_is_found_out_before_the_pretraining(tmp_path):
    (tmp_path / "short.txt").write_text((EXAMPLES / "passages.txt").read_text().replace(". ", ".\n\n"))
    done = start(tmp_path, text=tmp_path / "short.txt")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("pairs.py: ") and not (tmp_path / "work" / "encoder").exists()


def test_a_piece_that_is_lost(tmp_path, tokenizer, monkeypatch):
    build = load_script()
    monkeypatch.setattr(build, "PIECE", 1000)
    run = tmp_path / "work" / "encoder"
    config = shape_config("L1-H64", vocab_size=tokenizer.vocab_size, model_type="modernbert")
    Pipeline(Model(config, ("masked_lm",), seed=1), tokenizer, None, torch.device("cpu")).save(run)
    (run / "run.json").write_text(json.dumps({"state": "finished"}))
    (run / "metrics.jsonl").write_text("")
    pieces = tmp_path / "pieces"
    build.cut(tmp_path / "work", pieces)
    assert len(list(pieces.iterdir())) > 3 and max(file.stat().st_size for file in pieces.iterdir()) <= 1000
    build.join(pieces, tmp_path / "whole")
    assert json.loads((tmp_path / "whole" / "run.json").read_text()) == {"state": "finished"}
    dokkai.load(tmp_path / "whole")
    build.cut(tmp_path / "work", pieces)
    for lost in ("encoder.tar.001", "sha256"):
        (pieces / lost).unlink()
        with pytest.raises(SystemExit, match="bring them over again"):
            build.join(pieces, tmp_path / "other")
    assert not (tmp_path / "other").exists()
