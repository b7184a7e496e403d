"""Checkpoints of a run: everything the next step depends on, written whole or not at all.

``checkpoints/step-00001000/`` holds ``model.safetensors`` (the same file as in the run directory),
``optimizer.safetensors`` (the mean of the weights in it, if there is one), ``best.safetensors`` if the run keeps its
best weights (``selection.py``), and ``state.json``, with checksums of all. Order, masks and dropout are functions of
the seed and the step, so there is no other state.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from dokkai.errors import UserError
from dokkai.files import checksum, existing_file, link, read_json, remove, replacing, write_json
from dokkai.model.checkpoint import WEIGHTS, load_tensors, save_tensors
from dokkai.model.heads import Model
from dokkai.model.names import from_foreign, to_foreign
from dokkai.progress import say
from dokkai.training.bert_adam import BertAdam
from dokkai.training.muon import Muon

FOLDER = "checkpoints"
BEST = "best.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_STATE = "state.json"
_AVERAGE = "average"
_NONE: Mapping[str, Tensor] = {}
_KINDS: dict[type[Optimizer], tuple[str, ...]] = {  # what an optimizer remembers of a parameter
    AdamW: ("step", "exp_avg", "exp_avg_sq"),
    BertAdam: ("step", "exp_avg", "exp_avg_sq"),
    Muon: ("momentum_buffer",),
}


def save_checkpoint(
    run: Path,
    step: int,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    state: dict[str, Any],
    keep: int,
    average: Mapping[str, Tensor] = _NONE,
    best: Path | None = None,
) -> None:
    """Write the checkpoint of ``step`` finished updates; then forget all but the last ``keep``.

    Those of later steps go too: they were damaged, or this one would not have been written. The weights must lie in
    the run directory already (``Pipeline.save``); the checkpoint links to them, and to the file ``best``. ``average``
    is kept beside them.
    """
    new = run / FOLDER / f"step-{step:08d}"
    with replacing(new) as folder:
        folder.mkdir()
        link(run / WEIGHTS, folder / WEIGHTS)
        means = {f"{name}.{_AVERAGE}": tensor.cpu() for name, tensor in average.items()}
        save_tensors(_optimizer_tensors(model, optimizers) | means, folder / _OPTIMIZER)
        if best is not None:
            link(best, folder / BEST)
        checksums = {path.name: checksum(path) for path in sorted(folder.iterdir())}
        write_json(folder / _STATE, state | {"step": step, "checksums": checksums})
    found = checkpoints(run)
    end = found.index(new) + 1
    for old in [*found[: max(0, end - keep)], *found[end:]]:
        remove(old)


def load_checkpoint(
    run: Path, model: nn.Module, optimizers: Sequence[Optimizer], average: Mapping[str, Tensor] = _NONE
) -> dict[str, Any] | None:
    """Bring model, optimizers and average to the last readable checkpoint and return its state; None if there is none.

    The state has the ``folder`` in which it lay. A damaged one is named and the one before it taken; UserError if there
    are some, but none can be read.
    """
    folders = checkpoints(run)
    for folder in reversed(folders):
        try:
            state = _read_state(folder)
            _restore(model, optimizers, average, load_tensors(folder / _OPTIMIZER), folder)
        except UserError as error:
            if folder == folders[0]:
                raise UserError(f"{error}; no checkpoint is left to go on from: choose another --out") from error
            say(f"{error}; going on from the checkpoint before it")
            continue
        return state | {"folder": folder}
    return None


def checkpoints(run: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted((run / FOLDER).glob("step-*"))


def save_weights(model: nn.Module, path: Path) -> None:
    """Replace a file by the weights of the model, in full precision."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_tensors(to_foreign(state, model.config.model_type) if isinstance(model, Model) else state, path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy the weights of a file into the model; UserError unless they are those of such a model."""
    own, weights = model.state_dict(), load_tensors(path)
    if isinstance(model, Model):
        state, missing, _ = from_foreign(own, weights, model.config.model_type)
    else:  # saved under its own names
        state, missing = weights, sorted(own.keys() ^ weights.keys())
    if missing or any(state[name].shape != own[name].shape for name in state):
        raise UserError(f"{path.parent}: belongs to another model")
    for name, tensor in state.items():
        own[name].copy_(tensor)


def _read_state(folder: Path) -> dict[str, Any]:
    state = read_json(folder / _STATE, "state of a checkpoint")
    keys = {"step", "tokens", "seconds", "checksums"}
    if not isinstance(state, dict) or not keys <= state.keys() or not isinstance(state["checksums"], dict):
        raise UserError(f"{folder / _STATE}: not the state of a checkpoint")
    for name, wanted in state["checksums"].items():
        if checksum(existing_file(folder / name)) != wanted:
            raise UserError(f"{folder / name}: damaged (its checksum differs)")
    return state


def _restore(
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    average: Mapping[str, Tensor],
    moments: dict[str, Tensor],
    folder: Path,
) -> None:
    load_weights(model, folder / WEIGHTS)
    kinds = {name: _KINDS[type(optimizer)] for name, _, optimizer in _parameters(model, optimizers)}
    wanted = {f"{name}.{kind}" for name in kinds for kind in kinds[name]}
    if wanted | {f"{name}.{_AVERAGE}" for name in average} != set(moments):
        raise UserError(f"{folder / _OPTIMIZER}: belongs to another optimizer")
    for name, parameter, optimizer in _parameters(model, optimizers):
        optimizer.state[parameter] = {
            kind: moments[f"{name}.{kind}"].to(parameter.device, copy=True) for kind in kinds[name]
        }
    for name, tensor in average.items():
        tensor.copy_(moments[f"{name}.{_AVERAGE}"])


def _optimizer_tensors(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    return {
        f"{name}.{kind}": optimizer.state[parameter][kind].detach().cpu().contiguous()
        for name, parameter, optimizer in _parameters(model, optimizers)
        for kind in _KINDS[type(optimizer)]
    }


def _parameters(model: nn.Module, optimizers: Sequence[Optimizer]) -> Iterator[tuple[str, Tensor, Optimizer]]:
    """Every parameter by name, with the optimizer that holds it."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                yield names[parameter], parameter, optimizer
