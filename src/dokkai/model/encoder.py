"""The encoder: embeddings, then layers of self-attention and feed-forward.

There are two kinds of layers: the paper's, which normalizes behind each sub-layer (section 3), and ModernBERT's, which
normalizes before it (Warner et al. 2024, arXiv 2412.13663).

B batch · L sequence length · D hidden size · F feed-forward size · H heads · K head size · V vocabulary
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F_

from dokkai.errors import UserError
from dokkai.model.band import Band, make_band
from dokkai.model.config import ModelConfig
from dokkai.model.dropout import Dropout, attention
from dokkai.model.packing import Packing, can_pack, pack, pack_full
from dokkai.model.positions import Distances, neighbours, rotate, rotations


def _tanh_gelu(x: Tensor) -> Tensor:
    return F_.gelu(x, approximate="tanh")


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F_.gelu,
    "gelu_accurate": _tanh_gelu,
    "gelu_fast": _tanh_gelu,
    "gelu_new": _tanh_gelu,
    "gelu_python": F_.gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "mish": F_.mish,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F_.relu,
    "silu": F_.silu,
    "swish": F_.silu,
    "tanh": torch.tanh,
}


def activation(config: ModelConfig) -> Callable[[Tensor], Tensor]:
    """The function that ``hidden_act`` names."""
    return _ACTIVATIONS[config.hidden_act]


def _embedding(rows: int, width: int) -> nn.Embedding:
    """Not drawn yet: ``initialize`` does it, or a file has the weights."""
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


def norm(config: ModelConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=not config.is_modern)


class Embeddings(nn.Module):
    """Word + position + segment embeddings, normalized (paper, figure 2).

    Without positions if attention has them; ModernBERT has no segments either.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D = config.hidden_size
        self.most = config.max_position_embeddings
        self.word = _embedding(config.vocab_size, D)
        self.position = _embedding(self.most, D) if config.position_embedding_type == "absolute" else None
        self.token_type = None if config.is_modern else _embedding(config.type_vocab_size, D)
        self.norm = norm(config)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """``(B, L)`` ids to ``(B, L, D)``."""
        length = input_ids.shape[1]
        if length > self.most:
            raise UserError(f"a sequence of {length} tokens; the model has {self.most} positions")
        x_BLD = self.word(input_ids)
        if self.token_type is not None:
            if len(self.token_type.weight) == 1 and token_type_ids.any():  # only here: it waits for a GPU
                raise UserError("a pair of texts; the model knows no second one (its type_vocab_size is 1)")
            x_BLD = x_BLD + self.token_type(token_type_ids)
        if self.position is not None:
            x_BLD = x_BLD + self.position.weight[:length]
        out: Tensor = self.dropout(self.norm(x_BLD))
        return out


@dataclass(frozen=True, slots=True)
class Sight:
    """What the layers of one kind see, made once for all of them: who may be seen, and how far each token turns."""

    mask: Tensor | None
    """True where a key may be seen, ``(B, 1, 1, L)`` or ``(B or 1, 1, L, L)``; None: all of them."""
    rotation: tuple[Tensor, Tensor] | None = None
    packing: Packing | None = None
    """Set if attention goes by where each sequence begins in the row of all tokens; ``mask`` is None then."""
    distance: int | None = None
    """How far a token sees in such a row; None: to the ends of its sequence."""
    band: Band | None = None
    """Set if attention goes by blocks; ``mask`` is then made only for layers that give the first tokens alone."""

    def of(self, queries: int, keys: int) -> "Sight":
        """What the first so many tokens of each sequence see of the first so many; not in a packed row."""
        mask = None if self.mask is None else self.mask[..., :queries, :keys]
        return Sight(mask, self.rotation, None, self.distance)


