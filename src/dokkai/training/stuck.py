"""Runs that learn nothing: the loss stays that of guessing, and the same is predicted for everything.

Fine-tuning a large model on few examples ends there now and then, for some seeds (paper, section 4.1; Mosbach et al.
2021, "On the Stability of Fine-tuning BERT"); a lower rate helps.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dokkai.progress import say
from dokkai.tasks.base import Guessing

_EARLIEST = 0.3  # share of the run: the rate has risen, and a while has passed
_IN_A_ROW = 3  # evaluations
_MARGIN = 0.05  # share of the loss of guessing; below that the run has learned something
_MARGIN_ALONE = 0.01  # where the loss alone tells: MCTest, learned at last, began 2.4 % below (docs/experiments.md)
_ONE_LABEL = "label"  # the kind whose predictions tell: rare labels, which several may be, are not predicted for long
_REMEDY = "lower train.learning_rate, or look at the labels"
_REMEDY_OF_CHOICES = "lower train.learning_rate, leave out dropout (model.hidden_dropout_prob=0), or look at the labels"
_NONE = "(none)"  # a set of labels without any


class Stuck(Exception):  # noqa: N818 (it is no error: the run begins again)
    """At ``step`` the ``loss`` is no better than ``guess``, that of guessing, and all predictions are ``label``.

    ``label`` is None where the loss alone tells.
    """

    def __init__(self, step: int, label: str | None, loss: float, guess: float) -> None:
        same = "" if label is None else f"every prediction on the dev set is '{label}', and "
        super().__init__(
            f"step {step}: stuck: {same}the loss ({loss:.3f}) is no better than that of guessing ({guess:.3f})"
        )
        shown = {} if label is None else {"label": label}
        self.facts = {"step": step, **shown, "loss": round(loss, 4), "guessing": round(guess, 4)}


class StuckWatch:
    """Looks at every evaluation whether the run has learned anything.

    ``guessing`` is what the task says of the best guess that does not look at the text. A class that is only frequent
    is no sign: a model that answers with it but has begun to tell the texts apart is below that loss. ``predictions``
    gives the predictions of the last evaluation. Without ``may_restart`` it is only said, and ``stuck`` has it.
    """

    def __init__(
        self,
        guessing: Guessing,
        predictions: Callable[[], Sequence[Mapping[str, Any]]],
        may_restart: bool = True,
    ) -> None:
        self._guess, self._key = guessing.loss, guessing.key
        self._margin = _MARGIN if guessing.key == _ONE_LABEL else _MARGIN_ALONE
        self._predictions, self._may_restart = predictions, may_restart
        self._loss = torch.zeros(())
        self._earlier: list[float] = []  # the losses of the last evaluations
        self._updates = self._evaluations = self._in_a_row = self._flat = 0
        self.stuck: dict[str, Any] | None = None
        """What was said when no restart was left, unless the run has learned something since."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` gave to a checkpoint."""
        self._loss = torch.tensor(state["loss"])
        self._updates, self._evaluations, self._in_a_row = state["updates"], state["evaluations"], state["in_a_row"]
        self._flat, self._earlier = state.get("flat", self._in_a_row), state.get("earlier", [])  # older ones have none
        self.stuck = state.get("stuck")

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        counts = {"updates": self._updates, "evaluations": self._evaluations, "in_a_row": self._in_a_row}
        return {"loss": float(self._loss), "earlier": self._earlier, "flat": self._flat, "stuck": self.stuck} | counts

    def count(self, losses: Mapping[str, Tensor]) -> None:
        """Add one update; nothing is moved from the device here."""
        loss = torch.stack(list(losses.values())).sum()
        self._loss = self._loss.to(loss.device) + loss
        self._updates += 1

    def judge(self, step: int, share: float, is_last: bool) -> None:
        """After an evaluation, when ``share`` of the run is over. Raises Stuck.

        That takes three evaluations in a row and a third of the run; at the end of a run, that none was better. A loss
        on its way down to that of guessing is not counted, at the end neither: with rare labels it begins far above.
        """
        loss, self._loss = float(self._loss) / max(1, self._updates), torch.zeros(())
        self._updates = 0
        self._evaluations += 1
        same = self._same()
        has_learned = len(same) > 1 or loss < (1 - self._margin) * self._guess
        is_falling = self._is_falling(loss)
        self._earlier = [*self._earlier, loss][-_IN_A_ROW:]
        self._in_a_row = 0 if has_learned else self._in_a_row + 1
        self._flat = 0 if has_learned or is_falling else self._flat + 1
        if has_learned:
            self.stuck = None
        is_sure = self._flat >= _IN_A_ROW and share >= _EARLIEST
        if is_sure or (is_last and self._in_a_row == self._evaluations and not is_falling):
            found = Stuck(step, same.pop(), loss, self._guess)
            if self._may_restart:
                raise found
            if self.stuck is None:
                remedy = _REMEDY_OF_CHOICES if self._key is None else _REMEDY
                say(f"{found}; no restart is left (train.restarts): {remedy}")
                self.stuck = found.facts

    def _is_falling(self, loss: float) -> bool:
        """Whether a loss above that of guessing is lower than it was up to three evaluations ago.

        At the first evaluation nothing tells. It counts as falling where the loss begins far above that of guessing, as
        with rare labels; not for one label each, where a run that is so high there has most likely come apart.
        """
        if loss <= (1 + self._margin) * self._guess:
            return False
        return loss < (1 - self._margin) * self._earlier[0] if self._earlier else self._key != _ONE_LABEL

    def _same(self) -> set[str | None]:
        """What the predictions say, once each; None alone where they do not count."""
        if self._key is None:
            return {None}
        values = [item[self._key] for item in self._predictions()]
        return {", ".join(value) or _NONE if isinstance(value, list) else str(value) for value in values}
