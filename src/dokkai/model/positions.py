"""How attention knows where a token stands: by learned distances, or by turning queries and keys.

B batch · L sequence length · H heads · K head size
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dokkai.model.config import ModelConfig


class Distances(nn.Module):
    """A learned vector for each distance of key and query, met by the query (and the key) in every score.

    Shaw et al. 2018 (arXiv 1803.02155), and method 4 of Huang et al. 2020 (arXiv 2009.13658), as ``transformers`` 4 has
    them under ``position_embedding_type``; version 5 has dropped them.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.most = config.max_position_embeddings
        self.is_met_by_keys = config.position_embedding_type == "relative_key_query"
        rows, width = 2 * self.most - 1, config.hidden_size // config.num_attention_heads
        self.embedding = nn.Embedding(rows, width, _weight=torch.empty(rows, width))

    def forward(self, q_BHLK: Tensor, k_BHLK: Tensor, mask_B11L: Tensor | None) -> Tensor:
        """What is added to the scores after their division by the root of K: ``(B, H, L, L)``; -inf for padding.

        The queries may be those of the first tokens alone.
        """
        place_L = torch.arange(k_BHLK.shape[2], device=q_BHLK.device)
        e_LLK = self.embedding(place_L[: q_BHLK.shape[2], None] - place_L + self.most - 1).to(q_BHLK.dtype)
        bias_BHLL = torch.einsum("bhqk,qjk->bhqj", q_BHLK, e_LLK)
        if self.is_met_by_keys:
            bias_BHLL = bias_BHLL + torch.einsum("bhjk,qjk->bhqj", k_BHLK, e_LLK)
        bias_BHLL = bias_BHLL * q_BHLK.shape[-1] ** -0.5
        out: Tensor = bias_BHLL if mask_B11L is None else bias_BHLL.masked_fill(~mask_B11L, float("-inf"))
        return out


def rotations(places_L: Tensor, head_size: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine ``(L, K / 2)`` of the angles by which a token at each place turns (Su et al. 2021, 2104.09864).

    Pair number i of a head turns by ``place * theta ** (-2 i / K)``: the score of two tokens then depends on their
    distance alone. In float32, whatever computes, as ``transformers`` does.
    """
    pairs = torch.arange(0, head_size, 2, device=places_L.device, dtype=torch.float32)
    angles = places_L[:, None].float() * (1 / theta ** (pairs / head_size))
    return angles.cos(), angles.sin()


def rotate(x_LHK: Tensor, rotation: tuple[Tensor, Tensor], count: int | None = None) -> Tensor:
    """Turn pairs (i, i + K / 2) of the first ``count`` heads of ``(..., L, H, K)`` by the angles of its place.

    The heads behind them stay as they are; None: all of them turn.
    """
    count = x_LHK.shape[-2] if count is None else count
    if x_LHK.device.type == "cpu" and not torch.compiler.is_compiling():
        return _rotate_on_cpu(x_LHK, *rotation, count)
    return rotate_by_steps(x_LHK, rotation, count)


def rotate_by_steps(x_LHK: Tensor, rotation: tuple[Tensor, Tensor], count: int) -> Tensor:
    """The same by PyTorch's own products and sums, which a compiler fuses."""
    cos, sin = (part[:, None] for part in rotation)
    turning_LHK, others_LHK = x_LHK[..., :count, :], x_LHK[..., count:, :]
    first, second = turning_LHK.chunk(2, dim=-1)
    turned_LHK = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x_LHK.dtype)
    return torch.cat([turned_LHK, others_LHK], dim=-2) if others_LHK.shape[-2] else turned_LHK


class _Rotation(torch.autograd.Function):
    """For where nothing fuses the steps. The way back is to turn the other way, so nothing of the way there is kept."""

    @staticmethod
    def forward(ctx: Any, x_LHK: Tensor, cos: Tensor, sin: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.count = count
        return _rotate_by(x_LHK, cos, sin, count)

    @staticmethod
    def backward(ctx: Any, grad_LHK: Tensor) -> tuple[Tensor, None, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotate_by(grad_LHK, cos, -sin, ctx.count), None, None, None


_rotate_on_cpu: Callable[..., Tensor] = _Rotation.apply  # PyTorch gives it no types


def _rotate_by(x_LHK: Tensor, cos: Tensor, sin: Tensor, count: int) -> Tensor:
    """In float32 or above: one copy of what turns, where PyTorch makes one for each product of bf16 and float32."""
    half = x_LHK.shape[-1] // 2
    values = x_LHK[..., :count, :].to(torch.promote_types(x_LHK.dtype, torch.float32))
    turned = values * torch.cat([cos, cos], dim=-1)[:, None]
    turned[..., :half].addcmul_(values[..., half:], sin[:, None], value=-1)
    turned[..., half:].addcmul_(values[..., :half], sin[:, None])
    out = torch.empty(x_LHK.shape, dtype=x_LHK.dtype, device=x_LHK.device)
    out[..., :count, :] = turned
    out[..., count:, :] = x_LHK[..., count:, :]
    return out


def neighbours(places_L: Tensor, distance: int) -> Tensor:
    """``(L, L)``: True where query and key are at most ``distance`` apart."""
    return (places_L[:, None] - places_L).abs() <= distance
