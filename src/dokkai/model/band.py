"""Attention to near tokens alone, block by block: what a layer with a short sight never sees is not computed.

B batch · H heads · L sequence length · K head size · N blocks of a sequence · S tokens of a block · W tokens it sees
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dokkai.model.dropout import plain_attention

_LEAST_BLOCK = 32
_PAYS_FROM = 8  # times what a block sees; at 4 the copies cost what they save (benchmarks/near.py)


@dataclass(frozen=True, slots=True)
class Band:
    """How the blocks of a batch see their neighbourhood: once for all layers of this kind. Knows no dropout."""

    seen: Tensor
    """True where a query of a block may see a key, ``(B or 1, 1, N, S, W)``."""
    distance: int
    """How far a token sees to either side."""

    def attend(self, q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor) -> Tensor:
        """As attention with a mask of the neighbourhood, to ``(B, H, L, K)``."""
        k_BHNWK, v_BHNWK = self._surrounded(k_BHLK), self._surrounded(v_BHLK)
        y_BHNSK = plain_attention(self._blocks(q_BHLK), k_BHNWK, v_BHNWK, self.seen, 0.0)
        return y_BHNSK.flatten(2, 3)[:, :, : q_BHLK.shape[2]]

    def _blocks(self, x_BHLK: Tensor) -> Tensor:
        N, S = self.seen.shape[2:4]
        missing = N * S - x_BHLK.shape[2]
        padded = F.pad(x_BHLK, (0, 0, 0, missing)) if missing else x_BHLK
        return padded.reshape(*padded.shape[:2], N, S, padded.shape[-1])

    def _surrounded(self, x_BHLK: Tensor) -> Tensor:
        """Each block with the last tokens of the one before it and the first ones of the next."""
        x_BHNSK = self._blocks(x_BHLK)
        nothing = x_BHNSK.new_zeros(*x_BHNSK.shape[:2], 1, self.distance, x_BHNSK.shape[-1])
        before = torch.cat([nothing, x_BHNSK[:, :, :-1, -self.distance :]], dim=2)
        behind = torch.cat([x_BHNSK[:, :, 1:, : self.distance], nothing], dim=2)
        return torch.cat([before, x_BHNSK, behind], dim=3)


def make_band(length: int, distance: int, mask_B11L: Tensor | None, device: torch.device) -> Band | None:
    """For sequences of ``length`` tokens that see ``distance`` to either side; None where it does not pay.

    ``mask_B11L`` is True for tokens and False for padding. A GPU has kernels of its own, and a compiler fuses.
    """
    block = max(_LEAST_BLOCK, distance)
    width = block + 2 * distance
    if device.type != "cpu" or torch.compiler.is_compiling() or length < _PAYS_FROM * width or not distance:
        return None
    count = -(-length // block)
    offsets_W = torch.arange(width, device=device) - distance
    near_SW = (torch.arange(block, device=device)[:, None] - offsets_W).abs() <= distance
    places_NW = torch.arange(count, device=device)[:, None] * block + offsets_W
    seen = near_SW & ((places_NW >= 0) & (places_NW < length))[:, None]
    if mask_B11L is None:
        return Band(seen[None, None], distance)
    padded = F.pad(mask_B11L[:, 0, 0], (distance, count * block - length + distance))
    tokens_BNW = padded.unfold(1, width, block)
    return Band((seen & tokens_BNW[:, :, None])[:, None], distance)
