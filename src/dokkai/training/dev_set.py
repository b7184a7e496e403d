"""The labelled examples beside a fine-tuning: they choose its weights, and tell how far its probabilities are true."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dokkai.pipeline import Pipeline
from dokkai.progress import say
from dokkai.reporting.forms import Outcomes
from dokkai.reporting.outcomes import describe
from dokkai.settings import TrainSettings
from dokkai.tasks.calibrating import calibrate, can_calibrate


class DevSet:
    """Examples and their features, made once, and what ``pipeline`` predicts for them."""

    def __init__(self, pipeline: Pipeline, examples: Sequence[Any], features: Sequence[Any]) -> None:
        self.examples = examples
        self._pipeline, self._features = pipeline, features
        self.predictions: list[dict[str, Any]] = []
        """Of the last evaluation."""

    def evaluate(self) -> dict[str, float]:
        """The task's metrics for the weights that the model has now."""
        task = self._pipeline.task
        assert task is not None
        self.predictions = self._pipeline.predict(self.examples, self._features)
        return task.score(self.examples, self.predictions)

    def close(self, run: Path, settings: TrainSettings) -> dict[str, Any]:
        """Predict with the weights that stay, and give the model its temperature; returns facts for ``run.json``.

        A temperature that is no better for sure is said, and left out.
        """
        task = self._pipeline.task
        self.evaluate()
        if task is None or not (settings.calibrate and can_calibrate(task)):
            return {}
        calibrated, predictions, found = calibrate(task, self.examples, self.predictions)
        if found.objection is None:
            self._pipeline.task, self.predictions = calibrated, predictions
            self._pipeline.save_task(run)
            say(str(found))
        else:
            say(f"{found}; left out, because {found.objection} (`dokkai evaluate RUN FILE --calibrate` takes it)")
        return {"calibration": asdict(found) | {"left_out": found.objection}}

    def outcomes(self, source: str) -> Outcomes:
        """What the report shows of the predictions; ``source`` says where the examples are from."""
        assert self._pipeline.task is not None
        return describe(self._pipeline.task, self.examples, self.predictions, source)
