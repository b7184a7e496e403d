"""A model directory on disk, in Hugging Face's layout: ``config.json`` and ``model.safetensors``."""

from dataclasses import dataclass, field
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

    ``labels`` names the classes of a classification head. Each file is replaced whole or not at all.
    """
    heads = tuple(model.heads)
    values: dict[str, Any] = {"architectures": [architecture(heads)], "model_type": "bert"}
    values |= model.config.to_dict() | {"dtype": str(dtype or torch.float32).removeprefix("torch.")}
    if "classification" in heads:
        names = labels or tuple(f"LABEL_{i}" for i in range(model.num_labels))
        values["id2label"] = {str(i): name for i, name in enumerate(names)}
        values["label2id"] = {name: i for i, name in enumerate(names)}
    write_json(directory / CONFIG, values)
    state = {name: tensor.detach().to("cpu", dtype or tensor.dtype) for name, tensor in model.state_dict().items()}
    save_tensors(to_foreign(state), directory / WEIGHTS)


def load_model(
    directory: Path,
    heads: tuple[str, ...] | None = None,
    num_labels: int | None = None,
    seed: int = 0,
    **changes: Any,
) -> tuple[Model, LoadReport]:
    """Open a model directory with the heads it was saved with, or with ``heads``; what it lacks is drawn from ``seed``.

    ``changes`` overrides fields of the configuration (dropout for fine-tuning). Weights come out in float32.
    """
    path = Path(directory)
    if not path.is_dir():
        raise UserError(f"{path}: no such model directory")
    values = read_json(path / CONFIG, "model configuration")
    if not isinstance(values, dict):
        raise UserError(f"{path / CONFIG}: not a model configuration")
    config = read_config(values | changes, str(path / CONFIG))
    if heads is None:
        heads = saved_heads(values, path / CONFIG)
    if num_labels is None:
        num_labels = len(values.get("id2label") or {0: "", 1: ""})
    model = Model(config, heads, num_labels, seed)
    tensors = load_tensors(path / WEIGHTS)
    state, missing, unused = from_foreign(model.state_dict(), tensors)
    own = model.state_dict()
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            raise UserError(
                f"{path / WEIGHTS}: {name} has shape {tuple(tensor.shape)}, {CONFIG} asks for {tuple(own[name].shape)}"
            )
        own[name].copy_(tensor)
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


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Replace a safetensors file."""
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "pt"})
        except SafetensorError as error:  # its own name for a full disk
            raise OSError(str(error)) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; UserError if it is missing, truncated or something else."""
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
