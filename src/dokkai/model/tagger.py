"""A tagger on the states of an encoder that stays as it is (paper, section 5.3 and table 7).

B batch · L sequence length · N layers · D hidden size · Y labels
"""

import re
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dokkai.errors import UserError, did_you_mean

Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """Which layers are taken, 0 for the embeddings, and what is made of them."""

    layers: tuple[int, ...]
    way: Literal["concat", "sum", "weighted"]


def choose_layers(name: str, num_layers: int) -> LayerChoice:
    """The choice of this name, or of numbers as in ``-1,-2``, in a model of so many layers; UserError if there is none.

    "all" leaves the embeddings out, as the paper does.
    """
    last_4 = tuple(range(max(1, num_layers - 3), num_layers + 1))
    every = tuple(range(1, num_layers + 1))
    choices = {
        "embeddings": LayerChoice((0,), "concat"),
        "last": LayerChoice((num_layers,), "concat"),
        "second-to-last": LayerChoice((num_layers - 1,), "concat"),
        "sum-last-4": LayerChoice(last_4, "sum"),
        "sum-all": LayerChoice(every, "sum"),
        "weighted-last-4": LayerChoice(last_4, "weighted"),
        "weighted-all": LayerChoice(every, "weighted"),
        "concat-last-4": LayerChoice(last_4, "concat"),
    }
    if name in choices:
        return choices[name]
    if not re.fullmatch(r"-?\d+(,-?\d+)*", name, re.ASCII):
        raise UserError(f"unknown probe.layers '{name}'{did_you_mean(name, choices)}")
    numbers = [int(part) for part in name.split(",")]
    if any(not -num_layers - 1 <= number <= num_layers for number in numbers):
        raise UserError(f"probe.layers go from {-num_layers - 1} to {num_layers} in this model, not {name}")
    return LayerChoice(tuple(number % (num_layers + 1) for number in numbers), "concat")


class LayerMix(nn.Module):
    """Several layers to one vector per token: side by side, their sum, or a weighted sum whose weights are learned.

    Weights are a softmax, times a learned scale (Peters et al. 2018, "ELMo", equation 1). Each layer is standardized
    first, by what ``standardize`` was given: where a layer norms what it reads and not what it writes, as ModernBERT's,
    numbers grow from layer to layer, to many times what an LSTM can take.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, choice: LayerChoice, hidden_size: int) -> None:
        super().__init__()
        self.choice = choice
        self.width = hidden_size * (len(choice.layers) if choice.way == "concat" else 1)
        self.weights = nn.Parameter(torch.zeros(len(choice.layers))) if choice.way == "weighted" else None
        self.scale = nn.Parameter(torch.ones(())) if choice.way == "weighted" else None
        self.register_buffer("mean", torch.zeros(len(choice.layers), hidden_size))
        self.register_buffer("deviation", torch.ones(len(choice.layers), hidden_size))

    def standardize(self, mean: Tensor, deviation: Tensor) -> None:
        """Take these, ``(N, D)`` each, off all states and divide them by it; before a training."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward(self, x_BLND: Tensor) -> Tensor:
        """``(..., N, D)`` to ``(..., width)``."""
        x_BLND = (x_BLND - self.mean) / self.deviation
        if self.weights is not None and self.scale is not None:
            return self.scale * torch.einsum("...nd,n->...d", x_BLND, self.weights.softmax(0))
        return x_BLND.sum(-2) if self.choice.way == "sum" else x_BLND.flatten(-2)


class Tagger(nn.Module):
    """A bidirectional LSTM over the states of all pieces, then a layer that scores the tags."""

    def __init__(
        self,
        choice: LayerChoice,
        hidden_size: int,
        num_labels: int,
        lstm_size: int = 768,
        lstm_layers: int = 2,
        dropout: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.mix = LayerMix(choice, hidden_size)
            between = dropout if lstm_layers > 1 else 0.0
            self.lstm = nn.LSTM(
                self.mix.width, lstm_size, lstm_layers, batch_first=True, dropout=between, bidirectional=True
            )
            self.dropout = nn.Dropout(dropout)
            self.classifier = nn.Linear(2 * lstm_size, num_labels)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """``states`` ``(B, L, N, D)`` and ``attention_mask`` ``(B, L)`` to ``token_classification`` ``(B, L, Y)``.

        Padding is not read: from the right it would come first.
        """
        x_BLD = self.dropout(self.mix(batch["states"].float()))
        lengths = batch["attention_mask"].sum(1).cpu()
        packed, _ = self.lstm(pack_padded_sequence(x_BLD, lengths, batch_first=True, enforce_sorted=False))
        y_BLD, _ = pad_packed_sequence(packed, batch_first=True, total_length=x_BLD.shape[1])
        return {"token_classification": self.classifier(self.dropout(y_BLD))}
