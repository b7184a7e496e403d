"""What a run leaves behind: its record, its lines, its curves, its events; and whom it refuses."""

import contextlib
import json
import os

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dokkai.errors import UserError
from dokkai.reporting.curves import draw_curves
from dokkai.settings import Settings
from dokkai.training import run_directory
from dokkai.training.run_directory import RunDirectory

SETTINGS = {"description": "a test", "train": {"seed": 0, "lengths": [64]}, "task": {"kind": "pretraining"}}
SOURCES = {"data": "abc"}


def open_run(path, settings=None, sources=None):
    return RunDirectory(path, "pretrain", settings or SETTINGS, sources or SOURCES)


def steps(path):
    return [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def stopped(tmp_path):
    """A run that wrote four lines and an evaluation, and was not finished."""
    path = tmp_path / "run"
    run = open_run(path)
    with run:
        run.start_at(0)
        for step in range(1, 5):
            run.log(step, {"loss": 4.0 / step, "learning_rate": 0.1})
        run.evaluated(4, {"loss": 1.5, "accuracy": 0.5})
    return path


def test_nothing_is_written_before_the_start(tmp_path):
    open_run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_record_and_finish(stopped):
    record = json.loads((stopped / "run.json").read_text(encoding="utf-8"))
    assert (record["command"], record["settings"], record["sources"]) == ("pretrain", SETTINGS, SOURCES)
    assert {"dokkai", "torch", "python"} <= record["versions"].keys()
    assert (record["state"], record["metrics"]) == ("running", {"loss": 1.5, "accuracy": 0.5})
    run = open_run(stopped)
    assert not run.is_finished
    with run:
        run.start_at(4)
        run.finish(metrics={"accuracy": 0.75})
    again = open_run(stopped)
    assert again.is_finished
    assert again.metrics == {"accuracy": 0.75}


def test_lines_after_the_checkpoint_are_dropped(stopped):
    with (stopped / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('5\n\n{"step": 1')  # no object, an empty line, and one cut off by a kill
    run = open_run(stopped)
    with run:
        run.start_at(2)
        assert steps(stopped) == [1, 2]
        run.log(3, {"loss": 9.0})
    assert steps(stopped) == [1, 2, 3]


def test_curves_are_a_picture(stopped):
    from matplotlib.image import imread

    path = stopped / "curves.png"
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    picture = imread(path)
    assert min(picture.shape[:2]) > 200
    assert picture[..., :3].std() > 0.02  # something is drawn on it


def test_drawing_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    """A picture that takes a second is followed by none for twenty; the last one is drawn at the end."""
    clock, drawn = [1000.0], []

    def draw(path):
        drawn.append(clock[0])
        clock[0] += 1.0

    monkeypatch.setattr(run_directory, "draw_curves", draw)
    monkeypatch.setattr(run_directory.time, "monotonic", lambda: clock[0])
    run = open_run(tmp_path / "run")
    with run:
        run.start_at(0)
        for step in range(1, 31):
            run.evaluated(step, {"accuracy": 0.5})
            clock[0] += 1.0
        run.finish(metrics={})
    assert drawn == [1000.0, 1021.0, 1032.0]


def test_curves_without_an_evaluation(tmp_path):
    run = open_run(tmp_path / "run")
    with run:
        run.start_at(0)
        run.log(1, {"loss": 1.0})
        run.finish(metrics={})
    assert (tmp_path / "run" / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_events_are_readable_and_resume_purges(stopped):
    run = open_run(stopped)
    with run:
        run.start_at(2)
        run.log(3, {"loss": 9.0})
    assert len(list(stopped.glob("events.out.tfevents.*"))) == 2  # a second start in the same second as well
    reader = EventAccumulator(str(stopped))
    reader.Reload()
    assert {"loss", "learning_rate", "heldout/accuracy"} <= set(reader.Tags()["scalars"])
    assert [(event.step, event.value) for event in reader.Scalars("loss")] == [(1, 4.0), (2, 2.0), (3, 9.0)]


def test_other_settings_are_refused(stopped):
    other = SETTINGS | {"train": {"seed": 1, "lengths": [64]}}
    with pytest.raises(UserError, match=r"holds a run with other settings \(train.seed was 0, is 1\); choose another"):
        open_run(stopped, other)
    with pytest.raises(UserError, match=r"sources.data was abc, is xyz"):
        open_run(stopped, sources={"data": "xyz"})
    open_run(stopped, SETTINGS | {"description": "said in other words"})


def test_other_versions_are_noted(stopped, capsys):
    path = stopped / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | {"versions": {"dokkai": "0"}}), encoding="utf-8")
    with open_run(stopped) as run:
        run.take()
    assert "note: the run was started with other versions: {'dokkai': '0'}" in capsys.readouterr().err


def test_what_may_change_when_a_run_goes_on(stopped, capsys):
    """How it is saved, and how much is in memory at a time: the way out when memory runs out late in a run."""
    record = json.loads((stopped / "run.json").read_text(encoding="utf-8"))
    record["settings"]["train"]["micro_batch_tokens"] = 64
    (stopped / "run.json").write_text(json.dumps(record), encoding="utf-8")
    less = SETTINGS | {"train": SETTINGS["train"] | {"micro_batch_tokens": 32}}
    with open_run(stopped, less) as run:
        run.start_at(4)
    assert capsys.readouterr().err == "note: train.micro_batch_tokens was 64, is 32\n"
    assert json.loads((stopped / "run.json").read_text(encoding="utf-8"))["settings"] == less


def test_a_setting_that_an_older_dokkai_did_not_know(tmp_path):
    settings = Settings().model_dump()
    old = {name: dict(part) if isinstance(part, dict) else part for name, part in settings.items()}
    del old["train"]["optimizer"]
    with open_run(tmp_path / "run", old) as run:
        run.start_at(0)
    open_run(tmp_path / "run", settings, SOURCES | {"checksum": 5})
    with pytest.raises(UserError, match=r"train.optimizer was adamw, is muon"):
        open_run(tmp_path / "run", settings | {"train": settings["train"] | {"optimizer": "muon"}})


def test_another_process_that_ended_meanwhile(tmp_path):
    """What the directory says is read again once it is ours."""
    late = open_run(tmp_path / "run", SETTINGS | {"train": {"seed": 7}})
    with open_run(tmp_path / "run") as first:
        first.start_at(0)
    with late, pytest.raises(UserError, match=r"train.seed was 0, is 7"):
        late.start_at(0)


def test_places_that_are_no_run(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="is a file; --out must be a directory"):
        open_run(tmp_path / "file")
    with pytest.raises(UserError, match="holds something that is no run; choose another --out"):
        open_run(tmp_path)
    (tmp_path / "run.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="not the record of a dokkai run; choose another --out"):
        open_run(tmp_path)


def test_place_that_cannot_be_written(tmp_path):
    run = open_run(tmp_path / "file" / "run")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot write .*; choose another --out"), run:
        run.start_at(0)


def test_two_at_once(stopped):
    """The second is refused while the first is at it, and not after it, in the same process too."""
    first, second = open_run(stopped), open_run(stopped)
    with first:
        first.start_at(4)
        with pytest.raises(UserError, match="another process is at this run; wait, or choose another --out"), second:
            second.start_at(4)
    with pytest.raises(KeyboardInterrupt), second:
        second.start_at(4)
        raise KeyboardInterrupt
    third = open_run(stopped)
    with third:
        third.start_at(4)


def test_what_a_kill_left_is_cleaned_up(stopped):
    left = stopped / f".run.json.{os.getpid()}.tmp"
    left.write_text("{", encoding="utf-8")
    run = open_run(stopped)
    with run:
        run.start_at(4)
        assert not left.exists()


def test_what_a_kill_left_in_the_checkpoints_makes_room_first(stopped):
    """On a disk that is nearly full the next checkpoint would never fit beside half of another."""
    left = stopped / "checkpoints" / ".step-00000004.123456.tmp"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half of it")
    run = open_run(stopped)
    with run:
        run.take()
        assert not left.exists()


@pytest.mark.parametrize("number", range(4))
def test_killed_while_the_checkpoints_go(number, stopped, monkeypatch):
    """All of them are there, or none: half a checkpoint would look like a damaged one."""
    folder = stopped / "checkpoints" / "step-00000004"
    folder.mkdir(parents=True)
    for name in ("state.json", "model.safetensors", "optimizer.safetensors"):
        (folder / name).write_bytes(b"x")
    run = open_run(stopped)
    with run:
        run.start_at(4)
        with monkeypatch.context() as patch:
            unlink, calls = os.unlink, []

            def killed(*arguments, **options):
                calls.append(arguments)
                if len(calls) > number:
                    raise KeyboardInterrupt
                unlink(*arguments, **options)

            patch.setattr(os, "unlink", killed)
            with contextlib.suppress(KeyboardInterrupt):
                run.restart(step=4)
        assert len(calls) >= min(number + 1, 3)
    assert not folder.exists() or len(list(folder.iterdir())) == 3
    again = open_run(stopped)
    with again:
        again.take()
        assert not list(stopped.glob(".*"))


def test_line_that_cannot_be_written(stopped):
    run = open_run(stopped)
    with run:
        run.start_at(4)
        (stopped / "metrics.jsonl").unlink()
        (stopped / "metrics.jsonl").mkdir()
        with pytest.raises(UserError, match=r"cannot write to .*make room, then the same command goes on"):
            run.log(5, {"loss": 1.0})


def test_what_came_before_a_start_from_bare_weights(stopped, tmp_path):
    """Steps count on, over a second restart too; where the optimizer began anew is marked; a rerun adds nothing."""
    with (stopped / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 5, "los')  # cut off by a kill
    for start, out in ((stopped, tmp_path / "second"), (tmp_path / "second", tmp_path / "third")):
        for _ in range(2):
            with RunDirectory(out, "pretrain", SETTINGS, SOURCES, start) as run:
                run.start_at(0)
                run.log(3, {"loss": 1.0})
    lines = [json.loads(line) for line in (tmp_path / "third" / "earlier.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4, 4, 7, 7]
    assert [(line["step"], line["restart"]) for line in lines if "restart" in line] == [
        (4, str(stopped)),
        (7, str(tmp_path / "second")),
    ]
    draw_curves(tmp_path / "third")
    assert (tmp_path / "third" / "curves.png").stat().st_size > 10_000


def test_a_model_without_measurements_has_no_past(tmp_path):
    with RunDirectory(tmp_path / "run", "pretrain", SETTINGS, SOURCES, tmp_path) as run:
        run.start_at(0)
    assert not (tmp_path / "run" / "earlier.jsonl").exists()
