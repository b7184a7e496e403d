"""A model directory on disk, in Hugging Face's layout: ``config.json`` and the weights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from dokkai.errors import UserError
from dokkai.files import read_json, replacing, write_json
from dokkai.model.config import EIGHT_BITS, ModelConfig, read_config, read_labels, refuse_modern
from dokkai.model.eight_bit import from_eight_bits, to_eight_bits
from dokkai.model.heads import Model
from dokkai.model.initialization import initialize
from dokkai.model.names import ARCHITECTURES, Match, architecture, heads_in, match, to_foreign
from dokkai.model.weights import WEIGHTS, WeightFiles, find_weights, load_tensors

__all__ = ["CONFIG", "WEIGHTS", "LoadReport", "load_config", "load_model", "load_tensors", "save_model", "save_tensors"]

CONFIG = "config.json"
_LABELLED = ("heads.classification.classifier.", "heads.token_classification.classifier.")
"""Layers whose outputs are the classes that ``id2label`` names."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What did not come from the file (``new``, freshly drawn) and what in it nobody wanted (``unused``)."""

    new: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line, or empty if everything fitted."""
        parts = [f"{label}: {', '.join(_short(names))}" for label, names in self._groups() if names]
        return "; ".join(parts)

    def _groups(self) -> tuple[tuple[str, list[str]], tuple[str, list[str]]]:
        return ("new (not in the file)", self.new), ("unused (in the file only)", self.unused)


def save_model(
    model: Model,
    directory: Path,
    dtype: torch.dtype | None = None,
    labels: tuple[str, ...] = (),
    problem_type: str | None = None,
) -> None:
    """Write ``config.json`` and ``model.safetensors`` into ``directory``; ``dtype`` converts the weights (bfloat16).

    With int8 the matrices are in eight bits (``eight_bit.py``), which dokkai opens but ``transformers`` does not.

    ``labels`` names the classes of a head that classifies, ``problem_type`` is what ``transformers`` calls its loss
    (``multi_label_classification``, ``regression``). Each file is replaced whole or not at all, the weights
    first: if they do not fit on the disk, the old directory is as it was.
    """
    heads = tuple(model.heads)
    dtype = dtype or model.encoder.embeddings.word.weight.dtype
    kind = model.config.model_type
    values: dict[str, Any] = {"architectures": [architecture(heads, kind)], "model_type": kind}
    values |= model.config.to_dict() | {"dtype": str(dtype).removeprefix("torch.")}
    if not {"classification", "token_classification"}.isdisjoint(heads):
        if labels and len(labels) != model.num_labels:
            raise ValueError(f"{len(labels)} names for {model.num_labels} labels: {', '.join(labels)}")
        names = labels or tuple(f"LABEL_{i}" for i in range(model.num_labels))
        values["id2label"] = {str(i): name for i, name in enumerate(names)}
        values["label2id"] = {name: i for i, name in enumerate(names)}
    if problem_type is not None:
        values["problem_type"] = problem_type
    kept = torch.float32 if dtype == torch.int8 else dtype
    state = to_foreign({name: tensor.detach().to("cpu", kept) for name, tensor in model.state_dict().items()}, kind)
    if dtype == torch.int8:
        values["quantization_config"] = EIGHT_BITS
        state = to_eight_bits(state)
    save_tensors(state, directory / WEIGHTS)
    write_json(directory / CONFIG, values)


def _config_values(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise UserError(f"{path}: no such model directory")
    values = read_json(path / CONFIG, "model configuration")
    if not isinstance(values, dict):
        raise UserError(f"{path / CONFIG}: not a model configuration")
    return values


def load_config(directory: Path) -> ModelConfig:
    """The shape of the model in a directory; UserError if it holds none."""
    return read_config(_config_values(directory), str(directory / CONFIG))


def load_model(
    directory: Path,
    heads: tuple[str, ...] | None = None,
    num_labels: int | None = None,
    seed: int = 0,
    labels: tuple[str, ...] = (),
    **changes: Any,
) -> tuple[Model, LoadReport]:
    """Open a model directory with the heads it was saved with, or with ``heads``; what it lacks is drawn from ``seed``.

    An output layer that was trained for another kind of task, or with ``labels`` for classes of other names, is not
    taken over, but drawn.
    ``changes`` overrides fields of the configuration (dropout for fine-tuning), TypeError if there is no such field.

    Weights come out in float32. Those that are float32 on disk are not read but mapped: they stay in the file until
    they are used or written to, which never reaches the file. Query, key and value are copied into one tensor. Raises
    UserError for a directory that is not such a model, or not whole.
    """
    path = Path(directory)
    values = _config_values(path)
    config = read_config(values, str(path / CONFIG))
    if not config.is_modern:
        refuse_modern(changes, f"{path} is a 'bert': leave it out")
    config = replace(config, **changes)
    files = find_weights(path)
    stamp, found = files.stamp(), files.open()
    is_eight_bit = values.get("quantization_config") == EIGHT_BITS
    if is_eight_bit:
        found = _expanded(found, files)
    names = saved_heads(values, path / CONFIG, found) if heads is None else heads
    with torch.device("meta"):
        model = Model(config, names, num_labels or len(read_labels(values, str(path / CONFIG))))
    own = model.state_dict()
    drawn = _others(values, names)
    if labels and labels != read_labels(values, str(path / CONFIG)):
        drawn += _LABELLED
    matched = match([name for name in own if not name.startswith(drawn)], found, config.model_type)
    matched.missing.extend(name for name in own if name.startswith(drawn))
    if lost := [name for name in matched.missing if name.startswith("encoder.")]:
        raise UserError(f"{files.path}: not the weights of a BERT encoder (no {lost[0]} in it)")
    if "masked_lm" in names:
        _refuse_untied(values, found, matched.unused, files.path)
    try:
        again = files.open() if files.is_mapped and not is_eight_bit else found
        state = _collect(own, matched, found, again)
    except UserError as error:
        raise UserError(f"{files.path}: {error}") from None
    if files.stamp() != stamp:  # a run has saved itself meanwhile: these weights may be of two steps
        return load_model(directory, heads, num_labels, seed, labels, **changes)
    for name in matched.missing:
        module, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(module), attribute, nn.Parameter(torch.zeros(own[name].shape)))
    initialize(model, config, seed)
    model.load_state_dict(state, strict=False, assign=True)
    return model, LoadReport(matched.missing, matched.unused)


def saved_heads(values: Mapping[str, Any], where: Path, found: Iterable[str]) -> tuple[str, ...]:
    """The heads of the class named under ``architectures`` in a parsed ``config.json``; else those the weights show."""
    name = (values.get("architectures") or [None])[0]
    if name is None:
        return heads_in(found)
    if name not in ARCHITECTURES:
        raise UserError(f"{where}: architecture '{name}' is not supported; there is: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def _others(values: Mapping[str, Any], wanted: Iterable[str]) -> tuple[str, ...]:
    """Last layers of wanted heads that are none of the saved ones: both may be called "classifier" in the file."""
    saved = ARCHITECTURES.get((values.get("architectures") or [""])[0])
    return () if saved is None else tuple(f"heads.{head}.classifier." for head in wanted if head not in saved)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Replace a safetensors file."""
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "pt"})
        except SafetensorError as error:  # its own name for a full disk
            raise OSError(str(error)) from error


