"""Weights in eight bits on disk: a quarter of float32, half of bfloat16. They are computed with in float32, as any.

Each row of a matrix (an output of a layer, a word of the vocabulary) is whole numbers from -127 to 127 times a scale of
its own; vectors stay in float32.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from dokkai.errors import UserError

_SCALE = "_scale"  # behind the name of a matrix: its scales
_MOST = 127


def to_eight_bits(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each matrix ``NAME`` as int8 ``(rows, columns)`` and ``NAME_scale`` ``(rows,)``, the rest in float32."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        values = tensor.float()
        if values.ndim != 2:
            found[name] = values
            continue
        scale = values.abs().amax(1) / _MOST
        divisor = torch.where(scale > 0, scale, 1.0)
        found[name] = (values / divisor[:, None]).round().to(torch.int8)
        found[name + _SCALE] = scale
    return found


def from_eight_bits(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same in float32. UserError if a matrix lacks its scales, or has others than one for each row."""
    found = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.dtype != torch.int8:
            continue
        scale = found.pop(name + _SCALE, torch.empty(0))
        if scale.shape != tensor.shape[:1]:
            raise UserError(f"{name} has {len(tensor)} rows, but scales of the shape {tuple(scale.shape)}")
        found[name] = tensor.float() * scale.float()[:, None]
    return found
