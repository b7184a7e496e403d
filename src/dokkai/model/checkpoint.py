"""A model directory on disk, in Hugging Face's layout: ``config.json`` and ``model.safetensors``."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dokkai.errors import UserError
from dokkai.files import existing_file, read_json, replacing, write_json
from dokkai.model.config import read_config
from dokkai.model.heads import Model
from dokkai.model.names import ARCHITECTURES, architecture, from_foreign, to_foreign

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


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


def save_model(model: Model, directory: Path, dtype: torch.dtype | None = None, labels: tuple[str, ...] = ()) -> None:
    """Write ``config.json`` and ``model.safetensors`` into ``directory``; ``dtype`` converts the weights (bfloat16).

    ``labels`` names the classes of a classification head. Each file is replaced whole or not at all, the weights first:
    if they do not fit on the disk, the old directory is as it was.
    """
    heads = tuple(model.heads)
    dtype = dtype or model.encoder.embeddings.word.weight.dtype
    values: dict[str, Any] = {"architectures": [architecture(heads)], "model_type": "bert"}
    values |= model.config.to_dict() | {"dtype": str(dtype).removeprefix("torch.")}
    if "classification" in heads:
        if labels and len(labels) != model.num_labels:
            raise ValueError(f"{len(labels)} names for {model.num_labels} labels: {', '.join(labels)}")
        names = labels or tuple(f"LABEL_{i}" for i in range(model.num_labels))
        values["id2label"] = {str(i): name for i, name in enumerate(names)}
        values["label2id"] = {name: i for i, name in enumerate(names)}
    state = {name: tensor.detach().to("cpu", dtype) for name, tensor in model.state_dict().items()}
    save_tensors(to_foreign(state), directory / WEIGHTS)
    write_json(directory / CONFIG, values)


def load_model(
    directory: Path,
    heads: tuple[str, ...] | None = None,
    num_labels: int | None = None,
    seed: int = 0,
    **changes: Any,
) -> tuple[Model, LoadReport]:
    """Open a model directory with the heads it was saved with, or with ``heads``; what it lacks is drawn from ``seed``.

    ``changes`` overrides fields of the configuration (dropout for fine-tuning), TypeError if there is no such field.
    Weights come out in float32. Raises UserError for a directory that is not such a model, or not whole.
    """
    path = Path(directory)
    if not path.is_dir():
        raise UserError(f"{path}: no such model directory")
    values = read_json(path / CONFIG, "model configuration")
    if not isinstance(values, dict):
        raise UserError(f"{path / CONFIG}: not a model configuration")
    config = replace(read_config(values, str(path / CONFIG)), **changes)
    if heads is None:
        heads = saved_heads(values, path / CONFIG)
    if num_labels is None:
        num_labels = len(values.get("id2label") or {0: "", 1: ""})
    model = Model(config, heads, num_labels, seed)
    tensors = load_tensors(path / WEIGHTS)
    own = model.state_dict()
    try:
        state, missing, unused = from_foreign(own, tensors)
    except UserError as error:
        raise UserError(f"{path / WEIGHTS}: {error}") from None
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            raise UserError(
                f"{path / WEIGHTS}: {name} has shape {tuple(tensor.shape)}, {CONFIG} asks for {tuple(own[name].shape)}"
            )
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(
                f"{path / WEIGHTS}: {name} is {kind}; quantized weights are not supported, only floating point"
            )
        own[name].copy_(tensor)
    if "masked_lm" in heads and (untied := [name for name in unused if name.startswith("cls.predictions.decoder.")]):
        raise UserError(
            f"{path / WEIGHTS}: {untied[0]} is not a copy of the word embeddings or of the bias; dokkai ties them"
        )
    if any(name.startswith("encoder.") for name in missing):
        lost = next(name for name in missing if name.startswith("encoder."))
        raise UserError(f"{path / WEIGHTS}: not the weights of a BERT encoder (no {lost} in it)")
    return model, LoadReport(missing, unused)


def saved_heads(values: dict[str, Any], where: Path) -> tuple[str, ...]:
    """The heads of the class named under ``architectures`` in a parsed ``config.json``."""
    name = (values.get("architectures") or ["BertModel"])[0]
    if name not in ARCHITECTURES:
        raise UserError(f"{where}: architecture '{name}' is not supported; there is: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def saved_labels(values: dict[str, Any]) -> tuple[str, ...]:
    """The names of the classes in a parsed ``config.json``, in order; empty if it names none."""
    names = values.get("id2label") or {}
    return tuple(names[key] for key in sorted(names, key=int))


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Replace a safetensors file."""
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "pt"})
        except SafetensorError as error:  # its own name for a full disk
            raise OSError(str(error)) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; UserError if it is missing, truncated or something else.

    The tensors lie in a private map of the file: writing to them does not reach it, and it must not shrink under them.
    """
    existing_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"{path}: corrupt or not a safetensors file ({error}); restore it or use another one"
        ) from error


def _short(names: list[str], most: int = 4) -> list[str]:
    return names if len(names) <= most else [*names[:most], f"and {len(names) - most} more"]
