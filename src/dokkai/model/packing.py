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

    tokens_T: Tensor | None
    """Indices into the flattened ``(B * L,)``; None: there is no padding, tensors keep the shape ``(B, L, ...)``."""
    starts: Tensor
    """``(N + 1,)`` int32."""
    shape: tuple[int, int]
    """B and L."""

    @property
    def places(self) -> Tensor:
        """The place of every token in its sequence, ``(T,)``; without padding once for all of them, ``(L,)``."""
        if self.tokens_T is None:
            return torch.arange(self.shape[1], device=self.starts.device)
        return self.tokens_T % self.shape[1]

    def pack(self, x_BLD: Tensor) -> Tensor:
        """``(B, L, D)`` to ``(T, D)``."""
        if self.tokens_T is None:
            return x_BLD
        return x_BLD.flatten(0, 1).index_select(0, self.tokens_T)

    def unpack(self, x_TD: Tensor) -> Tensor:
        """``(T, D)`` to ``(B, L, D)``, zeros where padding is."""
        if self.tokens_T is None:
            return x_TD
        x = x_TD.new_zeros(self.shape[0] * self.shape[1], x_TD.shape[-1])
        return x.index_copy(0, self.tokens_T, x_TD).view(*self.shape, -1)

    def attend(self, q_THK: Tensor, k_THK: Tensor, v_THK: Tensor, distance: int | None) -> Tensor:
        """Attention inside each sequence, to the shape of the queries; ``distance``: to tokens at most so far away."""
        from torch.nn.attention.varlen import varlen_attn  # here: its import brings the whole compiler along

        window = (-1, -1) if distance is None else (distance, distance)
        most = self.shape[1]  # the longest may be shorter; asking for its length would wait for the GPU
        q, k, v = (x_THK.flatten(0, -3) for x_THK in (q_THK, k_THK, v_THK))
        out = varlen_attn(q, k, v, self.starts, self.starts, most, most, window_size=window)
        assert isinstance(out, Tensor)  # a pair only when asked for more
        return out.view(q_THK.shape)


def can_pack(device: torch.device, dropout_prob: float, is_full: bool) -> bool:
    """PyTorch's kernel is for CUDA and half precision, without dropout.

    A compiled model wants fixed shapes: ``is_full``, it packs sequences without padding alone.
    """
    return (
        device.type == "cuda"
        and dropout_prob == 0
        and torch.is_autocast_enabled("cuda")
        and torch.get_autocast_dtype("cuda") in _HALF
        and (is_full or not torch.compiler.is_compiling())
    )


def pack_full(input_ids_BL: Tensor) -> Packing:
    """The packing of a batch without padding: its sequences lie one behind the other already."""
    B, L = input_ids_BL.shape
    starts = torch.arange(0, (B + 1) * L, L, dtype=torch.int32, device=input_ids_BL.device)
    return Packing(None, starts, (B, L))


def pack(attention_mask_BL: Tensor) -> Packing:
    """The packing of a batch padded on the right; a row without tokens is an empty sequence."""
    sizes = attention_mask_BL.sum(1)
    starts = torch.nn.functional.pad(sizes.cumsum(0), (1, 0)).to(torch.int32)
    tokens = attention_mask_BL.flatten().nonzero().squeeze(1)
    B, L = attention_mask_BL.shape
    return Packing(tokens, starts, (B, L))
