"""Padding does no work on a GPU: the tokens of a batch in one row, and attention that knows where sequences end.

T packed tokens · N sequences · B batch · L sequence length · D hidden size · H heads · K head size
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Packing:
    """Where the tokens of a padded batch are, and where its sequences begin in the row of all of them."""

    tokens_T: Tensor
    """Indices into the flattened ``(B * L,)``."""
    starts: Tensor
    """``(N + 1,)`` int32."""
    shape: tuple[int, int]
    """B and L."""

    @property
    def places(self) -> Tensor:
        """The place of every token in its sequence, ``(T,)``."""
        return self.tokens_T % self.shape[1]

    def pack(self, x_BLD: Tensor) -> Tensor:
        """``(B, L, D)`` to ``(T, D)``."""
        return x_BLD.flatten(0, 1).index_select(0, self.tokens_T)

    def unpack(self, x_TD: Tensor) -> Tensor:
        """``(T, D)`` to ``(B, L, D)``, zeros where padding is."""
        x = x_TD.new_zeros(self.shape[0] * self.shape[1], x_TD.shape[-1])
        return x.index_copy(0, self.tokens_T, x_TD).view(*self.shape, -1)

    def attend(self, q_THK: Tensor, k_THK: Tensor, v_THK: Tensor, distance: int | None) -> Tensor:
        """Attention inside each sequence, ``(T, H, K)``; ``distance``: to tokens at most so far away."""
        from torch.nn.attention.varlen import varlen_attn  # here: its import brings the whole compiler along

        window = (-1, -1) if distance is None else (distance, distance)
        most = self.shape[1]  # the longest may be shorter; asking for its length would wait for the GPU
        out = varlen_attn(q_THK, k_THK, v_THK, self.starts, self.starts, most, most, window_size=window)
        assert isinstance(out, Tensor)  # a pair only when asked for more
        return out


def can_pack(device: torch.device, dropout_prob: float) -> bool:
    """PyTorch's kernel is for CUDA and half precision, without dropout; a compiled model wants fixed shapes instead."""
    return (
        device.type == "cuda"
        and dropout_prob == 0
        and torch.is_autocast_enabled("cuda")
        and torch.get_autocast_dtype("cuda") in _HALF
        and not torch.compiler.is_compiling()
    )


def pack(attention_mask_BL: Tensor) -> Packing:
    """The packing of a batch padded on the right; a row without tokens is an empty sequence."""
    sizes = attention_mask_BL.sum(1)
    starts = torch.nn.functional.pad(sizes.cumsum(0), (1, 0)).to(torch.int32)
    tokens = attention_mask_BL.flatten().nonzero().squeeze(1)
    B, L = attention_mask_BL.shape
    return Packing(tokens, starts, (B, L))