class SelfAttention(nn.Module):
    """Attention of every token to every other, in both directions; the three projections are one product."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.dropout_prob = config.attention_probs_dropout_prob
        self.qkv = nn.Linear(D, 3 * D, bias=not config.is_modern)
        self.output = nn.Linear(D, D, bias=not config.is_modern)
        is_relative = config.position_embedding_type.startswith("relative")
        self.distances = Distances(config) if is_relative else None

    def forward(self, x_D: Tensor, sight: Sight, first: int | None = None) -> Tensor:
        """``(B, L, D)``, or packed ``(T, D)``, to the same shape; of the ``first`` tokens alone ``(B, first, D)``."""
        D = x_D.shape[-1]
        if first is not None:
            return self._attend(*self._first_queries(x_D, sight, first), sight.of(first, x_D.shape[1]))
        qkv = self.qkv(x_D).unflatten(-1, (3, self.num_heads, D // self.num_heads))
        if sight.rotation is not None:
            qkv = rotate(qkv.flatten(-3, -2), sight.rotation, 2 * self.num_heads).view(qkv.shape)
        if sight.packing is not None:
            q_THK, k_THK, v_THK = qkv.unbind(-3)
            return self._output(sight.packing.attend(q_THK, k_THK, v_THK, sight.distance))
        q_BHLK, k_BHLK, v_BHLK = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return self._attend(q_BHLK, k_BHLK, v_BHLK, sight)

    def _first_queries(self, x_BLD: Tensor, sight: Sight, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of the ``first`` tokens, ``(B, H, first, K)``; keys and values of all, ``(B, H, L, K)``."""
        D, weight, bias = x_BLD.shape[-1], self.qkv.weight, self.qkv.bias
        H, K = self.num_heads, D // self.num_heads
        B, L = x_BLD.shape[:2]
        q = F_.linear(x_BLD[:, :first], weight[:D], None if bias is None else bias[:D]).view(B, first, H, K)
        kv = F_.linear(x_BLD, weight[D:], None if bias is None else bias[D:]).view(B, L, 2, H, K)
        k, v = kv.unbind(2)
        if sight.rotation is not None:
            cos, sin = sight.rotation
            q, k = rotate(q, (cos[:first], sin[:first])), rotate(k, (cos[:L], sin[:L]))
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def _attend(self, q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, sight: Sight) -> Tensor:
        if sight.band is not None:
            return self._output(sight.band.attend(q_BHLK, k_BHLK, v_BHLK).transpose(1, 2))
        dropout_prob = self.dropout_prob if self.training else 0.0
        mask = sight.mask
        if self.distances is not None:
            mask = self.distances(q_BHLK, k_BHLK, mask)
        y_BHLK = attention(q_BHLK, k_BHLK, v_BHLK, mask, dropout_prob)
        return self._output(y_BHLK.transpose(1, 2))

    def _output(self, y_HK: Tensor) -> Tensor:
        out: Tensor = self.output(y_HK.flatten(-2))
        return out


