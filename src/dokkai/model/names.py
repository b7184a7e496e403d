"""The one table of foreign names: how each of our tensors is called by Hugging Face, and by Google's release of 2018.

``{}`` stands for the number of the layer. Where they keep three tensors and we one (query, key, value), they are
stacked along the first axis in that order. Google's ``kernel`` is the transpose of our ``weight``.
"""

import re
from collections.abc import Mapping

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
)
_FOREIGN = {
    f"{ours}.{end}": tuple(f"{name}.{end}" for name in theirs) for ours, theirs, _, ends in _TABLE for end in ends
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
}

ARCHITECTURES: Mapping[str, tuple[str, ...]] = {  # Hugging Face's class names and the heads they hold
    "BertModel": (),
    "BertForPreTraining": ("masked_lm", "next_sentence"),
    "BertForMaskedLM": ("masked_lm",),
    "BertForNextSentencePrediction": ("next_sentence",),
    "BertForSequenceClassification": ("classification",),
    "BertForQuestionAnswering": ("span",),
}


def architecture(heads: tuple[str, ...]) -> str:
    """Hugging Face's class for a model with these heads; ValueError if it has none."""
    for name, theirs in ARCHITECTURES.items():
        if set(theirs) == set(heads):
            return name
    raise ValueError(f"no class of Hugging Face's holds the heads {', '.join(heads)} together")


def to_foreign(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under Hugging Face's names; a model without heads drops the prefix ``bert.``, as theirs does."""
    out: dict[str, Tensor] = {}
    for ours, tensor in state.items():
        names = _foreign_names(ours)
        for name, part in zip(names, tensor.chunk(len(names)), strict=True):
            out[name] = part.contiguous()
    if all(name.startswith("bert.") for name in out):
        return {name.removeprefix("bert."): tensor for name, tensor in out.items()}
    return out


def from_foreign(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Pick the tensors that ``wanted`` (our state) names out of a Hugging Face file.

    Returns ours by name, our names that the file lacks, and names in the file that nothing asked for. Older spellings
    (``gamma``/``beta``, no ``bert.`` prefix) are understood. A tied copy counts as used only if it is one: the output
    matrix of a model that was trained untied is among the names that nothing asked for. Shapes are not checked here,
    but UserError if tensors to be stacked differ in theirs.
    """
    found = {_canonical(name): tensor for name, tensor in found.items()}
    state: dict[str, Tensor] = {}
    missing: list[str] = []
    used: set[str] = set()
    for copy, original in _TIED.items():
        if copy in found and _is_equal(found[copy], found.setdefault(original, found[copy])):
            used.add(copy)
    for ours in wanted:
        names = _foreign_names(ours)
        if all(name in found for name in names):
            state[ours] = _stack({name: found[name] for name in names})
            used.update(names)
        else:
            missing.append(ours)
    unused = sorted(name for name in found if name not in used and not name.endswith("position_ids"))
    return state, missing, unused


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


def _foreign_names(ours: str) -> tuple[str, ...]:
    return _lookup(_FOREIGN, ours)


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


def _canonical(name: str) -> str:
    name = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))
    if name.split(".")[0] in ("embeddings", "encoder", "pooler"):
        return f"bert.{name}"
    return name
