"""States of an encoder on disk: computed once, then read from there, whatever is trained on them.

``FOLDER/KEY/layer-07.npy`` holds what layer 7 made of all tokens of all inputs, ``(T, D)``, in the order of the inputs.
The key is a digest of what the states depend on: weights, precision, and the tokens. A file is whole or not there.

N layers · T tokens of all inputs · L tokens of one · D hidden size
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dokkai.errors import UserError
from dokkai.files import lock, remove_unfinished, replacing
from dokkai.pipeline import POOLINGS, Pipeline
from dokkai.progress import Progress, say
from dokkai.tasks.base import ModelInput

_IRRELEVANT = {  # of the configuration: the states of a finished encoder do not depend on it
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "classifier_pooling",
    "hidden_dropout_prob",
    "initializer_range",
}
_BLOCK = 1 << 14  # tokens that are in memory at a time where all are read


class CachedStates:
    """Some layers of many inputs, mapped into memory: what is read comes from the disk when it is needed."""

    def __init__(self, files: Sequence[Path], lengths: Sequence[int], hidden_size: int) -> None:
        self._made_of = (files, lengths, hidden_size)
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - np.array(lengths)
        try:
            self._layers = [np.load(path, mmap_mode="r") for path in files]
        except (ValueError, EOFError) as error:
            raise UserError(f"{files[0].parent}: damaged ({error}); delete this folder and start again") from error
        for path, layer in zip(files, self._layers, strict=True):
            if layer.shape != (int(self._ends[-1]), hidden_size):
                raise UserError(f"{path}: not of these inputs; delete this file and start again")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._made_of  # a process that prepares batches maps the files too

    def __getitem__(self, number: int) -> np.ndarray:
        """The states of one input, ``(L, N, D)``."""
        place = slice(self._starts[number], self._ends[number])
        return np.stack([layer[place] for layer in self._layers], axis=1)

    def pad(self, numbers: Sequence[int], length: int) -> Tensor:
        """Those of several inputs, ``(len(numbers), length, N, D)``, zeros behind their ends."""
        first = self._layers[0]
        out = np.zeros((len(numbers), length, len(self._layers), first.shape[1]), dtype=first.dtype)
        for row, number in enumerate(numbers):
            states = self[number]
            out[row, : len(states)] = states
        return torch.from_numpy(out)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation over all tokens, ``(N, D)`` each; a deviation of 0 counts as 1."""
        from sklearn.preprocessing import StandardScaler  # here, because the import takes seconds

        scalers = [StandardScaler() for _ in self._layers]
        for layer, scaler in zip(self._layers, scalers, strict=True):
            for first in range(0, len(layer), _BLOCK):
                scaler.partial_fit(layer[first : first + _BLOCK].astype(np.float64))
        mean, deviation = (np.stack([getattr(one, name) for one in scalers]) for name in ("mean_", "scale_"))
        return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()

    def all(self) -> np.ndarray:
        """Everything at once, ``(T, N, D)``: for pooled states, where an input has one."""
        return np.stack(self._layers, axis=1)


def cache_states(
    pipeline: Pipeline,
    inputs: Sequence[ModelInput],
    layers: Sequence[int],
    folder: Path,
    pooling: str = "none",
    dtype: str = "float16",
) -> CachedStates:
    """The outputs of ``layers`` (0: the embeddings) for all inputs, from ``folder`` if they are there, else computed.

    ``pooling`` other than "none" keeps one vector per input. Layers that are not there yet are added to the others.
    Several processes may ask for the same: one computes, the others wait. UserError if a value is too large for
    ``dtype``.
    """
    place = folder / _key(pipeline, inputs, pooling, dtype)
    lengths = [1 if pooling != "none" else len(item.input_ids) for item in inputs]
    width = pipeline.model.config.hidden_size
    with _alone(place) if _missing(place, layers) else nullcontext():
        missing = _missing(place, layers)  # once more: another process may have been here
        if missing:
            size = len(missing) * sum(lengths) * width * np.dtype(dtype).itemsize
            say(f"features of {len(inputs):,} inputs go to {place} ({size / 1e6:,.1f} MB)")
            _compute(pipeline, inputs, missing, place, lengths, pooling, dtype)
        else:
            say(f"features of {len(inputs):,} inputs come from {place}")
    return CachedStates([_file(place, layer) for layer in layers], lengths, width)


def _missing(place: Path, layers: Sequence[int]) -> list[int]:
    return [layer for layer in dict.fromkeys(layers) if not _file(place, layer).exists()]


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Wait until no other process computes into the folder; what a killed one left there is removed."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle = os.open(place, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror}; choose another folder") from error
    try:
        try:
            lock(handle, place)
        except BlockingIOError:
            say(f"another process computes the features in {place}; waiting for it")
            lock(handle, place, wait=True)
        remove_unfinished(place)
        yield
    finally:
        os.close(handle)


def _compute(
    pipeline: Pipeline,
    inputs: Sequence[ModelInput],
    layers: Sequence[int],
    place: Path,
    lengths: Sequence[int],
    pooling: str,
    dtype: str,
) -> None:
    width, kind = pipeline.model.config.hidden_size, np.dtype(dtype)
    starts = np.cumsum(lengths) - np.array(lengths)
    header = {"shape": (sum(lengths), width), "fortran_order": False, "descr": np.lib.format.dtype_to_descr(kind)}
    with ExitStack() as stack, Progress("reading", len(inputs), "sequences") as progress:
        streams = []
        for layer in layers:
            temporary = stack.enter_context(replacing(_file(place, layer)))
            streams.append(stack.enter_context(temporary.open("wb")))  # a full disk is an error, in a map a signal
            np.lib.format.write_array_header_1_0(streams[-1], header)
        begin = streams[0].tell()
        for index, x_LD in pipeline.states(inputs, layers):
            _check(x_LD, kind)
            rows = POOLINGS[pooling](x_LD).reshape(-1, len(layers), width)
            for number, stream in enumerate(streams):
                stream.seek(begin + int(starts[index]) * width * kind.itemsize)
                stream.write(rows[:, number].astype(kind).tobytes())
            progress.advance()


def _check(x_LD: np.ndarray, dtype: np.dtype[Any]) -> None:
    if not np.isfinite(x_LD).all():
        raise UserError("the encoder gives features that are no numbers; its weights are damaged, take another one")
    if np.abs(x_LD).max() > np.finfo(dtype).max:
        raise UserError(f"a feature is {np.abs(x_LD).max():g}, too large for {dtype}; set probe.dtype=float32")


def _file(place: Path, layer: int) -> Path:
    return place / f"layer-{layer:02d}.npy"


def _key(pipeline: Pipeline, inputs: Sequence[ModelInput], pooling: str, dtype: str) -> str:
    digest = hashlib.blake2b(digest_size=8)
    config = {name: value for name, value in asdict(pipeline.model.config).items() if name not in _IRRELEVANT}
    config |= {"precision": pipeline.precision, "pooling": pooling, "dtype": dtype}
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in pipeline.model.encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    for item in inputs:
        for ids in (item.input_ids, item.token_type_ids):
            digest.update(np.array([len(ids), *ids], dtype=np.int64).data)
    return digest.hexdigest()
