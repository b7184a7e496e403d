"""Runs that are killed, stopped, damaged or finished: the same command goes on, to the same bytes."""

import json
import os
import signal
import time

import pytest
import torch

from command_line import dokkai, works
from dokkai.errors import UserError
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.settings import TrainSettings, load_settings
from dokkai.tasks.pretraining import Pretraining
from dokkai.training.checkpoints import checkpoints, load_checkpoint, save_checkpoint
from dokkai.training.loop import _Meter, _signals
from dokkai.training.optimizer import create_optimizers
from killing import finish, kill_when, num_lines, start, wait_for, weights

STEPS = 24
SETTINGS = [
    "model.shape=L2-H64",
    "model.max_position_embeddings=64",
    "model.hidden_dropout_prob=0.1",
    "model.attention_probs_dropout_prob=0.1",
    "task.lengths=[64]",
    "task.length_shares=[1.0]",
    "task.heldout_sequences=8",
    "train.batch_size=8",
    f"train.steps={STEPS}",
    "train.evaluate_every=12",
    "train.log_every=1",
    "train.precision=fp32",
]
READER = [
    "model.hidden_dropout_prob=0.1",
    "model.attention_probs_dropout_prob=0.1",
    "task.max_length=64",
    "task.stride=32",
    "task.max_question_length=16",
    "train.batch_size=4",
    "train.steps=16",
    "train.save_every=1",
    "train.log_every=1",
    "train.precision=fp32",
]


def pretraining(prepared, out, *more):
    return ["pretrain", "demo-pretrain", "--data", prepared, "--out", out, "--device", "cpu", *SETTINGS, *more]


def logged(run):
    """Steps of the training lines and of the evaluations."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [r["step"] for r in records if "loss" in r], [
        r["step"] for r in records if any(name.startswith("heldout/") for name in r)
    ]


@pytest.fixture(scope="module")
def unbroken(prepared, tmp_path_factory):
    """A pre-training with dropout that nobody disturbed, in a process of its own."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    finish(start(*pretraining(prepared, out, "train.save_every=1")))
    return out


def check_whole(run, unbroken):
    assert weights(run) == weights(unbroken)
    assert logged(run) == (list(range(1, STEPS + 1)), [12, 24])
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["state"] == "finished"
    assert not [path.name for path in run.rglob(".*")]


def test_killed_again_and_again(unbroken, prepared, tmp_path):
    out = tmp_path / "run"
    command = pretraining(prepared, out, "train.save_every=1")
    folder = out / "checkpoints"
    kill_when(start(*command), lambda: (out / "run.json").exists())  # before the first step
    kill_when(start(*command), lambda: num_lines(out) >= 4)  # a line is there, its checkpoint perhaps not
    kill_when(start(*command), lambda: num_lines(out) >= 8 and any(folder.glob(".step-*.tmp")))  # while it saves
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 9, "lo')  # what a kill within a write leaves
    kill_when(start(*command), lambda: num_lines(out) >= 16)
    _, err = finish(start(*command))
    assert "going on from step" in err
    check_whole(out, unbroken)


def test_killed_far_from_a_checkpoint(prepared, tmp_path):
    """Steps after the last checkpoint are done again; their lines do not stay behind."""
    whole, out = tmp_path / "whole", tmp_path / "run"
    finish(start(*pretraining(prepared, whole, "train.save_every=7")))
    command = pretraining(prepared, out, "train.save_every=7")
    kill_when(start(*command), lambda: num_lines(out) >= 11)
    finish(start(*command))
    check_whole(out, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_terminated_saves_first(unbroken, prepared, tmp_path, number):
    out = tmp_path / "run"
    command = pretraining(prepared, out, "train.save_every=1")
    heard = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}  # whoever runs the tests may be under nohup
    process = start(*command, **heard)
    wait_for(process, lambda: num_lines(out) >= 5)
    process.send_signal(number)
    result, err = finish(process, 130)
    step = logged(out)[0][-1]
    last = [line for line in err.splitlines() if line.startswith("dokkai: ")]
    assert last == [f"dokkai: stopped at step {step} of {STEPS}; the same command goes on from there"]
    assert err.splitlines()[-1] == last[0]
    assert "Traceback" not in err
    assert result == ""
    assert checkpoints(out)[-1].name == f"step-{step:08d}"
    _, err = finish(start(*command))
    assert f"going on from step {step} of {STEPS}" in err
    check_whole(out, unbroken)


