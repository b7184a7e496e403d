"""The numbers that define an encoder, under the names of the published ``config.json``, and the published shapes."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, create_model

from dokkai.errors import UserError, did_you_mean
from dokkai.files import fitted

_SHAPES = {  # layers, hidden size: the names of the 2018 and 2020 releases
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}
_HEAD_SIZE = 64  # of every published shape
_REQUIRED = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
_MOST, _MOST_LAYERS = 1 << 24, 1000  # far above any encoder's sizes; PyTorch stumbles over sizes that have no end
ACTIVATIONS = (  # transformers' names, of which published checkpoints use the first four and gelu_fast
    *("gelu", "gelu_new", "gelu_pytorch_tanh", "relu"),
    *("gelu_accurate", "gelu_fast", "gelu_python", "mish", "quick_gelu", "silu", "swish", "tanh"),
)
POSITIONS = ("absolute", "relative_key", "relative_key_query", "rotary")
EIGHT_BITS = {"quant_method": "dokkai_int8_rows"}
"""``quantization_config`` of weights as ``eight_bit.py`` leaves them; ``transformers`` says that it cannot."""
_REFUSED = {  # what computes something else than BERT, and is nothing where it is absent, false or empty
    "is_decoder": "a decoder does not read in both directions",
    "add_cross_attention": "a decoder beside an encoder is not BERT",
    "quantization_config": "of quantized weights only those of `dokkai convert --dtype int8` are read",
    "pruned_heads": "models with heads cut out are not supported",
}
_REFUSED_MODERN = {  # of ModernBERT; published ones have them false
    **_REFUSED,
    **dict.fromkeys(
        ("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), "only layers without are supported"
    ),
}
_MODERN_NAMES = {  # ours, and what ModernBERT's config.json calls it
    "hidden_act": "hidden_activation",
    "layer_norm_eps": "norm_eps",
    "hidden_dropout_prob": "mlp_dropout",
    "attention_probs_dropout_prob": "attention_dropout",
}
_MODERN_FIXED = (
    "position_embedding_type",
    "type_vocab_size",
    "model_type",
)  # always the same there, so not in the file
_MODERN_ONLY = (
    *("global_attn_every_n_layers", "local_attention", "global_rope_theta", "local_rope_theta"),
    "classifier_pooling",
)
_ROUND = 64  # feed-forwards of ModernBERT are rounded to a multiple of it


class _Read(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Rope(_Read):
    rope_type: str | None = None
    rope_theta: float | None = None


class _Ropes(_Read):
    full_attention: _Rope | None = None
    sliding_attention: _Rope | None = None


class _File(_Read):
    """What is read of a ``config.json`` beside the fields of ``ModelConfig``; null is as good as absent."""

    architectures: list[str] | None = None
    auto_map: dict[str, Any] | None = None
    dtype: str | None = None
    torch_dtype: str | None = None
    problem_type: str | None = None


class _ModernFile(_File):
    hidden_activation: str | None = None
    classifier_activation: str | None = None
    layer_types: list[Literal["full_attention", "sliding_attention"]] | None = None
    rope_parameters: _Ropes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The shape of an encoder; field names and defaults are those of ``bert_config.json`` (BERT-Base).

    Those that only ModernBERT has come last, named as in its ``config.json``.
    """

    model_type: str = "bert"
    """``bert``, or ``modernbert``: pre-norm, no biases, gated feed-forward, rotary positions, local attention."""
    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    """``gelu`` is the exact one (erf); ``gelu_new`` and others its tanh approximation."""
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    position_embedding_type: str = "absolute"
    """``relative_key``, ``relative_key_query``: distances in attention (Shaw et al. 2018; Huang et al. 2020).
    ``rotary`` in ModernBERT (Su et al. 2021)."""
    classifier_dropout: float | None = None
    """Dropout before a classifier; None: as ``hidden_dropout_prob``."""
    global_attn_every_n_layers: int = 3
    """The first of so many layers sees everything, the others their neighbourhood."""
    local_attention: int = 128
    """Width of the neighbourhood: half of it on each side."""
    global_rope_theta: float = 160_000.0
    local_rope_theta: float = 10_000.0
    classifier_pooling: str = "cls"
    """What stands for a sequence in a ModernBERT that classifies: ``cls``, or ``mean`` of its tokens."""

    @property
    def is_modern(self) -> bool:
        """Whether this is ModernBERT."""
        return self.model_type == "modernbert"

    @property
    def head_dropout_prob(self) -> float:
        """Dropout before a classifier."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout

    def __post_init__(self) -> None:
        """Raise UserError for numbers that make no encoder."""
        positive = ("max_position_embeddings", "type_vocab_size", "global_attn_every_n_layers", "local_attention")
        for name in (*_REQUIRED, *positive):
            value, most = getattr(self, name), _MOST_LAYERS if name == "num_hidden_layers" else _MOST
            if not 1 <= value <= most:
                raise UserError(f"{name} must be at {'least 1' if value < 1 else f'most {most}'}, not {value}")
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise UserError(f"unknown hidden_act '{self.hidden_act}'{did_you_mean(self.hidden_act, ACTIVATIONS)}")
        if (positions := self.position_embedding_type) not in POSITIONS or (positions == "rotary") != self.is_modern:
            names = POSITIONS[-1:] if self.is_modern else POSITIONS[:-1]
            raise UserError(f"position_embedding_type '{positions}' is not supported; there is: {', '.join(names)}")
        if self.is_modern and self.hidden_size // self.num_attention_heads % 2:
            raise UserError("rotary positions turn pairs: hidden_size / num_attention_heads must be even")
        if self.classifier_pooling not in ("cls", "mean"):
            raise UserError(f"classifier_pooling is cls or mean, not '{self.classifier_pooling}'")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "head_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                name = name.replace("head_dropout_prob", "classifier_dropout")
                raise UserError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        for name in ("initializer_range", "layer_norm_eps", "global_rope_theta", "local_rope_theta"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be above 0, not {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """Every field by name, as in ``config.json``."""
        values = asdict(self)
        if not self.is_modern:
            return {name: value for name, value in values.items() if name not in _MODERN_ONLY}
        out = {_MODERN_NAMES.get(name, name): value for name, value in values.items() if name not in _MODERN_FIXED}
        # Its class gives ids of its own vocabulary to what is left out.
        ids = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"))
        return {
            "model_type": self.model_type,
            **out,
            **ids,
            "classifier_dropout": self.head_dropout_prob,
            "embedding_dropout": self.hidden_dropout_prob,
            "classifier_activation": self.hidden_act,
        }


_TYPES: dict[str, Any] = {field.name: (field.type, field.default) for field in fields(ModelConfig)}
_Fields = create_model("_Fields", __base__=_Read, **_TYPES)


def read_config(values: dict[str, Any], where: str) -> ModelConfig:
    """The configuration in a parsed ``config.json``; what other tools add to it is left alone.

    Raises UserError for another architecture and for variants of BERT that compute something else.
    """
    model_type = values.get("model_type", "bert")
    if model_type not in ("bert", "modernbert"):
        raise UserError(f"{where}: model_type '{model_type}' is not BERT; dokkai opens 'bert' and 'modernbert'")
    is_modern = model_type == "modernbert"
    fitted(_ModernFile if is_modern else _File, values, where)
    for name, reason in (_REFUSED_MODERN if is_modern else _REFUSED).items():
        if values.get(name) and values[name] != EIGHT_BITS:
            raise UserError(f"{where}: {name} is set; {reason}")
    if code := [name for name in values.get("auto_map") or {} if name.startswith("AutoModel")]:
        raise UserError(f"{where}: auto_map names code of its own for {code[0]}; dokkai does not run it")
    names = {field.name: field.name for field in fields(ModelConfig)} | (_MODERN_NAMES if is_modern else {})
    found = {ours: values[name] for ours, name in names.items() if values.get(name) is not None}
    if is_modern:
        found = _modern_layers(values, where) | found | {"position_embedding_type": "rotary"}
    for name in _REQUIRED:
        if name not in found:
            raise UserError(f"{where}: no number under '{name}'; this is not the configuration of a BERT model")
    fitted(_Fields, found, where, names)
    try:
        return ModelConfig(**found)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _modern_layers(values: dict[str, Any], where: str) -> dict[str, Any]:
    """How attention and its angles go on in the layers of a ModernBERT, which ``transformers`` 5 writes at length."""
    acts = {values.get(name, "gelu") for name in ("hidden_activation", "classifier_activation")}
    if len(acts) > 1:
        raise UserError(f"{where}: hidden_activation and classifier_activation differ; only one for both is supported")
    if values.get("decoder_bias") is False:
        raise UserError(f"{where}: decoder_bias is false; only models with it are supported")
    found: dict[str, Any] = {"layer_norm_eps": 1e-5, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    for name, kind in (("global", "full_attention"), ("local", "sliding_attention")):
        rope = (values.get("rope_parameters") or {}).get(kind) or {}
        if rope.get("rope_type", "default") != "default":
            raise UserError(f"{where}: rope_type '{rope['rope_type']}' is not supported, only 'default'")
        if "rope_theta" in rope:
            found[f"{name}_rope_theta"] = rope["rope_theta"]
    if kinds := values.get("layer_types"):
        whole = [number for number, kind in enumerate(kinds) if kind == "full_attention"]
        every = whole[1] if len(whole) > 1 else max(1, len(kinds))
        if whole != list(range(0, len(kinds), every)):
            raise UserError(f"{where}: layer_types is no regular change of full_attention and sliding_attention")
        found["global_attn_every_n_layers"] = every
    return found


def read_labels(values: dict[str, Any], where: str) -> tuple[str, ...]:
    """The names of the classes in a parsed ``config.json``: ``id2label``, or so many as ``num_labels`` says, or two."""
    names = values.get("id2label")
    if names is None:
        count = values.get("num_labels", 2)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise UserError(f"{where}: num_labels must be a whole number above 0, not {count!r}")
        return tuple(f"LABEL_{number}" for number in range(count))
    try:
        found = {int(key): str(name) for key, name in names.items()}
    except (AttributeError, ValueError):
        found = {}
    if not found or sorted(found) != list(range(len(found))):
        raise UserError(f"{where}: id2label must name the classes 0, 1, 2 and so on, each once")
    return tuple(found[number] for number in range(len(found)))


def shape_config(shape: str, **changes: Any) -> ModelConfig:
    """The configuration of a named shape (``mini``), or of ``L6-H384``: 6 layers, 384 wide, heads of 64.

    With ``model_type="modernbert"`` the gated feed-forward, which has three matrices instead of two, is so much
    narrower that a layer has about as many parameters, and there is no dropout.
    """
    if match := re.fullmatch(r"L(\d+)-H(\d+)", shape):
        layers, hidden = int(match[1]), int(match[2])
    elif shape in _SHAPES:
        layers, hidden = _SHAPES[shape]
    else:
        raise UserError(f"unknown model shape '{shape}'{did_you_mean(shape, _SHAPES)} (or L<layers>-H<hidden size>)")
    values: dict[str, Any] = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, hidden // _HEAD_SIZE),
        "intermediate_size": 4 * hidden,
    }
    if changes.get("model_type") == "modernbert":
        values["intermediate_size"] = max(1, round(8 / 3 * hidden / _ROUND)) * _ROUND
        values |= {"position_embedding_type": "rotary", "layer_norm_eps": 1e-5}
        values |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    else:
        refuse_modern(changes, "set model.model_type=modernbert, or leave it out")
    return ModelConfig(**(values | changes))


def refuse_modern(changes: Iterable[str], remedy: str) -> None:
    """UserError if one of these fields is ModernBERT's alone."""
    if name := next((name for name in _MODERN_ONLY if name in changes), None):
        raise UserError(f"{name} is for model_type 'modernbert'; {remedy}")


