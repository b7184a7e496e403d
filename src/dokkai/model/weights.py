"""The weights in a directory, as ``transformers`` 4 and 5 leave them: safetensors or pickles, whole or in shards."""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dokkai.errors import UserError
from dokkai.files import existing_file, read_json

WEIGHTS = "model.safetensors"
PICKLE = "pytorch_model.bin"
_INDEX = ".index.json"  # after either name: a table of shards
_FOREIGN = ("tf_model.h5", "flax_model.msgpack")
_LFS = b"version https://git-lfs"
# torch.load has no error of its own for a broken file: what its readers of zip archives and pickles raise.
_BROKEN = (
    *(RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, OverflowError, OSError),
    struct.error,
)


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """One file of weights, or the shards of an index; ``path`` is the file or the index, for messages."""

    path: Path
    files: tuple[Path, ...]
    expected: Mapping[str, str] = field(default_factory=dict)
    """The shard of each tensor, as the index says."""

    @property
    def is_mapped(self) -> bool:
        """Whether opening again costs nothing: so it is, but for pickles from before PyTorch 1.6."""
        return all(file.suffix == ".safetensors" or zipfile.is_zipfile(file) for file in self.files)

    def stamp(self) -> list[tuple[int, int]]:
        """Which files these are: another list after a run has saved over them."""
        return [((found := file.stat()).st_ino, found.st_mtime_ns) for file in self.files]

    def open(self) -> dict[str, Tensor]:
        """All tensors by name, in a private map of the files made by this call: it goes when the last of them goes.

        Nothing is read before it is used. Writing to the tensors does not reach the files. UserError for a file that
        is missing, broken, or not what its index says.
        """
        tensors: dict[str, Tensor] = {}
        for file in self.files:
            found = load_tensors(file) if file.suffix == ".safetensors" else _load_pickle(file)
            if twice := tensors.keys() & found.keys():
                raise UserError(f"{self.path}: {min(twice)} lies in two shards; download the model again")
            lost = [name for name, shard in self.expected.items() if shard == file.name and name not in found]
            if lost:
                raise UserError(f"{self.path}: {lost[0]} should be in {file.name}, but is not; download it again")
            tensors |= found
        return tensors


def find_weights(directory: Path) -> WeightFiles:
    """The weights that lie in ``directory``; safetensors before pickles, one file before shards, as in transformers."""
    for name in (WEIGHTS, PICKLE):
        if (directory / name).exists():
            return WeightFiles(directory / name, (directory / name,))
        if (directory / f"{name}{_INDEX}").exists():
            return _read_index(directory / f"{name}{_INDEX}")
    other = [name for name in _FOREIGN if (directory / name).exists()]
    hint = f"; {other[0]} is not read: save it for PyTorch with transformers 4" if other else ""
    raise UserError(f"{directory / WEIGHTS}: no such file, nor {PICKLE}, nor shards of either{hint}")


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; UserError if it is missing, truncated or something else.

    The tensors lie in a private map of the file: writing to them does not reach it, and it must not shrink under them.
    """
    existing_file(path)
    _refuse_pointer(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"{path}: corrupt or not a safetensors file ({error}); restore it or use another one"
        ) from error


def _load_pickle(path: Path) -> dict[str, Tensor]:
    """Read what ``torch.save`` wrote; tensors only, and nothing in the file is executed."""
    existing_file(path)
    _refuse_pointer(path)
    is_zip = zipfile.is_zipfile(path)  # not so before PyTorch 1.6; only these can be mapped
    try:
        with warnings.catch_warnings(action="ignore"):  # of protocols it does not expect; it says that with its errors
            values = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|Unsupported class|function|class) ([\w.]+\.\w+)", str(error))
        if found is None:
            raise UserError(
                f"{path}: corrupt or not a file of PyTorch weights; restore it or use another one"
            ) from None
        raise UserError(
            f"{path}: it holds more than tensors ({found[1]}), which opening it would execute; nothing was executed; "
            f"get the model as {WEIGHTS}"
        ) from None
    except _BROKEN as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path}: corrupt or not a file of PyTorch weights ({first}); restore it or use another one"
        ) from error
    if not isinstance(values, Mapping) or not all(isinstance(tensor, Tensor) for tensor in values.values()):
        raise UserError(f"{path}: not tensors by name, as a model's state_dict is; save the state_dict alone")
    return {str(name): tensor.detach() for name, tensor in values.items()}


def _read_index(path: Path) -> WeightFiles:
    values = read_json(path, "index of the weights")
    shards = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise UserError(f"{path}: not an index of weights (no file names under 'weight_map')")
    names = sorted(set(shards.values()))
    for name in names:
        if name in (".", "..") or Path(name).name != name or not name.endswith((".safetensors", ".bin")):
            raise UserError(f"{path}: '{name}' is not the name of a shard beside it")
        if not (path.parent / name).exists():
            raise UserError(f"{path.parent / name}: no such file, but {path.name} names it; download it too")
    return WeightFiles(path, tuple(path.parent / name for name in names), shards)


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise UserError(f"{path}: only the pointer of Git LFS, not the weights; run `git lfs pull` beside it")
