"""The one table of foreign names: how each of our tensors is called by Hugging Face, and by Google's release of 2018.

``{}`` stands for the number of the layer. Where they keep three tensors and we one (query, key, value), they are
stacked along the first axis in that order. Google's ``kernel`` is the transpose of our ``weight``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dokkai.errors import UserError

# The endings of ours and Hugging Face's names, and what Google calls them ("": the name ends before).
_EMBEDDING = {"weight": ""}
_DENSE = {"weight": "kernel", "bias": "bias"}
_NORM = {"weight": "gamma", "bias": "beta"}
_OUTPUT = {"weight": "output_weights", "bias": "output_bias"}
_QKV = ("query", "key", "value")
_TABLE: tuple[tuple[str, tuple[str, ...], tuple[str, ...] | None, Mapping[str, str]], ...] = (
    # ours, Hugging Face's, Google's (None: the release has no such head), endings
    (
        "encoder.embeddings.word",
        ("bert.embeddings.word_embeddings",),
        ("bert/embeddings/word_embeddings",),
        _EMBEDDING,
    ),
    (
        "encoder.embeddings.position",
        ("bert.embeddings.position_embeddings",),
        ("bert/embeddings/position_embeddings",),
        _EMBEDDING,
    ),
    (
        "encoder.embeddings.token_type",
        ("bert.embeddings.token_type_embeddings",),
        ("bert/embeddings/token_type_embeddings",),
        _EMBEDDING,
    ),
    ("encoder.embeddings.norm", ("bert.embeddings.LayerNorm",), ("bert/embeddings/LayerNorm",), _NORM),
    (
        "encoder.layers.{}.attention.qkv",
        tuple(f"bert.encoder.layer.{{}}.attention.self.{name}" for name in _QKV),
        tuple(f"bert/encoder/layer_{{}}/attention/self/{name}" for name in _QKV),
        _DENSE,
    ),
    (
        "encoder.layers.{}.attention.distances.embedding",
        ("bert.encoder.layer.{}.attention.self.distance_embedding",),
        None,
        {"weight": ""},
    ),
    (
        "encoder.layers.{}.attention.output",
        ("bert.encoder.layer.{}.attention.output.dense",),
        ("bert/encoder/layer_{}/attention/output/dense",),
        _DENSE,
    ),
    (
        "encoder.layers.{}.attention_norm",
        ("bert.encoder.layer.{}.attention.output.LayerNorm",),
        ("bert/encoder/layer_{}/attention/output/LayerNorm",),
        _NORM,
    ),
    (
        "encoder.layers.{}.intermediate",
        ("bert.encoder.layer.{}.intermediate.dense",),
        ("bert/encoder/layer_{}/intermediate/dense",),
        _DENSE,
    ),
    (
        "encoder.layers.{}.output",
        ("bert.encoder.layer.{}.output.dense",),
        ("bert/encoder/layer_{}/output/dense",),
        _DENSE,
    ),
    (
        "encoder.layers.{}.output_norm",
        ("bert.encoder.layer.{}.output.LayerNorm",),
        ("bert/encoder/layer_{}/output/LayerNorm",),
        _NORM,
    ),
    (
        "heads.masked_lm.transform",
        ("cls.predictions.transform.dense",),
        ("cls/predictions/transform/dense",),
        _DENSE,
    ),
    (
        "heads.masked_lm.norm",
        ("cls.predictions.transform.LayerNorm",),
        ("cls/predictions/transform/LayerNorm",),
        _NORM,
    ),
    ("heads.masked_lm", ("cls.predictions",), ("cls/predictions",), {"bias": "output_bias"}),
    ("heads.next_sentence.pooler", ("bert.pooler.dense",), ("bert/pooler/dense",), _DENSE),
    ("heads.next_sentence.classifier", ("cls.seq_relationship",), ("cls/seq_relationship",), _OUTPUT),
    ("heads.classification.pooler", ("bert.pooler.dense",), ("bert/pooler/dense",), _DENSE),
    ("heads.classification.classifier", ("classifier",), ("",), _OUTPUT),
    ("heads.span.classifier", ("qa_outputs",), ("cls/squad",), _OUTPUT),
    ("heads.token_classification.classifier", ("classifier",), None, _OUTPUT),
    ("heads.multiple_choice.pooler", ("bert.pooler.dense",), None, _DENSE),
    ("heads.multiple_choice.classifier", ("classifier",), None, _OUTPUT),
)
_MODERN_TABLE = {  # ours, and Hugging Face's in a ModernBERT: the three projections are one tensor there too
    "encoder.embeddings.word": "model.embeddings.tok_embeddings",
    "encoder.embeddings.norm": "model.embeddings.norm",
    "encoder.layers.{}.attention_norm": "model.layers.{}.attn_norm",
    "encoder.layers.{}.attention.qkv": "model.layers.{}.attn.Wqkv",
    "encoder.layers.{}.attention.output": "model.layers.{}.attn.Wo",
    "encoder.layers.{}.output_norm": "model.layers.{}.mlp_norm",
    "encoder.layers.{}.intermediate": "model.layers.{}.mlp.Wi",
    "encoder.layers.{}.output": "model.layers.{}.mlp.Wo",
    "encoder.final_norm": "model.final_norm",
    "heads.masked_lm": "decoder",
}
_MODERN_HEADS = ("masked_lm", "classification", "token_classification", "multiple_choice", "span")
_FOREIGN: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "bert": {
        f"{ours}.{end}": tuple(f"{name}.{end}" for name in theirs) for ours, theirs, _, ends in _TABLE for end in ends
    },
    "modernbert": {
        **{f"{ours}.{end}": (f"{name}.{end}",) for ours, name in _MODERN_TABLE.items() for end in ("weight", "bias")},
        **{f"heads.{head}.transform.weight": ("head.dense.weight",) for head in _MODERN_HEADS},
        **{f"heads.{head}.norm.weight": ("head.norm.weight",) for head in _MODERN_HEADS},
        **{f"heads.{h}.classifier.{end}": (f"classifier.{end}",) for h in _MODERN_HEADS for end in ("weight", "bias")},
    },
}
_GOOGLE = {
    f"{ours}.{end}": tuple(f"{name}/{theirs}".strip("/") for name in google)
    for ours, _, google, ends in _TABLE
    if google is not None
    for end, theirs in ends.items()
}
_TIED = {  # a second name for the same numbers
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
    "decoder.weight": "model.embeddings.tok_embeddings.weight",
}
_BUFFERS = ("position_ids", "token_type_ids")  # numbers that are no weights; versions 3 and 4 saved them

ARCHITECTURES: Mapping[str, tuple[str, ...]] = {  # Hugging Face's class names and the heads they hold
    "BertModel": (),
    "BertForPreTraining": ("masked_lm", "next_sentence"),
    "BertForMaskedLM": ("masked_lm",),
    "BertForNextSentencePrediction": ("next_sentence",),
    "BertForSequenceClassification": ("classification",),
    "BertForTokenClassification": ("token_classification",),
    "BertForMultipleChoice": ("multiple_choice",),
    "BertForQuestionAnswering": ("span",),
    "ModernBertModel": (),
    "ModernBertForMaskedLM": ("masked_lm",),
    "ModernBertForSequenceClassification": ("classification",),
    "ModernBertForTokenClassification": ("token_classification",),
    "ModernBertForMultipleChoice": ("multiple_choice",),
    "ModernBertForQuestionAnswering": ("span",),
}
_CLASSES = {"bert": "Bert", "modernbert": "Modern"}  # how the classes of a type of model begin
_PREFIXES = {"bert": "bert.", "modernbert": "model."}  # what stands before the encoder in a model with heads
_TELLING = {  # a head that shows by a name of its own; "classifier" may be any of three
    "masked_lm": "cls.predictions.transform.dense.weight",
    "next_sentence": "cls.seq_relationship.weight",
    "span": "qa_outputs.weight",
}


@dataclass(frozen=True, slots=True)
class Match:
    """Which tensors of a file make ours."""

    sources: dict[str, tuple[str, ...]]
    """Ours by name: theirs, as the file spells them; several are stacked."""
    missing: list[str]
    """Ours that the file lacks."""
    unused: list[str]
    """Theirs that nothing asked for, in today's spelling."""

    def collect(self, found: Mapping[str, Tensor], *, stacked: bool) -> dict[str, Tensor]:
        """Ours that are ``stacked`` (new memory), or else those that are theirs as they are (the same memory)."""
        return {
            ours: _stack({name: found[name] for name in names})
            for ours, names in self.sources.items()
            if (len(names) > 1) is stacked
        }


