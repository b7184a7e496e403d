"""Which of the evaluated weights become the model at the end, and when a run has waited long enough for better ones."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from dokkai.files import link
from dokkai.progress import say
from dokkai.settings import TrainSettings
from dokkai.tasks import Task
from dokkai.training.checkpoints import BEST, FOLDER, load_weights, save_weights


class Selection:
    """The best evaluation of a run so far by the task's primary metric, with its weights.

    The weights lie in one file from the moment they were evaluated. Every checkpoint links to the file of its time, so
    what a run goes on from is one state: the last good checkpoint and the best weights before it.
    """

    def __init__(self, run: Path, task: Task, settings: TrainSettings) -> None:
        self._path = run / FOLDER / BEST
        self._metric, self._patience = task.primary_metric, settings.patience
        self._keeps = settings.keep == "best" or (settings.keep == "auto" and task.kind != "pretraining")
        self._waited = 0
        self.step = 0
        """Of the best evaluation; 0: there was none."""
        self.metrics: dict[str, float] = {}
        """Of the best evaluation."""

    def restore(self, state: Mapping[str, Any], checkpoint: Path) -> None:
        """Take up what ``state`` gave to a checkpoint; the file of the best weights is that of the checkpoint again."""
        self.step, self.metrics, self._waited = state["step"], dict(state["metrics"]), state["waited"]
        if (checkpoint / BEST).exists():
            link(checkpoint / BEST, self._path)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, beside the file."""
        return {"step": self.step, "metrics": self.metrics, "waited": self._waited}

    def see(self, step: int, metrics: dict[str, float], model: nn.Module) -> None:
        """Compare an evaluation of the weights that ``model`` has now. Of equals the earlier is better; nan is none."""
        value = metrics.get(self._metric, math.nan)
        if math.isnan(value) or (self.step and value <= self.metrics[self._metric]):
            self._waited += 1
            return
        self.step, self.metrics, self._waited = step, metrics, 0
        if self._keeps:
            save_weights(model, self._path)

    @property
    def is_over(self) -> bool:
        """Whether ``train.patience`` evaluations have passed without a better one."""
        return self._patience is not None and self._waited >= self._patience

    @property
    def path(self) -> Path | None:
        """The best weights; None if there are none, or the last ones are wanted."""
        return self._path if self._keeps and self.step else None

    def move_into(self, model: nn.Module) -> None:
        """The best weights become those of the model."""
        assert self.path is not None
        load_weights(model, self.path)

    def facts(self, last: int) -> dict[str, Any]:
        """For ``run.json``, after the update ``last``: the best evaluation, and whether the run stopped early."""
        if not self.step:
            return {}
        best = {"step": self.step, "metric": self._metric, "value": self.metrics[self._metric]}
        kept = {"kept": self.step} if self.path is not None else {}
        return {"best": best} | kept | ({"stopped_early": last} if self.is_over else {})

    def tell(self, last: int) -> None:
        """Say what becomes the model, and why the run ended early."""
        if self.is_over:
            say(f"stopped at step {last}: no better {self._metric} in {self._waited} evaluations (train.patience)")
        if self.path is not None and self.step != last:
            say(
                f"the model is that of step {self.step}, with the best {self._metric}: {self.metrics[self._metric]:.4g}"
            )
