"""Fitting the temperature of a task's probabilities to labelled examples.

M decisions: examples, or for several labels each label of each · K what is decided between
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dokkai.errors import UserError
from dokkai.evaluation.calibration import (
    calibration_error,
    confidence_loss,
    fit_confidence,
    fit_temperature,
    log_loss,
    temper,
)
from dokkai.settings import QuestionAnsweringSettings
from dokkai.tasks.base import Task
from dokkai.tasks.classification import Classification
from dokkai.tasks.multi_label import MultiLabel
from dokkai.tasks.multiple_choice import MultipleChoice
from dokkai.tasks.question_answering import QuestionAnswering
from dokkai.tasks.spans import margins, weigh_rows

# twice the gain in log likelihood that fitting one number to noise, or two, exceeds in 5 % of all cases
_CHANCE = {1: 3.84, 2: 5.99}
_FEW = 50  # examples: with fewer the weights, too, were chosen by chance
_KINDS = (Classification, MultiLabel, MultipleChoice, QuestionAnswering)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted temperature; log loss and expected calibration error of the examples, without it and with it.

    A temperature makes the loss least, so the calibration error, which is counted in bins, can rise by it. A gain in
    the loss on few examples may be chance. ``null_temperature`` is that of "no answer", where it was fitted too. If not
    ``is_fitted`` they are the old ones: all examples are right, or none is; or some are (``is_mixed``), but no answer
    has a second text beside it.
    """

    temperature: float
    loss_before: float
    loss_after: float
    ece_before: float
    ece_after: float
    num_decisions: int
    num_examples: int
    null_temperature: float | None = None
    is_fitted: bool = True
    is_mixed: bool = True

    @property
    def objection(self) -> str | None:
        """What speaks against the temperature; None if it is better for sure, or if there was nothing to fit."""
        if not self.is_fitted:
            return None
        if self.num_examples < _FEW:
            return "on so few examples the gain may be chance"
        chance = _CHANCE[1 if self.null_temperature is None else 2]
        if self.loss_after > self.loss_before:
            return "the log loss rises"
        if 2 * self.num_decisions * (self.loss_before - self.loss_after) <= chance:
            return "so small a gain may be chance"
        return "the calibration error rises" if self.ece_after > self.ece_before else None

    def __str__(self) -> str:
        """One line."""
        if not self.is_fitted:
            alike = f"all {self.num_examples:,} examples are right, or none is"
            reason = "no answer has a rival" if self.is_mixed else alike
            return f"temperature {self.temperature:g}: nothing to fit, {reason}"
        null = "" if self.null_temperature is None else f', of "no answer" {self.null_temperature:.3f},'
        return (
            f"temperature {self.temperature:.3f}{null} fitted to {self.num_examples:,} examples: log loss "
            f"{self.loss_before:.4f} before, {self.loss_after:.4f} after; calibration error (ECE) "
            f"{self.ece_before:.4f} before, {self.ece_after:.4f} after"
        )


def can_calibrate(task: Task) -> bool:
    """Whether the task gives probabilities to labels, choices or answers."""
    return isinstance(task, _KINDS)


def calibrate(
    task: Task, examples: Sequence[Any], predictions: Sequence[dict[str, Any]]
) -> tuple[Task, list[dict[str, Any]], Calibration]:
    """The task with the temperature that fits ``predictions``, and the predictions under it: labels and answers stay.

    The predictions are those of this task, whatever its temperature is. UserError for a task without probabilities.
    """
    if not isinstance(task, _KINDS):
        raise UserError(
            f"a temperature is for tasks that give labels or answers a probability, and this is {task.kind}"
        )
    if isinstance(task, QuestionAnswering):
        return _calibrate_answers(task, examples, predictions)
    own_MK, gold_M = _decisions(task, examples, predictions)
    is_right = own_MK.argmax(1) == gold_M
    current = task.settings.temperature
    temperature = fit_temperature(own_MK, gold_M, current)
    new_MK = own_MK if temperature == current else temper(own_MK, temperature / current)
    found = Calibration(
        temperature,
        log_loss(own_MK, gold_M),
        log_loss(new_MK, gold_M),
        calibration_error(own_MK.max(1), is_right),
        calibration_error(new_MK.max(1), is_right),
        len(gold_M),
        len(examples),
        is_fitted=not is_right.all(),
        is_mixed=_is_mixed(is_right),
    )
    return task.with_temperature(found.temperature), _with(task, predictions, new_MK), found


def _calibrate_answers(
    task: QuestionAnswering, examples: Sequence[Any], predictions: Sequence[dict[str, Any]]
) -> tuple[Task, list[dict[str, Any]], Calibration]:
    """The right answer need not be among the n best: what is fitted is whether the chosen one is right, exactly."""
    predictions = task.decide(predictions)
    is_right = np.array(task.is_right(examples, predictions))
    found_temperatures = _fit_answers(task.settings, predictions, is_right)
    own = task.settings.temperature, task.settings.null_temperature
    warm = task.with_temperature(*found_temperatures or own)
    new = warm.decide(predictions)
    before, after = (np.array([item["probability"] for item in items]) for items in (predictions, new))
    found = Calibration(
        warm.settings.temperature,
        confidence_loss(before, is_right),
        confidence_loss(after, is_right),
        calibration_error(before, is_right),
        calibration_error(after, is_right),
        len(examples),
        len(examples),
        warm.settings.null_temperature,
        is_fitted=found_temperatures is not None,
        is_mixed=_is_mixed(is_right),
    )
    return warm, new, found


def _fit_answers(
    settings: QuestionAnsweringSettings, predictions: Sequence[dict[str, Any]], is_right: np.ndarray
) -> tuple[float, float | None] | None:
    """The temperature, and under ``no_answer`` the null temperature; None if nothing can be fitted.

    One alone makes answers less sure than they are, as it has to make "no answer" less sure. The temperature stays
    where nothing that is answered has a second text.
    """
    rows = [margins(item["nbest"], settings) for item in predictions]
    has_text = np.array([bool(row) for row in rows])  # of no text "no answer" is sure, whatever is fitted
    is_right_M = is_right[has_text]
    if not _is_mixed(is_right_M):
        return None
    is_null_M = np.array([not item["answer"] for item in predictions])[has_text]
    margins_MK = np.full((len(is_right_M), max(map(len, rows))), -np.inf)
    for number, row in enumerate(filter(None, rows)):
        margins_MK[number, : len(row)] = row
    has_rival = bool(np.isfinite(margins_MK[~is_null_M, 1:]).any())
    names = ["temperature"] * has_rival + ["null_temperature"] * settings.no_answer
    if not names:
        return None

    def confidences(*values: float) -> np.ndarray:
        changes = dict(zip(names, values, strict=True))
        answers_MK, null_M = weigh_rows(margins_MK, settings.model_copy(update=changes))
        return np.where(is_null_M, null_M, answers_MK[:, 0])  # of the texts the first is the one that is given

    found = dict(zip(names, fit_confidence(confidences, is_right_M, len(names)), strict=True))
    return found.get("temperature", settings.temperature), found.get("null_temperature")


def _is_mixed(is_right: np.ndarray) -> bool:
    return bool(is_right.any() and not is_right.all())


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
