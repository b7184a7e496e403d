"""Layers that stay as they are: the embeddings and some of the lowest, which the rest is trained on."""

from dokkai.errors import UserError
from dokkai.model.dropout import Dropout
from dokkai.model.encoder import SelfAttention
from dokkai.model.heads import Model


def freeze(model: Model, num_layers: int | None) -> None:
    """Take the embeddings and the ``num_layers`` lowest layers out of training; None: nothing.

    No gradient is computed for them, so an update costs less; nor do they drop anything, so that a sequence gives the
    same in every epoch. UserError if the model has fewer layers, or if nothing is left that learns.
    """
    if num_layers is None:
        return
    number = model.config.num_hidden_layers
    if num_layers > number:
        raise UserError(f"train.frozen_layers is {num_layers}, but the model has {number} layers; lower it")
    for part in (model.encoder.embeddings, *model.encoder.layers[:num_layers]):
        part.requires_grad_(False)
        for module in part.modules():
            if isinstance(module, Dropout):
                module.prob = 0.0
            elif isinstance(module, SelfAttention):
                module.dropout_prob = 0.0
    if num_layers == number and model.encoder.final_norm is not None:
        model.encoder.final_norm.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(
            f"train.frozen_layers={num_layers} leaves nothing to train: the model has {number} layers and no head; "
            "lower it"
        )
