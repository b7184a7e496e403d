"""Fitting the temperature of a task's probabilities to labelled examples.

M decisions: examples, or for several labels each label of each · K what is decided between
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dokkai.errors import UserError
from dokkai.evaluation.calibration import calibration_error, fit_temperature, temper
from dokkai.tasks.base import Task
from dokkai.tasks.classification import Classification
from dokkai.tasks.multi_label import MultiLabel
from dokkai.tasks.multiple_choice import MultipleChoice

_KINDS = (Classification, MultiLabel, MultipleChoice)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted temperature, and the expected calibration error on the examples it was fitted to."""

    temperature: float
    ece_before: float
    ece_after: float
    num_examples: int

    def __str__(self) -> str:
        """One line."""
        if self.temperature == 1:
            return f"temperature 1: nothing to fit, all {self.num_examples:,} examples are right"
        return (
            f"temperature {self.temperature:.3f} fitted to {self.num_examples:,} examples: "
            f"calibration error (ECE) {self.ece_before:.4f} before, {self.ece_after:.4f} after"
        )


def can_calibrate(task: Task) -> bool:
    """Whether the task gives probabilities to labels or choices."""
    return isinstance(task, _KINDS)


def calibrate(
    task: Task, examples: Sequence[Any], predictions: Sequence[dict[str, Any]]
) -> tuple[Task, list[dict[str, Any]], Calibration]:
    """The task with the temperature that fits ``predictions``, and the predictions under it: their labels stay.

    The predictions are those of this task, whatever its temperature is. UserError for a task without probabilities.
    """
    if not isinstance(task, _KINDS):
        raise UserError(f"a temperature is for tasks that give labels a probability, and this is {task.kind}")
    own_MK, gold_M = _decisions(task, examples, predictions)
    is_right = own_MK.argmax(1) == gold_M
    temperature = fit_temperature(own_MK, gold_M, task.settings.temperature)
    new_MK = temper(own_MK, temperature / task.settings.temperature)
    found = Calibration(
        temperature,
        calibration_error(own_MK.max(1), is_right),
        calibration_error(new_MK.max(1), is_right),
        len(examples),
    )
    return task.with_temperature(found.temperature), _with(task, predictions, new_MK), found


def _decisions(
    task: Task, examples: Sequence[Any], predictions: Sequence[dict[str, Any]]
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities ``(M, K)`` and the number of what is right ``(M,)``."""
    match task:
        case Classification():
            probabilities = [list(item["probabilities"].values()) for item in predictions]
            return np.array(probabilities), np.array([task.labels.index(str(row.label)) for row in examples])
        case MultiLabel():
            yes_M = np.array([value for item in predictions for value in item["probabilities"].values()])
            gold_M = np.array([label in row.labels for row in examples for label in task.labels])
            return np.stack([1 - yes_M, yes_M], axis=1), gold_M.astype(int)
        case _:
            most = max(len(item["probabilities"]) for item in predictions)
            rows = [[*item["probabilities"], *[0.0] * (most - len(item["probabilities"]))] for item in predictions]
            return np.array(rows), np.array([item.label for item in examples])


def _with(task: Task, predictions: Sequence[dict[str, Any]], new_MK: np.ndarray) -> list[dict[str, Any]]:
    """The predictions with these probabilities."""
    rows = new_MK[:, 1].reshape(len(predictions), -1) if isinstance(task, MultiLabel) else new_MK
    out = []
    for item, row in zip(predictions, rows.tolist(), strict=True):
        old = item["probabilities"]
        values = dict(zip(old, row, strict=True)) if isinstance(old, dict) else row[: len(old)]
        new = {"probabilities": values} | ({"probability": max(row)} if "probability" in item else {})
        out.append(item | new)
    return out