def test_nobody_reads_what_is_said(unbroken, prepared, tmp_path):
    """As in ``2>&1 | tee log`` in a terminal that was closed."""
    out = tmp_path / "run"
    process = start(*pretraining(prepared, out, "train.save_every=1"))
    wait_for(process, lambda: num_lines(out) >= 3)
    process.stderr.close()
    process.stdout.close()
    assert process.wait(timeout=120) == 1  # no reader for its metrics
    check_whole(out, unbroken)


def test_nohup(unbroken, prepared, tmp_path):
    out = tmp_path / "run"
    ignored = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    process = start(*pretraining(prepared, out, "train.save_every=1"), **ignored)
    wait_for(process, lambda: num_lines(out) >= 3)
    process.send_signal(signal.SIGHUP)
    finish(process)
    check_whole(out, unbroken)


def test_terminated_with_its_workers(prepared, tmp_path):
    """A service manager, or a cluster, ends the whole group of processes: what prepares batches waits for the run."""
    out = tmp_path / "run"
    process = start(*pretraining(prepared, out, "train.workers=1", "train.steps=1500"), start_new_session=True)
    wait_for(process, lambda: num_lines(out) >= 3)
    os.killpg(process.pid, signal.SIGTERM)
    _, err = finish(process, 130)
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("dokkai: stopped at step ")
    assert len(checkpoints(out)) == 1


def test_finished_run_does_nothing(unbroken, prepared):
    before = {path: path.stat().st_mtime_ns for path in unbroken.rglob("*")}
    out, err = finish(start(*pretraining(prepared, unbroken, "train.save_every=1")))
    assert f"{unbroken}: this run is finished already" in err
    assert "loss" in out
    assert {path: path.stat().st_mtime_ns for path in unbroken.rglob("*")} == before


def test_damaged_checkpoint_falls_back(unbroken, prepared, tmp_path):
    out = tmp_path / "run"
    command = pretraining(prepared, out, "train.save_every=1")
    kill_when(start(*command), lambda: len(checkpoints(out)) >= 2 and num_lines(out) >= 6)
    before, newest = checkpoints(out)[-2:]
    path = newest / "optimizer.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    _, err = finish(start(*command))
    assert f"{path}: damaged (its checksum differs); going on from the checkpoint before it" in err
    assert f"going on from step {int(before.name[5:])} of" in err
    check_whole(out, unbroken)


def test_paper_recipe_killed(prepared, tmp_path):
    """``paper-base`` scaled down: the optimizer of 2018 on static instances, in two phases."""
    small = ["model.shape=tiny", "model.max_position_embeddings=64", "task.lengths=[32, 64]", "train.steps=20"]
    small += ["task.max_predictions=[5, 10]", "task.static_duplicates=2", "task.heldout_sequences=8"]
    small += ["train.batch_size=4", "train.warmup_share=0.1", "train.save_every=4", "train.log_every=1"]
    small += ["train.evaluate_every=20"]

    def command(out):
        return ["pretrain", "paper-base", "--data", prepared, "--out", out, "--device", "cpu", *small]

    whole, out = tmp_path / "whole", tmp_path / "run"
    works(*command(whole))
    kill_when(start(*command(out)), lambda: num_lines(out) >= 10)
    done = dokkai(*command(out))
    assert done.code == 0 and "going on from step" in done.err
    assert weights(out) == weights(whole)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
    assert rates == pytest.approx([0, 0.5e-4, *(1e-4 * (1 - step / 20) for step in range(2, 20))])


def test_finetuning_killed(unbroken, examples, tmp_path):
    def command(out):
        places = ["--from", unbroken, "--train", examples / "train.json", "--out", out, "--limit", "24"]
        return ["finetune", "demo-questions", *places, "--device", "cpu", *READER]

    whole, out = tmp_path / "whole", tmp_path / "run"
    finish(start(*command(whole)))
    kill_when(start(*command(out)), lambda: num_lines(out) >= 6)
    _, err = finish(start(*command(out)))
    assert "going on from step" in err
    assert weights(out) == weights(whole)
    assert logged(out) == (list(range(1, 17)), [])
    assert (whole / "curves.png").exists()


