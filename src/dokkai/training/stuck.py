"""Runs that learn nothing: the loss stays that of guessing, and one class is predicted for everything.

Fine-tuning a large model on few examples ends there now and then, for some seeds (paper, section 4.1; Mosbach et al.
2021, "On the Stability of Fine-tuning BERT"); a lower rate helps.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dokkai.progress import say

_EARLIEST = 0.3  # share of the run: the rate has risen, and a while has passed
_IN_A_ROW = 3  # evaluations
_MARGIN = 0.05  # share of the loss of guessing; below that the run has learned something


class Stuck(Exception):  # noqa: N818 (it is no error: the run begins again)
    """At ``step`` all predictions are ``label``, and ``loss`` is no better than ``guess``, that of guessing."""

    def __init__(self, step: int, label: str, loss: float, guess: float) -> None:
        super().__init__(
            f"step {step}: stuck: every prediction on the dev set is '{label}', and the loss ({loss:.3f}) "
            f"is no better than that of guessing ({guess:.3f})"
        )
        self.facts = {"step": step, "label": label, "loss": round(loss, 4), "guessing": round(guess, 4)}


class StuckWatch:
    """Looks at every evaluation whether a classification has learned anything.

    ``labels`` are those of the training examples. Their entropy is the loss of the best guess that does not look at the
    text; with equally many of each it is ln(number of classes). A class that is only frequent is no sign: a model that
    answers with it but has begun to tell the texts apart is below that loss. ``predictions`` gives the predictions of
    the last evaluation. Without ``may_restart`` it is only said, once.
    """

    def __init__(
        self,
        labels: Sequence[str],
        predictions: Callable[[], Sequence[Mapping[str, Any]]],
        may_restart: bool = True,
    ) -> None:
        shares = [count / len(labels) for count in Counter(labels).values()]
        self._guess = sum(share * math.log(1 / share) for share in shares)
        self._predictions, self._may_restart = predictions, may_restart
        self._has_said = False
        self._loss = torch.zeros(())
        self._updates = self._evaluations = self._in_a_row = 0

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` gave to a checkpoint."""
        self._loss = torch.tensor(state["loss"])
        self._updates, self._evaluations, self._in_a_row = state["updates"], state["evaluations"], state["in_a_row"]

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        counts = {"updates": self._updates, "evaluations": self._evaluations, "in_a_row": self._in_a_row}
        return {"loss": float(self._loss)} | counts

    def count(self, losses: Mapping[str, Tensor]) -> None:
        """Add one update; nothing is moved from the device here."""
        loss = torch.stack(list(losses.values())).sum()
        self._loss = self._loss.to(loss.device) + loss
        self._updates += 1

    def judge(self, step: int, share: float, is_last: bool) -> None:
        """After an evaluation, when ``share`` of the run is over. Raises Stuck.

        That takes three evaluations in a row and a third of the run; at the end of a run, that none was better.
        """
        loss, self._loss = float(self._loss) / max(1, self._updates), torch.zeros(())
        self._updates = 0
        self._evaluations += 1
        labels = {str(item["label"]) for item in self._predictions()}
        has_learned = len(labels) > 1 or loss < (1 - _MARGIN) * self._guess
        self._in_a_row = 0 if has_learned else self._in_a_row + 1
        is_sure = self._in_a_row >= _IN_A_ROW and share >= _EARLIEST
        if is_sure or (is_last and self._in_a_row == self._evaluations):
            found = Stuck(step, labels.pop(), loss, self._guess)
            if self._may_restart:
                raise found
            if not self._has_said:
                say(f"{found}; no restart is left (train.restarts): lower train.learning_rate, or look at the labels")
            self._has_said = True
