"""Dropout that costs little on a CPU: PyTorch draws every zero by a random number of its own, 64 bits and more of it.

Here 16 bits say whether a value stays, and a fast generator makes 64 bits at a time. It is started anew by each call
from PyTorch's own generator, so that the same ``torch.manual_seed`` gives the same zeros. Other devices keep PyTorch's.

B batch · H heads · L sequence length · K head size
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

_VALUES = 1 << 16
_SEEDS = 1 << 31


class Dropout(nn.Module):
    """As ``nn.Dropout``: in training each value is 0 with probability ``prob``, else divided by ``1 - prob``."""

    def __init__(self, prob: float) -> None:
        super().__init__()
        self.prob = prob

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return dropout(x, self.prob) if self.training else x

    def extra_repr(self) -> str:
        """What ``print(model)`` says of it."""
        return f"prob={self.prob}"


def dropout(x: Tensor, prob: float) -> Tensor:
    """Zero each value with probability ``prob`` (on a CPU the nearest of 65,536ths), divide the others by the rest."""
    if prob == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, prob)
    num_dropped = min(round(prob * _VALUES), _VALUES - 1)
    bits: Tensor = _random_int16(x, torch.randint(_SEEDS, ()))
    least, scale = num_dropped - _VALUES // 2, _VALUES / (_VALUES - num_dropped)
    if torch.compiler.is_compiling():
        return x * ((bits >= least).to(x.dtype) * scale)
    kept = torch.empty(x.shape, dtype=x.dtype)
    torch.ge(bits, least, out=kept)  # straight to numbers: three times faster than by way of bool
    return x * kept.mul_(scale)


def attention(q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, mask: Tensor | None, prob: float) -> Tensor:
    """As ``F.scaled_dot_product_attention``, to ``(B, H, L, K)``, with dropout of the probabilities (paper, A.2).

    ``mask`` is True where a key may be seen, or a number that is added to the scores. On a CPU PyTorch's own leaves its
    fused kernel where there is dropout, and in bf16 the way back through that kernel is slow (benchmarks/attention.py):
    there the plain products of this file are the faster ones.
    """
    is_plain = q_BHLK.device.type == "cpu" and (prob > 0 or q_BHLK.dtype == torch.bfloat16)
    if not is_plain:
        return F.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, mask, prob)
    return plain_attention(q_BHLK, k_BHLK, v_BHLK, mask, prob)


def plain_attention(q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, mask: Tensor | None, prob: float) -> Tensor:
    """The same by two products and a softmax; more dimensions may stand before the last two."""
    scores_BHLL = (q_BHLK * q_BHLK.shape[-1] ** -0.5) @ k_BHLK.transpose(-1, -2)
    if mask is not None and mask.dtype == torch.bool:  # added, not filled in: a sum costs nothing on the way back
        least = torch.finfo(scores_BHLL.dtype).min
        mask = torch.zeros_like(mask, dtype=scores_BHLL.dtype).masked_fill_(~mask, least)
    if mask is not None:
        scores_BHLL = scores_BHLL + mask
    return dropout(scores_BHLL.softmax(-1), prob).to(v_BHLK.dtype) @ v_BHLK


# The seed comes from outside: what torch.compile draws once for two calls, or anew on the way back, is then the same.
@torch.library.custom_op("dokkai::random_int16", mutates_args=())
def _random_int16(like: Tensor, seed: Tensor) -> Tensor:
    """Uniform over all values of int16, in the shape of ``like``; a function of ``seed``, one whole number."""
    words = np.random.SFC64(int(seed)).random_raw(max(1, math.ceil(like.numel() / 4)))
    return torch.from_numpy(np.asarray(words).view(np.int16)[: like.numel()]).view(like.shape)


@_random_int16.register_fake
def _(like: Tensor, seed: Tensor) -> Tensor:
    return torch.empty(like.shape, dtype=torch.int16, device=like.device)
