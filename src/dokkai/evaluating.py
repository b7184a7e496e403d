"""Scores of a model on a file of labelled examples; files of its answers; the null threshold."""

import math
from pathlib import Path

from dokkai.data.squad import write_answers
from dokkai.errors import UserError
from dokkai.files import write_json
from dokkai.pipeline import load
from dokkai.progress import say
from dokkai.tasks import QuestionAnswering
from dokkai.tasks.calibrating import calibrate, can_calibrate


def evaluate_file(
    run: str | Path,
    file: Path,
    predictions: Path | None = None,
    squad_files: Path | None = None,
    set_threshold: bool = False,
    calibrated: bool = False,
    always_answer: bool = False,
    device: str | None = None,
) -> dict[str, float]:
    """The metrics of a model on a file.

    ``predictions`` names a JSON file for the predictions, ``squad_files`` a directory for the three files of the 2018
    release. ``set_threshold`` finds the null threshold with the best F1 on the file, keeps it in the model directory,
    and scores with it; ``calibrated`` does the same with what makes its probabilities true. ``always_answer`` scores
    with no threshold at all: no question is refused. UserError if the model has no task, or not the one that an option
    is for.
    """
    for is_wanted, option in ((set_threshold, "--set-threshold"), (calibrated, "--calibrate")):
        if is_wanted and not Path(run).is_dir():
            copy = f"copy it first: `dokkai convert {run} --out DIR`"
            raise UserError(f"{run}: {option} writes to the model, and this is no directory of yours; {copy}")
    pipeline = load(run, device)
    task = pipeline.task
    if task is None:
        raise UserError(f"{run}: a model without a task cannot be evaluated; fine-tune it first")
    reader = task if isinstance(task, QuestionAnswering) else None
    if reader is None and (squad_files is not None or set_threshold or always_answer):
        raise UserError(
            f"--squad-files, --set-threshold and --always-answer are for question answering; {run} is for {task.kind}"
        )
    if always_answer and (set_threshold or calibrated):
        raise UserError("--always-answer knows no threshold; leave out --set-threshold and --calibrate")
    if calibrated and not can_calibrate(task):
        raise UserError(f"--calibrate is for models that give probabilities; {run} is for {task.kind}")
    if reader is not None and always_answer:
        task = pipeline.task = reader.with_threshold(math.inf)
    examples = task.read(file)
    if reader is not None and set_threshold:
        reader.check_threshold(examples)  # before the long part
    found = pipeline.predict(examples)
    if reader is not None and set_threshold:
        task = pipeline.task = reader.with_threshold(reader.best_threshold(examples, found))
        found = task.decide(found)
        pipeline.save_task(Path(run))
        say(f"{run}: the null threshold is now {task.settings.null_threshold}")
    if calibrated:
        task.score(examples, found)  # says what is wrong with the labels
        task, found, calibration = calibrate(task, examples, found)
        pipeline.task = task
        pipeline.save_task(Path(run))
        say(f"{run}: {calibration}")
    if predictions is not None:
        write_json(predictions, found)
    if squad_files is not None:
        write_answers(squad_files, found, task.settings.no_answer)
    return task.score(examples, found)
