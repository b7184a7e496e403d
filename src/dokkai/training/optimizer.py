"""AdamW, and the course of its learning rate."""

import torch
from torch import nn

from dokkai.settings import TrainSettings


def create_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW over all parameters; vectors (norms and biases) are not decayed, matrices are, embeddings included."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=True,
    )


def learning_rate(step: int, steps: int, settings: TrainSettings) -> float:
    """The rate of update ``step`` (from 0): a straight rise to the peak, then a straight fall to 0 after the last.

    The first update has one warm-up step's worth, not 0 as in the release, so that no step is lost.
    """
    warmup = round(settings.warmup_share * steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    return settings.learning_rate * (steps - step) / max(1, steps - warmup)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all groups this rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
