"""The labelled examples beside a fine-tuning: they choose its weights, and tell how far its probabilities are true."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dokkai.errors import UserError
from dokkai.pipeline import Pipeline
from dokkai.progress import say
from dokkai.reporting.forms import Outcomes
from dokkai.reporting.outcomes import describe
from dokkai.settings import TrainSettings
from dokkai.tasks import QuestionAnswering
from dokkai.tasks.calibrating import calibrate, can_calibrate


class DevSet:
    """Examples and their features, made once, and what ``pipeline`` predicts for them."""

    def __init__(self, pipeline: Pipeline, examples: Sequence[Any], features: Sequence[Any]) -> None:
        self.examples = examples
        self._pipeline, self._features = pipeline, features
        self.predictions: list[dict[str, Any]] = []
        """Of the last evaluation."""
        self._metrics: dict[str, float] = {}

    def evaluate(self) -> dict[str, float]:
        """The task's metrics for the weights that the model has now."""
        task = self._pipeline.task
        assert task is not None
        self.predictions = self._pipeline.predict(self.examples, self._features)
        self._metrics = task.score(self.examples, self.predictions)
        return self._metrics

    def close(self, run: Path, settings: TrainSettings, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Predict with the weights that stay, whose evaluation ``metrics`` is; give the model its null threshold and
        its temperatures, where the task has them. Returns facts for ``run.json``; ``metrics`` among them, where the
        threshold changed them.

        A temperature that is no better for sure is said, and left out.
        """
        if metrics is not self._metrics:  # else the last evaluation was of these weights
            self.evaluate()
        facts: dict[str, Any] = {}
        if settings.tune_threshold:
            facts |= self._tune_threshold()
        task = self._pipeline.task
        if task is not None and settings.calibrate and can_calibrate(task):
            calibrated, predictions, found = calibrate(task, self.examples, self.predictions)
            if found.objection is None:
                self._pipeline.task, self.predictions = calibrated, predictions
                say(str(found))
            else:
                say(f"{found}; left out, because {found.objection} (`dokkai evaluate RUN FILE --calibrate` takes it)")
            facts["calibration"] = asdict(found) | {"left_out": found.objection}
        if facts:
            self._pipeline.save_task(run)
        return facts

    def _tune_threshold(self) -> dict[str, Any]:
        task = self._pipeline.task
        if not isinstance(task, QuestionAnswering) or not task.has_threshold(self.examples):
            return {}
        before = task.score(self.examples, self.predictions)
        try:
            tuned = task.with_threshold(task.best_threshold(self.examples, self.predictions))
        except UserError as error:
            say(f"{error}; the null threshold stays {task.settings.null_threshold:g}")
            return {}
        self._pipeline.task, self.predictions = tuned, tuned.decide(self.predictions)
        after = tuned.score(self.examples, self.predictions)
        value = tuned.settings.null_threshold
        found = {"value": value, "f1_before": before["f1"], "f1_after": after["f1"]}
        say(f"null threshold {value:.3f}: F1 on the dev set {before['f1']:.2f} before, {after['f1']:.2f} after")
        return {"null_threshold": found, "metrics": after}

    def outcomes(self, source: str) -> Outcomes:
        """What the report shows of the predictions; ``source`` says where the examples are from."""
        assert self._pipeline.task is not None
        return describe(self._pipeline.task, self.examples, self.predictions, source)