def published_shapes() -> dict[str, ModelConfig]:
    """The 24 small shapes of 2020 by layers and width (``L12-H768`` is that of ``base``), then base and large."""
    names = [f"L{layers}-H{hidden}" for layers in range(2, 13, 2) for hidden in (128, 256, 512, 768)]
    return {name: shape_config(name) for name in (*names, "base", "large")}


def count_parameters(config: ModelConfig) -> int:
    """Parameters of embeddings, layers and pooler: the figure the releases give (109.48M for BERT-Base).

    ModernBERT has no pooler.
    """
    D, F, P = config.hidden_size, config.intermediate_size, config.max_position_embeddings
    if config.is_modern:  # no biases; the first layer has one norm
        layers = config.num_hidden_layers * (4 * D * D + 3 * D * F + 2 * D) - D
        return config.vocab_size * D + D + layers + D
    is_absolute = config.position_embedding_type == "absolute"
    embeddings = (config.vocab_size + (P if is_absolute else 0) + config.type_vocab_size) * D + 2 * D
    layer = 4 * (D * D + D) + 2 * D * F + F + D + 4 * D  # attention, feed-forward, two norms
    if not is_absolute:
        layer += (2 * P - 1) * (D // config.num_attention_heads)
    return embeddings + config.num_hidden_layers * layer + D * D + D
