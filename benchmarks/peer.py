"""What the sides of transformers have in common: labels for every position, and an update of a plain loop."""

from collections.abc import Callable

import torch

from dokkai.model.device import autocast

NO_LABEL = -100


def dense_labels(batch: dict) -> torch.Tensor:
    """Our list of masked positions as the labels of transformers: ``(B, L)``, -100 where nothing is masked."""
    labels = torch.full((batch["input_ids"].numel(),), NO_LABEL)
    is_masked = batch["masked_labels"] != NO_LABEL
    labels[batch["masked_positions"][is_masked]] = batch["masked_labels"][is_masked]
    return labels.view(batch["input_ids"].shape)


def decayed_groups(model: torch.nn.Module, decay: float) -> list[dict]:
    """The groups of an optimizer: matrices decay, vectors do not."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def plain_update(
    model: torch.nn.Module, forward: Callable, optimizer: torch.optim.Optimizer, batch: dict, device, precision: str
) -> torch.Tensor:
    """Forward, loss, backward, clipping to 1, step: what its tutorials show. Returns the loss."""
    moved = {name: tensor.to(device) for name, tensor in batch.items()}
    with autocast(device, precision):
        loss = forward(**moved).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()