def architecture(heads: tuple[str, ...], model_type: str = "bert") -> str:
    """Hugging Face's class for a model with these heads; ValueError if it has none."""
    for name, theirs in ARCHITECTURES.items():
        if name.startswith(_CLASSES[model_type]) and set(theirs) == set(heads):
            return name
    raise ValueError(f"no class of Hugging Face's holds the heads {', '.join(heads)} together")


def to_foreign(state: Mapping[str, Tensor], model_type: str = "bert") -> dict[str, Tensor]:
    """Our tensors under Hugging Face's names; a model without heads drops the prefix ``bert.``, as theirs does."""
    out: dict[str, Tensor] = {}
    for ours, tensor in state.items():
        names = _lookup(_FOREIGN[model_type], ours)
        for name, part in zip(names, tensor.chunk(len(names)), strict=True):
            out[name] = part.contiguous()
    prefix = _PREFIXES[model_type]
    if all(name.startswith(prefix) for name in out):
        return {name.removeprefix(prefix): tensor for name, tensor in out.items()}
    return out


def match(wanted: Iterable[str], found: Mapping[str, Tensor], model_type: str = "bert") -> Match:
    """Find the tensors that ``wanted`` (names of our state) asks for in a Hugging Face file.

    Older spellings are understood: ``gamma``/``beta``, no ``bert.`` before the encoder, ``module.`` or ``model.``
    before all. A tied copy counts as used only if it is one: the output matrix of a model that was trained untied is
    among the names that nothing asked for. Shapes are not looked at here.
    """
    spelled = {_canonical(name, model_type): name for name in found}
    sources: dict[str, tuple[str, ...]] = {}
    missing: list[str] = []
    used: set[str] = set()
    for copy, original in _TIED.items():
        if copy in spelled and _is_equal(found[spelled[copy]], found[spelled.setdefault(original, spelled[copy])]):
            used.add(copy)
    for ours in wanted:
        names = _lookup(_FOREIGN[model_type], ours)
        if all(name in spelled for name in names):
            sources[ours] = tuple(spelled[name] for name in names)
            used.update(names)
        else:
            missing.append(ours)
    return Match(sources, missing, sorted(name for name in spelled if name not in used and not name.endswith(_BUFFERS)))


