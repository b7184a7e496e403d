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
import torch
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
        self._found = {
            _name(item.input_ids, item.token_type_ids): (states, place)
            for inputs, states in sets
            for place, item in enumerate(inputs)
        }

    def __call__(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor | None) -> tuple[int, Tensor]:
        """All arguments ``(B, L)``; the number, and ``(B, L, D)``, zeros at padding. KeyError for another sequence."""
        ids, types = input_ids.cpu().numpy(), token_type_ids.cpu().numpy()
        ends = [ids.shape[1]] * len(ids) if attention_mask is None else attention_mask.sum(1).tolist()
        found = []
        for row, end in enumerate(ends):
            states, place = self._found[_name(ids[row, :end], types[row, :end])]
            found.append(torch.from_numpy(np.array(states[place][:, 0])))
        x_BLD = torch.zeros(*ids.shape, found[0].shape[1])
        for row, x_LD in enumerate(found):
            x_BLD[row, : len(x_LD)] = x_LD
        return self._number, x_BLD.to(input_ids.device)


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
