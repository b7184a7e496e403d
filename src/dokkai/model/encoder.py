"""The encoder of the paper (section 3): embeddings, then layers of self-attention and feed-forward, each post-norm.

B batch · L sequence length · D hidden size · F feed-forward size · H heads · K head size · V vocabulary
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F_

from dokkai.errors import UserError
from dokkai.model.config import ModelConfig

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F_.gelu,
    "gelu_new": lambda x: F_.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F_.gelu(x, approximate="tanh"),
    "relu": F_.relu,
}


def activation(config: ModelConfig) -> Callable[[Tensor], Tensor]:
    """The function that ``hidden_act`` names."""
    return _ACTIVATIONS[config.hidden_act]


class Embeddings(nn.Module):
    """Word + position + segment embeddings, normalized (paper, figure 2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D = config.hidden_size
        self.word = nn.Embedding(config.vocab_size, D)
        self.position = nn.Embedding(config.max_position_embeddings, D)
        self.token_type = nn.Embedding(config.type_vocab_size, D)
        self.norm = nn.LayerNorm(D, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """``(B, L)`` ids to ``(B, L, D)``."""
        length = input_ids.shape[1]
        if length > self.position.num_embeddings:
            raise UserError(f"a sequence of {length} tokens; the model has {self.position.num_embeddings} positions")
        x_BLD = self.word(input_ids) + self.token_type(token_type_ids) + self.position.weight[:length]
        out: Tensor = self.dropout(self.norm(x_BLD))
        return out


class SelfAttention(nn.Module):
    """Attention of every token to every other, in both directions; the three projections are one product."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.dropout_prob = config.attention_probs_dropout_prob
        self.qkv = nn.Linear(D, 3 * D)
        self.output = nn.Linear(D, D)

    def forward(self, x_BLD: Tensor, mask_B11L: Tensor | None) -> Tensor:
        """``mask_B11L`` is True where a key may be seen; None when nothing is padding."""
        B, L, D = x_BLD.shape
        qkv = self.qkv(x_BLD).view(B, L, 3, self.num_heads, D // self.num_heads)
        q_BHLK, k_BHLK, v_BHLK = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        dropout_prob = self.dropout_prob if self.training else 0.0
        y_BHLK = F_.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, mask_B11L, dropout_prob)
        out: Tensor = self.output(y_BHLK.transpose(1, 2).reshape(B, L, D))
        return out


class Layer(nn.Module):
    """Attention, add, norm; feed-forward, add, norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D = config.hidden_size
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(D, eps=config.layer_norm_eps)
        self.intermediate = nn.Linear(D, config.intermediate_size)
        self.activation = activation(config)
        self.output = nn.Linear(config.intermediate_size, D)
        self.output_norm = nn.LayerNorm(D, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x_BLD: Tensor, mask_B11L: Tensor | None) -> Tensor:
        """``(B, L, D)`` to the same shape."""
        x_BLD = self.attention_norm(x_BLD + self.dropout(self.attention(x_BLD, mask_B11L)))
        y_BLD = self.output(self.activation(self.intermediate(x_BLD)))
        out: Tensor = self.output_norm(x_BLD + self.dropout(y_BLD))
        return out


class Encoder(nn.Module):
    """Token ids to one vector per token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """All arguments ``(B, L)``, the mask 1 for tokens and 0 for padding; returns the last layer ``(B, L, D)``."""
        for x_BLD in self.states(input_ids, token_type_ids, attention_mask):
            last = x_BLD  # the states before it are let go
        return last

    def states(
        self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor | None = None
    ) -> Iterator[Tensor]:
        """The embeddings' output and each layer's, first to last: ``num_hidden_layers + 1`` tensors ``(B, L, D)``."""
        mask_B11L = None if attention_mask is None else attention_mask[:, None, None, :].bool()
        x_BLD = self.embeddings(input_ids, token_type_ids)
        yield x_BLD
        for layer in self.layers:
            x_BLD = layer(x_BLD, mask_B11L)
            yield x_BLD


def initialize(module: nn.Module, config: ModelConfig, seed: int) -> None:
    """Draw weights as the release does: normal, cut at two deviations; biases 0, norms 1. Depends on ``seed`` alone."""
    generator = torch.Generator().manual_seed(seed)
    std = config.initializer_range
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(part.weight, std=std, a=-2 * std, b=2 * std, generator=generator)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


@torch.no_grad()
def start_positions_as_waves(encoder: Encoder, amplitude: float = 0.1) -> None:
    """Start the (still learned) position embeddings as the sine waves of "Attention is all you need", section 3.5.

    Random ones say nothing of who is next to whom, and words drown them before attention has found out: short runs
    then stay bags of words. A shift of a wave is a linear map, which attention finds soon.
    """
    weight = encoder.embeddings.position.weight
    length, D = weight.shape
    rates = torch.exp(torch.arange(0, D, 2) * (-math.log(10000.0) / D))
    angles = torch.arange(length)[:, None] * rates
    weight.copy_(amplitude * torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :D])