def from_foreign(
    wanted: Iterable[str], found: Mapping[str, Tensor], model_type: str = "bert"
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Pick the tensors that ``wanted`` names out of a Hugging Face file, by the rules of ``match``.

    Returns ours by name, our names that the file lacks, and names in the file that nothing asked for. UserError if
    tensors to be stacked differ in their shapes.
    """
    matched = match(wanted, found, model_type)
    state = matched.collect(found, stacked=True) | matched.collect(found, stacked=False)
    return {ours: state[ours] for ours in matched.sources}, matched.missing, matched.unused


def heads_in(names: Iterable[str]) -> tuple[str, ...]:
    """The heads that the names in a file give away: those of pre-training, or the one for spans."""
    there = {_canonical(name, "bert") for name in names}
    heads = tuple(head for head, name in _TELLING.items() if name in there)
    return ("span",) if "span" in heads else heads


def to_google(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under the names of Google's release; UserError for a head that it does not have."""
    out: dict[str, Tensor] = {}
    for ours, tensor in state.items():
        names = google_names(ours)
        for name, part in zip(names, tensor.chunk(len(names)), strict=True):
            out[name] = (part.t() if is_kernel(name) else part).contiguous()
    return out


def from_google(ours: str, found: Mapping[str, Tensor]) -> Tensor:
    """One of our tensors out of Google's, which are all in ``found``; UserError if they do not fit together."""
    return _stack({name: found[name].t() if is_kernel(name) else found[name] for name in google_names(ours)})


def google_names(ours: str) -> tuple[str, ...]:
    """What the release calls one of our tensors, or its three parts; UserError if it has no such head."""
    try:
        return _lookup(_GOOGLE, ours)
    except KeyError:
        head = ours.split(".")[1].replace("_", " ")
        raise UserError(f"Google's release has no head for {head}, so its checkpoints cannot hold one") from None


def is_kernel(name: str) -> bool:
    """Whether Google's tensor of this name is transposed."""
    return name.endswith("/kernel")


def _lookup(table: Mapping[str, tuple[str, ...]], ours: str) -> tuple[str, ...]:
    layer = re.search(r"\.layers\.(\d+)\.", ours)
    if layer is None:
        return table[ours]
    pattern = ours.replace(f".layers.{layer[1]}.", ".layers.{}.")
    return tuple(name.format(layer[1]) for name in table[pattern])


def _stack(parts: dict[str, Tensor]) -> Tensor:
    if len({part.shape for part in parts.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in parts.items())
        raise UserError(f"these must have the same shape: {shapes}")
    tensors = list(parts.values())
    return torch.cat(tensors) if len(tensors) > 1 else tensors[0]


def _is_equal(left: Tensor, right: Tensor) -> bool:
    return left.dtype == right.dtype and torch.equal(left, right)


def _canonical(name: str, model_type: str) -> str:
    if model_type == "modernbert":
        name = re.sub(r"^(module\.)+", "", name)
        return f"model.{name}" if name.split(".")[0] in ("embeddings", "layers", "final_norm") else name
    name = re.sub(r"^(module\.|model\.)+", "", name)  # DataParallel's, and what a model inside another is called
    name = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))
    if name.split(".")[0] in ("embeddings", "encoder", "pooler"):
        return f"bert.{name}"
    return name