class Layer(nn.Module):
    """The paper's: attention, add, norm; feed-forward, add, norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D = config.hidden_size
        self.attention = SelfAttention(config)
        self.attention_norm = norm(config)
        self.intermediate = nn.Linear(D, config.intermediate_size)
        self.activation = activation(config)
        self.output = nn.Linear(config.intermediate_size, D)
        self.output_norm = norm(config)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, x_BLD: Tensor, sight: Sight, first: int | None = None) -> Tensor:
        """``(B, L, D)``, or packed ``(T, D)``, to the same shape; of the ``first`` tokens alone ``(B, first, D)``."""
        y_BLD = self.attention(x_BLD, sight, first)
        x_BLD = self.attention_norm(x_BLD[:, :first] + self.dropout(y_BLD))
        y_BLD = self.output(self.activation(self.intermediate(x_BLD)))
        out: Tensor = self.output_norm(x_BLD + self.dropout(y_BLD))
        return out


class ModernLayer(nn.Module):
    """ModernBERT's: norm, attention, add; norm, gated feed-forward, add. No biases.

    The first one has no norm before its attention: the embeddings are normalized already.
    """

    def __init__(self, config: ModelConfig, is_first: bool) -> None:
        super().__init__()
        D = config.hidden_size
        self.attention_norm = nn.Identity() if is_first else norm(config)
        self.attention = SelfAttention(config)
        self.attention_dropout = Dropout(config.attention_probs_dropout_prob)
        self.output_norm = norm(config)
        self.intermediate = nn.Linear(D, 2 * config.intermediate_size, bias=False)
        self.activation = activation(config)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.output = nn.Linear(config.intermediate_size, D, bias=False)

    def forward(self, x_BLD: Tensor, sight: Sight, first: int | None = None) -> Tensor:
        """``(B, L, D)``, or packed ``(T, D)``, to the same shape; of the ``first`` tokens alone ``(B, first, D)``."""
        y_BLD = self.attention(self.attention_norm(x_BLD), sight, first)
        x_BLD = x_BLD[:, :first] + self.attention_dropout(y_BLD)
        y_BLF, gate_BLF = self.intermediate(self.output_norm(x_BLD)).chunk(2, dim=-1)
        out: Tensor = x_BLD + self.output(self.dropout(self.activation(y_BLF) * gate_BLF))
        return out


class Encoder(nn.Module):
    """Token ids to one vector per token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        numbers = range(config.num_hidden_layers)
        self.layers = nn.ModuleList(ModernLayer(config, n == 0) if config.is_modern else Layer(config) for n in numbers)
        self.final_norm = norm(config) if config.is_modern else None
        self._has_packed_attention = not config.position_embedding_type.startswith("relative")
        self._is_local = [config.is_modern and n % config.global_attn_every_n_layers > 0 for n in numbers]

    def forward(
        self,
        input_ids: Tensor,
        token_type_ids: Tensor,
        attention_mask: Tensor | None = None,
        first: int | None = None,
        below: tuple[int, Tensor] | None = None,
    ) -> Tensor:
        """All arguments ``(B, L)``, the mask 1 for tokens and 0 for padding; returns the last layer ``(B, L, D)``.

        ``first``: of the first so many tokens of every sequence alone, ``(B, first, D)``. What these do not see of the
        layers below is not computed either, except in a packed batch.

        ``below``: the number of a layer and its output as ``states`` gives it, ``(B, L, D)``, to go on from.
        """
        for state in self._states(input_ids, token_type_ids, attention_mask, first, below):
            x, packing = state  # the states before it are let go
        x_BLD = x if packing is None else packing.unpack(x)
        return x_BLD[:, :first]

    def states(
        self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor | None = None
    ) -> Iterator[Tensor]:
        """The embeddings' output and each layer's, first to last: ``num_hidden_layers + 1`` tensors ``(B, L, D)``.

        The last one is normalized in both kinds of layers.
        """
        for x, packing in self._states(input_ids, token_type_ids, attention_mask):
            yield x if packing is None else packing.unpack(x)

    def _states(
        self,
        input_ids: Tensor,
        token_type_ids: Tensor,
        attention_mask: Tensor | None,
        first: int | None = None,
        below: tuple[int, Tensor] | None = None,
    ) -> Iterator[tuple[Tensor, Packing | None]]:
        begin, x = below or (0, self.embeddings(input_ids, token_type_ids))
        packing = self._packing(input_ids, attention_mask)
        if packing is not None:
            x = packing.pack(x)
        far, near = self._sights(input_ids, attention_mask, packing, first)
        counts = self._counts(input_ids.shape[1], first if packing is None else None)
        for layer, is_local, count in list(zip(self.layers, self._is_local, counts, strict=True))[begin:]:
            yield x, packing
            x = layer(x, near if is_local else far, count)
        if self.final_norm is not None and begin < len(self.layers):
            x = self.final_norm(x)
        yield x, packing

    def _counts(self, length: int, first: int | None) -> list[int | None]:
        """How many tokens each layer has to give so that the last one gives the ``first``; None: all of them."""
        count, counts = first, [first]
        for is_local in reversed(self._is_local[1:]):
            wider = count + self.config.local_attention // 2 if is_local and count is not None else length
            count = wider if wider < length else None
            counts.append(count)
        return counts[::-1]

    def _packing(self, input_ids: Tensor, attention_mask: Tensor | None) -> Packing | None:
        """None where PyTorch's attention over a batch is as good, or the only one."""
        dropout_prob = self.config.attention_probs_dropout_prob if self.training else 0.0
        is_full = attention_mask is None
        if not self._has_packed_attention or not can_pack(input_ids.device, dropout_prob, is_full):
            return None
        if attention_mask is not None:
            return pack(attention_mask)
        return pack_full(input_ids) if any(self._is_local) else None

    def _sights(
        self, input_ids: Tensor, attention_mask: Tensor | None, packing: Packing | None, first: int | None = None
    ) -> tuple[Sight, Sight]:
        """Of layers that see everything, and of those that see their neighbourhood."""
        c, length = self.config, input_ids.shape[1]
        mask = None if attention_mask is None or packing else attention_mask[:, None, None, :].bool()
        if not c.is_modern:
            return Sight(mask, packing=packing), Sight(mask, packing=packing)
        size, distance = c.hidden_size // c.num_attention_heads, c.local_attention // 2
        places = torch.arange(length, device=input_ids.device)
        near, blocks = mask, None
        if packing is None and not (self.training and c.attention_probs_dropout_prob):
            blocks = make_band(length, distance, mask, input_ids.device)
        if length > distance + 1 and packing is None and (blocks is None or first is not None):
            near_LL = neighbours(places, distance)
            near = near_LL[None, None] if mask is None else mask & near_LL
        if packing is not None:
            places = packing.places
        return (
            Sight(mask, rotations(places, size, c.global_rope_theta), packing),
            Sight(near, rotations(places, size, c.local_rope_theta), packing, distance, blocks),
        )
