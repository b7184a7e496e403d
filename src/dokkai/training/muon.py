"""Muon: for the matrices of the layers, the direction of the momentum with all singular values made equal."""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, as in torch.optim.Muon
_ITERATIONS = 5
_LARGEST_STACK = 1 << 23  # numbers that are orthogonalized at a time


class Muon(torch.optim.Optimizer):
    """Momentum, then the nearest orthogonal matrix (Jordan 2024), as long as an update of AdamW (Liu et al. 2025).

    Each parameter is a stack of matrices along its first axis: query, key and value lie in one parameter, yet are
    three. Equal to ``torch.optim.Muon(adjust_lr_fn="match_rms_adamw")`` on each matrix, with two differences: it
    computes in ``dtype``, where PyTorch's always computes in bf16, which a CPU without such instructions may do at
    an eightieth of the speed; and matrices of one shape are one batched product.
    """

    def __init__(
        self,
        matrices: Iterable[tuple[Tensor, int]],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        pairs = list(matrices)
        self._blocks = dict(pairs)
        self._dtype = dtype
        super().__init__(
            [parameter for parameter, _ in pairs], {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            stacks: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                buffer = self._buffer(parameter).lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(buffer, group["momentum"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                blocks = self._blocks[parameter]
                for part, direction in zip(parameter.chunk(blocks), update.chunk(blocks), strict=True):
                    stacks[tuple(sorted(part.shape))].append((part, direction))
            for shape, pairs in stacks.items():
                length = 0.2 * math.sqrt(max(shape)) * group["lr"]
                for chunk in _chunks(pairs, max(1, _LARGEST_STACK // math.prod(shape))):
                    _update(chunk, length, self._dtype)

    def _buffer(self, parameter: Tensor) -> Tensor:
        state: dict[str, Any] = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def orthogonalize(stack: Tensor) -> Tensor:
    """``(N, rows, columns)`` with rows <= columns: singular values to near 1 (0.7 to 1.2), singular vectors kept."""
    a, b, c = _COEFFICIENTS
    x: Tensor = stack / stack.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _update(pairs: list[tuple[Tensor, Tensor]], length: float, dtype: torch.dtype) -> None:
    wide = [direction if direction.shape[0] <= direction.shape[1] else direction.mT for _, direction in pairs]
    for (part, direction), flat in zip(pairs, orthogonalize(torch.stack(wide).to(dtype)), strict=True):
        part.add_(flat if direction.shape[0] <= direction.shape[1] else flat.mT, alpha=-length)


def _chunks(items: list[Any], size: int) -> Iterable[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