def _collect(
    own: Mapping[str, Tensor], matched: Match, found: Mapping[str, Tensor], again: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Our state in float32, in the shapes of ``own``.

    What is stacked is copied; its pages of the file then serve nothing, but stay in memory as long as their map. So the
    rest comes out of a second map, ``again``, and the first one goes.
    """
    state = {name: _checked(name, tensor, own) for name, tensor in matched.collect(again, stacked=False).items()}
    return state | {name: _checked(name, part, own) for name, part in matched.collect(found, stacked=True).items()}


def _expanded(found: Mapping[str, Tensor], files: WeightFiles) -> dict[str, Tensor]:
    try:
        return from_eight_bits(found)
    except UserError as error:
        raise UserError(f"{files.path}: {error}") from None


def _checked(name: str, tensor: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    if tensor.shape != own[name].shape:
        raise UserError(f"{name} has shape {tuple(tensor.shape)}, {CONFIG} asks for {tuple(own[name].shape)}")
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise UserError(f"{name} is {kind}; of quantized weights only those of `dokkai convert --dtype int8` are read")
    return tensor.to(torch.float32).contiguous()


def _refuse_untied(values: Mapping[str, Any], found: Iterable[str], unused: list[str], where: Path) -> None:
    """UserError if the output matrix of the masked-LM head is one of its own; tying it would give other logits."""
    if untied := [name for name in unused if name.startswith("cls.predictions.decoder.")]:
        raise UserError(f"{where}: {untied[0]} is not a copy of the word embeddings or of the bias; dokkai ties them")
    if values.get("tie_word_embeddings") is False and not any(name.endswith("decoder.weight") for name in found):
        raise UserError(
            f"{where}: no cls.predictions.decoder.weight in it, but {CONFIG} says tie_word_embeddings=false; "
            "set it to true if the word embeddings are meant"
        )


def _short(names: list[str], most: int = 4) -> list[str]:
    return names if len(names) <= most else [*names[:most], f"and {len(names) - most} more"]
