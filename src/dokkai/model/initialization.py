"""How random weights are drawn."""

import math

import numpy as np
import torch
from torch import nn

from dokkai.model.config import ModelConfig
from dokkai.model.encoder import Encoder


def initialize(module: nn.Module, config: ModelConfig, seed: int) -> None:
    """Draw weights as the release does: normal, cut at two deviations; biases 0, norms 1. Depends on ``seed`` alone.

    In ModernBERT what a layer adds to the stream is drawn smaller by the root of twice the number of layers, so that
    the stream does not grow with the depth.

    A weight on the device "meta" (a file has it) is drawn and thrown away, so that those after it do not depend on what
    the file has. After the last weight in memory nothing is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = [
        (name, part)
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear | nn.Embedding | nn.LayerNorm)
    ]
    while parts and parts[-1][1].weight.is_meta:
        parts.pop()
    for name, part in parts:
        if isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
        else:
            is_added = config.is_modern and ".layers." in f".{name}" and name.endswith("output")
            std = config.initializer_range / (math.sqrt(2 * config.num_hidden_layers) if is_added else 1)
            weight = torch.empty(part.weight.shape) if part.weight.is_meta else part.weight
            nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=generator)
        if not isinstance(part, nn.Embedding) and part.bias is not None:
            nn.init.zeros_(part.bias)


@torch.no_grad()
def start_positions_as_waves(encoder: Encoder, amplitude: float = 0.1) -> None:
    """Start the (still learned) position embeddings as the sine waves of "Attention is all you need", section 3.5.

    Random ones say nothing of who is next to whom, and words drown them before attention has found out: short runs
    then stay bags of words. A shift of a wave is a linear map, which attention finds soon.
    """
    if encoder.embeddings.position is None:
        raise ValueError("this encoder has no position embeddings")
    weight = encoder.embeddings.position.weight
    length, D = weight.shape
    rates = torch.exp(torch.arange(0, D, 2) * (-math.log(10000.0) / D))
    angles = torch.arange(length)[:, None] * rates
    weight.copy_(amplitude * torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :D])


@torch.no_grad()
def start_at_frequencies(bias_V: nn.Parameter, counts_V: np.ndarray) -> None:
    """Start the bias of the masked-LM head at the log frequencies of the words, ``counts_V`` their numbers in the text.

    The first loss is then the entropy of the words, not the log of their number: the first steps of a run go into
    nothing else. A word that never occurs counts as if it had occurred once.
    """
    counts = torch.from_numpy(np.maximum(counts_V, 1).astype(np.float64))
    bias_V.copy_((counts / counts.sum()).log())
