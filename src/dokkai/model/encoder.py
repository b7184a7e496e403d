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


def _tanh_gelu(x: Tensor) -> Tensor:
    return F_.gelu(x, approximate="tanh")


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F_.gelu,
    "gelu_accurate": _tanh_gelu,
    "gelu_fast": _tanh_gelu,
    "gelu_new": _tanh_gelu,
    "gelu_python": F_.gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "mish": F_.mish,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F_.relu,
    "silu": F_.silu,
    "swish": F_.silu,
    "tanh": torch.tanh,
}


def activation(config: ModelConfig) -> Callable[[Tensor], Tensor]:
    """The function that ``hidden_act`` names."""
    return _ACTIVATIONS[config.hidden_act]


def _embedding(rows: int, width: int) -> nn.Embedding:
    """Not drawn yet: ``initialize`` does it, or a file has the weights."""
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


class Embeddings(nn.Module):
    """Word + position + segment embeddings, normalized (paper, figure 2); without positions if attention has them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D = config.hidden_size
        self.most = config.max_position_embeddings
        self.word = _embedding(config.vocab_size, D)
        self.position = _embedding(self.most, D) if config.position_embedding_type == "absolute" else None
        self.token_type = _embedding(config.type_vocab_size, D)
        self.norm = nn.LayerNorm(D, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """``(B, L)`` ids to ``(B, L, D)``."""
        length = input_ids.shape[1]
        if length > self.most:
            raise UserError(f"a sequence of {length} tokens; the model has {self.most} positions")
        x_BLD = self.word(input_ids) + self.token_type(token_type_ids)
        if self.position is not None:
            x_BLD = x_BLD + self.position.weight[:length]
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
        self.distances = None if config.position_embedding_type == "absolute" else Distances(config)

    def forward(self, x_BLD: Tensor, mask_B11L: Tensor | None) -> Tensor:
        """``mask_B11L`` is True where a key may be seen; None when nothing is padding."""
        mask = mask_B11L
        B, L, D = x_BLD.shape
        qkv = self.qkv(x_BLD).view(B, L, 3, self.num_heads, D // self.num_heads)
        q_BHLK, k_BHLK, v_BHLK = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        dropout_prob = self.dropout_prob if self.training else 0.0
        if self.distances is not None:
            mask = self.distances(q_BHLK, k_BHLK, mask_B11L)
        y_BHLK = F_.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, mask, dropout_prob)
        out: Tensor = self.output(y_BHLK.transpose(1, 2).reshape(B, L, D))
        return out


class Distances(nn.Module):
    """A learned vector for each distance of key and query, met by the query (and the key) in every score.

    Shaw et al. 2018 (arXiv 1803.02155), and method 4 of Huang et al. 2020 (arXiv 2009.13658), as ``transformers`` 4 has
    them under ``position_embedding_type``; version 5 has dropped them.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.most = config.max_position_embeddings
        self.is_met_by_keys = config.position_embedding_type == "relative_key_query"
        self.embedding = _embedding(2 * self.most - 1, config.hidden_size // config.num_attention_heads)

    def forward(self, q_BHLK: Tensor, k_BHLK: Tensor, mask_B11L: Tensor | None) -> Tensor:
        """What is added to the scores after their division by the root of K: ``(B, H, L, L)``; -inf for padding."""
        place_L = torch.arange(q_BHLK.shape[2], device=q_BHLK.device)
        e_LLK = self.embedding(place_L[:, None] - place_L + self.most - 1).to(q_BHLK.dtype)
        bias_BHLL = torch.einsum("bhqk,qjk->bhqj", q_BHLK, e_LLK)
        if self.is_met_by_keys:
            bias_BHLL = bias_BHLL + torch.einsum("bhjk,qjk->bhqj", k_BHLK, e_LLK)
        bias_BHLL = bias_BHLL * q_BHLK.shape[-1] ** -0.5
        out: Tensor = bias_BHLL if mask_B11L is None else bias_BHLL.masked_fill(~mask_B11L, float("-inf"))
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
    """Draw weights as the release does: normal, cut at two deviations; biases 0, norms 1. Depends on ``seed`` alone.

    A weight on the device "meta" (a file has it) is drawn and thrown away, so that those after it do not depend on what
    the file has. After the last weight in memory nothing is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    std = config.initializer_range
    parts = [part for part in module.modules() if isinstance(part, nn.Linear | nn.Embedding | nn.LayerNorm)]
    while parts and parts[-1].weight.is_meta:
        parts.pop()
    for part in parts:
        if isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
        else:
            weight = torch.empty(part.weight.shape) if part.weight.is_meta else part.weight
            nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=generator)
        if not isinstance(part, nn.Embedding) and part.bias is not None:
            nn.init.zeros_(part.bias)


@torch.no_grad()
def start_positions_as_waves(encoder: Encoder, amplitude: float = 0.1) -> None:
    """Start the (still learned) position embeddings as the sine waves of "Attention is all you need", section 3.5.

    Random ones say nothing of who is next to whom, and words drown them before attention has found out: short runs
    then stay bags of words. A shift of a wave is a linear map, which attention finds soon.
    """
    if encoder.embeddings.position is None:
        raise ValueError("this encoder has no position embeddings")
    weight = encoder.embeddings.position.weight
    length, D = weight.shape
    rates = torch.exp(torch.arange(0, D, 2) * (-math.log(10000.0) / D))
    angles = torch.arange(length)[:, None] * rates
    weight.copy_(amplitude * torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :D])
