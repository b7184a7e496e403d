"""A bundle of named tensors: ``PREFIX.index`` and ``PREFIX.data-00000-of-00001`` and so on, as ``tf.train.Saver`` has
written them since 2016 (``core/util/tensor_bundle`` of TensorFlow).
"""

import math
import mmap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dokkai.errors import UserError, did_you_mean
from dokkai.files import existing_file, replacing
from dokkai.model.tf.checksum import masked_crc32c
from dokkai.model.tf.messages import Entry, Header, entry_bytes, header_bytes, parse_entry, parse_header
from dokkai.model.tf.table import read_table, write_table

_VERSION = 1  # of the format
_DTYPES = {  # TensorFlow's numbers (types.proto)
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    9: torch.int64,
    10: torch.bool,
    14: torch.bfloat16,
    17: torch.uint16,
    19: torch.float16,
    22: torch.uint32,
    23: torch.uint64,
}
_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}


class Bundle:
    """An opened checkpoint: the index is read and checked at once, each tensor when it is asked for.

    UserError: no such file, a foreign or damaged index, a format that is newer than this code.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.index = prefix.with_name(f"{prefix.name}.index")
        self.entries: dict[str, Entry] = {}
        """By name; parts of tensors that were saved in slices are not among them."""
        self._files: dict[int, mmap.mmap] = {}
        header: Header | None = None
        for key, value in read_table(self.index):
            try:
                if not key:
                    header = parse_header(value)
                elif not key.startswith(b"\0"):  # the key of a slice
                    self.entries[key.decode("utf-8")] = parse_entry(value)
            except ValueError as error:  # UnicodeDecodeError too
                raise UserError(
                    f"{self.index}: the entry {key!r} is not one of a checkpoint ({error}); is this another table?"
                ) from error
        if header is None:
            raise UserError(f"{self.index}: no header in it; this is a table of TensorFlow, but no checkpoint")
        if header.min_consumer > _VERSION:
            raise UserError(
                f"{self.index}: version {header.min_consumer} of the format; dokkai reads version {_VERSION}, so save "
                "it with an older TensorFlow"
            )
        self.header = header

    def tensor(self, name: str) -> Tensor:
        """The tensor, its checksum compared; its bytes lie in a private map of the file, so nothing is copied.

        UserError: no such tensor, a data file missing or cut short, a wrong checksum, a dtype or a way of saving that
        is not supported.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise UserError(f"{self.index}: no tensor '{name}' in it{did_you_mean(name, self.entries)}")
        if entry.is_sliced:
            raise UserError(
                f"{self.index}: {name} was saved in slices (a partitioned variable), which is not supported; save it "
                "whole with TensorFlow"
            )
        dtype = _DTYPES.get(entry.dtype)
        if dtype is None:
            raise UserError(
                f"{self.index}: {name} has dtype {entry.dtype} of TensorFlow's list (7 is text), which is not "
                f"supported; there is: {', '.join(_name(known) for known in _NUMBERS)}"
            )
        count = math.prod(entry.shape)
        if entry.size != count * dtype.itemsize:
            raise UserError(f"{self.index}: {name} has {entry.size} bytes, not those of {_name(dtype)} {entry.shape}")
        if not 0 <= entry.shard < self.header.num_shards:
            raise UserError(f"{self.index}: {name} in data file {entry.shard} of {self.header.num_shards}")
        if not count:
            return torch.empty(entry.shape, dtype=dtype)
        return self._read(name, entry, dtype).view(entry.shape)

    def shard_path(self, number: int) -> Path:
        """The data file of this number, from 0."""
        return _shard_path(self.prefix, number, self.header.num_shards)

    def _read(self, name: str, entry: Entry, dtype: torch.dtype) -> Tensor:
        file, path = self._map(entry.shard), self.shard_path(entry.shard)
        end = entry.offset + entry.size
        if end > len(file):
            raise UserError(
                f"{path}: cut short: it has {len(file)} bytes, but {name} ends at byte {end}; copy it again"
            )
        with memoryview(file) as view, view[entry.offset : end] as content:
            if masked_crc32c(content) != entry.crc32c:
                raise UserError(f"{path}: wrong checksum of {name}; the file is damaged, copy it again")
            if self.header.is_big_endian:
                width = np.dtype(f"u{dtype.itemsize}")
                return torch.from_numpy(np.frombuffer(content, width).byteswap().view(np.uint8)).view(dtype)
            if entry.offset % dtype.itemsize:  # tensors follow one another without gaps
                return torch.frombuffer(bytearray(content), dtype=dtype)
        return torch.frombuffer(file, dtype=dtype, count=entry.size // dtype.itemsize, offset=entry.offset)

    def _map(self, number: int) -> mmap.mmap:
        if number not in self._files:
            path = self.shard_path(number)
            if not path.exists():
                raise UserError(
                    f"{path}: no such file; this checkpoint has {self.header.num_shards} data file(s), put all of "
                    "them beside the index"
                )
            with existing_file(path).open("rb") as file:
                self._files[number] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return self._files[number]


def write_bundle(tensors: Mapping[str, Tensor], prefix: Path) -> None:
    """Write ``PREFIX.index`` and one data file, byte for byte what ``tf.train.Saver`` writes for these tensors."""
    entries = {b"": header_bytes(Header())}
    offset = 0
    with replacing(_shard_path(prefix, 0, 1)) as temporary, temporary.open("wb") as file:
        for name in sorted(tensors, key=str.encode):
            tensor = tensors[name].detach().to("cpu").contiguous()
            content = tensor.reshape(-1).view(torch.uint8).numpy().data
            crc32c = masked_crc32c(content)
            entry = Entry(_NUMBERS[tensor.dtype], tuple(tensor.shape), 0, offset, len(content), crc32c)
            entries[name.encode()] = entry_bytes(entry)
            offset += file.write(content)
    with replacing(prefix.with_name(f"{prefix.name}.index")) as temporary:
        temporary.write_bytes(write_table(entries.items()))


def _shard_path(prefix: Path, number: int, count: int) -> Path:
    return prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{count:05d}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
