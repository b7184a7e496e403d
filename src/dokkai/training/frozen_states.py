"""What frozen layers make of the sequences of a run: computed once, then read from the disk, in every epoch and run.

The layers above, or one head, are then all that costs anything (paper, section 5.3: "pre-compute an expensive
representation of the training data once and then run many experiments with cheaper models on top").

B batch · L sequence length · D hidden size
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dokkai.errors import UserError
from dokkai.pipeline import Pipeline
from dokkai.settings import TrainSettings
from dokkai.tasks.base import ModelInput, rows
from dokkai.training.cached_states import CachedStates, cache_states


class FrozenStates:
    """The output of layer ``number`` for known sequences; in the place of ``Model.read_below``."""

    def __init__(self, number: int, sets: Sequence[tuple[Sequence[ModelInput], CachedStates]]) -> None:
        self._number = number
        self._sets = [
            ({_name(item.input_ids, item.token_type_ids): place for place, item in enumerate(inputs)}, states)
            for inputs, states in sets
        ]

    def __call__(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor | None) -> tuple[int, Tensor]:
        """All arguments ``(B, L)``; the number, and ``(B, L, D)``, zeros at padding.

        A batch is of one set; KeyError where a sequence is not.
        """
        ids, types = input_ids.cpu().numpy(), token_type_ids.cpu().numpy()
        ends = [ids.shape[1]] * len(ids) if attention_mask is None else attention_mask.sum(1).tolist()
        names = [_name(ids[row, :end], types[row, :end]) for row, end in enumerate(ends)]
        for places, states in self._sets:
            if all(name in places for name in names):
                x_BLD = states.pad([places[name] for name in names], ids.shape[1])[:, :, 0]
                return self._number, x_BLD.to(input_ids.device)
        raise KeyError("states of these sequences are not kept")


def check_cache(settings: TrainSettings) -> None:
    """UserError where no layers are frozen, or the model is compiled."""
    if settings.frozen_layers is None:
        raise UserError(
            "--cache keeps what frozen layers give; set train.frozen_layers to their number, or leave it out"
        )
    if settings.compile == "on":
        raise UserError("a compiled model reads no states from --cache; leave out one of it and train.compile=on")


def keep_frozen_states(pipeline: Pipeline, number: int, sets: Iterable[Sequence[Any]], folder: Path) -> FrozenStates:
    """What the ``number`` lowest layers make of all sequences of the features in ``sets``, under ``folder``."""
    found = []
    for features in filter(len, sets):
        inputs = [row for feature in features for row in rows(feature)]
        found.append((inputs, cache_states(pipeline, inputs, [number], folder, dtype="float32")))
    return FrozenStates(number, found)


def _name(input_ids: Sequence[int] | np.ndarray, token_type_ids: Sequence[int] | np.ndarray) -> bytes:
    return hashlib.blake2b(np.array([input_ids, token_type_ids], dtype=np.int64).tobytes(), digest_size=16).digest()