@pytest.fixture
def small(tokenizer):
    """A model, its optimizers after one update."""
    settings = load_settings("demo-pretrain", SETTINGS)
    task = Pretraining(settings.task, tokenizer)
    config = shape_config("L1-H64", vocab_size=tokenizer.vocab_size, max_position_embeddings=64)
    model = Model(config, task.heads, seed=0)
    optimizers = create_optimizers(model, TrainSettings())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for optimizer in optimizers:
        optimizer.step()
    return model, optimizers


def save(run, step, model, optimizers, keep=2):
    from dokkai.model.checkpoint import WEIGHTS, save_model

    save_model(model, run)
    assert (run / WEIGHTS).exists()
    save_checkpoint(run, step, model, optimizers, {"tokens": 5, "seconds": 0.5}, keep)


@pytest.mark.parametrize("name", ["adamw", "muon", "bert-adam"])
def test_checkpoint_round_trip_and_keep(small, tmp_path, name):
    model, _ = small
    optimizers = create_optimizers(model, TrainSettings(optimizer=name))
    for optimizer in optimizers:
        optimizer.step()
    assert load_checkpoint(tmp_path, model, optimizers) is None
    for step in (1, 2, 3):
        save(tmp_path, step, model, optimizers)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000002", "step-00000003"]
    wanted = {name: value.clone() for name, value in model.state_dict().items()}
    before = remembered(optimizers)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    others = create_optimizers(model, TrainSettings(optimizer=name))
    state = load_checkpoint(tmp_path, model, others)
    assert state is not None and (state["step"], state["tokens"]) == (3, 5)
    assert all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())
    after = remembered(others)
    assert before.keys() == after.keys() and len({parameter for parameter, _ in after}) == len(list(model.parameters()))
    assert all(torch.equal(before[key], after[key]) for key in before)


def remembered(optimizers):
    return {
        (parameter, kind): value.clone()
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
    }


def test_checkpoint_of_another_optimizer(small, tmp_path):
    model, optimizers = small
    save(tmp_path, 1, model, optimizers)
    with pytest.raises(UserError, match="belongs to another optimizer"):
        load_checkpoint(tmp_path, model, create_optimizers(model, TrainSettings(optimizer="muon")))


def test_later_damaged_checkpoints_are_forgotten(small, tmp_path):
    for step in (4, 9):
        save(tmp_path, step, *small)
    save(tmp_path, 5, *small)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000004", "step-00000005"]


def damage_state(folder):
    (folder / "state.json").write_text("{}", encoding="utf-8")


def damage_checksums(folder):
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    (folder / "state.json").write_text(json.dumps(state | {"checksums": []}), encoding="utf-8")


def damage_weights(folder):
    (folder / "model.safetensors").write_bytes(b"x" * 100)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_state, "not the state of a checkpoint"),
        (damage_checksums, "not the state of a checkpoint"),
        (damage_weights, "damaged .its checksum differs."),
    ],
)
def test_no_readable_checkpoint(small, tmp_path, damage, message):
    save(tmp_path, 1, *small)
    damage(checkpoints(tmp_path)[0])
    with pytest.raises(UserError, match=message + ".*; no checkpoint is left to go on from") as caught:
        load_checkpoint(tmp_path, *small)
    assert "\n" not in str(caught.value)


def test_checkpoint_of_another_model(small, tokenizer, tmp_path):
    save(tmp_path, 1, *small)
    config = shape_config("L2-H64", vocab_size=tokenizer.vocab_size, max_position_embeddings=64)
    model = Model(config, small[0].heads, seed=0)
    with pytest.raises(UserError, match="belongs to another model"):
        load_checkpoint(tmp_path, model, create_optimizers(model, TrainSettings()))


def test_loss_that_is_no_number_is_not_saved():
    meter = _Meter({"tokens": 0, "seconds": 0.0})
    batch = {"input_ids": torch.zeros(2, 3)}
    meter.count([batch], {"a": torch.tensor(1.0)}, torch.tensor(1.0))
    meter.check(1)
    meter.count([batch], {"a": torch.tensor(float("nan"))}, torch.tensor(1.0))
    with pytest.raises(UserError, match=r"the loss is not finite at step 2; .*lower train.learning_rate"):
        meter.check(2)


def test_second_signal_does_not_wait():
    before = signal.getsignal(signal.SIGINT)
    with _signals() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_hangup_waits_for_the_saving():
    """A closed terminal may send two: one from the system, one from the shell."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with _signals() as stop:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGHUP)
            assert stop()
    finally:
        signal.signal(signal.SIGHUP, before)
