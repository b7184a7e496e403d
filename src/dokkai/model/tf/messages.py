"""The protocol-buffer messages in the table: the header of a bundle, and an entry per tensor.

The schema is that of TensorFlow's ``tensor_bundle.proto``, with the fields that a checkpoint needs; TensorFlow's own
generated classes come only with TensorFlow.
"""

from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

_SCHEMA = """
name: "dokkai/tensor_bundle.proto" package: "dokkai" syntax: "proto3"
message_type {
  name: "Version"
  field { name: "producer" number: 1 type: TYPE_INT32 }
  field { name: "min_consumer" number: 2 type: TYPE_INT32 }
}
message_type {
  name: "Header"
  field { name: "num_shards" number: 1 type: TYPE_INT32 }
  field { name: "endianness" number: 2 type: TYPE_INT32 }
  field { name: "version" number: 3 type: TYPE_MESSAGE type_name: ".dokkai.Version" }
}
message_type {
  name: "Dim"
  field { name: "size" number: 1 type: TYPE_INT64 }
}
message_type {
  name: "Shape"
  field { name: "dim" number: 2 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".dokkai.Dim" }
}
message_type {
  name: "Entry"
  field { name: "dtype" number: 1 type: TYPE_INT32 }
  field { name: "shape" number: 2 type: TYPE_MESSAGE type_name: ".dokkai.Shape" }
  field { name: "shard_id" number: 3 type: TYPE_INT32 }
  field { name: "offset" number: 4 type: TYPE_INT64 }
  field { name: "size" number: 5 type: TYPE_INT64 }
  field { name: "crc32c" number: 6 type: TYPE_FIXED32 }
  field { name: "slices" number: 7 label: LABEL_REPEATED type: TYPE_BYTES }
}
"""
_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(text_format.Parse(_SCHEMA, descriptor_pb2.FileDescriptorProto()))


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"dokkai.{name}"))


_HeaderMessage, _EntryMessage = _message("Header"), _message("Entry")


@dataclass(frozen=True, slots=True)
class Header:
    """The value of the empty key: into how many data files the tensors went, and in which order their bytes lie."""

    num_shards: int = 1
    is_big_endian: bool = False
    min_consumer: int = 0
    """The oldest version of the format that a reader must know."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies; ``dtype`` is TensorFlow's number, ``crc32c`` the masked checksum of its bytes."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int
    is_sliced: bool = False


def parse_header(content: bytes) -> Header:
    """ValueError if these bytes are no such message."""
    message = _parse(_HeaderMessage, content)
    return Header(message.num_shards, message.endianness == 1, message.version.min_consumer)


def header_bytes(header: Header) -> bytes:
    """The header as TensorFlow writes it; it names itself version 1 of the format, the only one there has been."""
    message = _HeaderMessage(num_shards=header.num_shards, endianness=int(header.is_big_endian))
    message.version.producer = 1
    message.version.min_consumer = header.min_consumer
    return bytes(message.SerializeToString())


def parse_entry(content: bytes) -> Entry:
    """ValueError if these bytes are no such message."""
    message = _parse(_EntryMessage, content)
    shape = tuple(dim.size for dim in message.shape.dim)
    place = message.shard_id, message.offset, message.size
    if min(*place, *shape) < 0:
        raise ValueError("a negative size or place")
    return Entry(message.dtype, shape, *place, message.crc32c, bool(message.slices))


def entry_bytes(entry: Entry) -> bytes:
    """The entry as TensorFlow writes it."""
    message = _EntryMessage(dtype=entry.dtype, shard_id=entry.shard, offset=entry.offset, size=entry.size)
    message.shape.SetInParent()  # a scalar has a shape too, an empty one
    for size in entry.shape:
        message.shape.dim.add(size=size)
    message.crc32c = entry.crc32c
    return bytes(message.SerializeToString())


def _parse(kind: Any, content: bytes) -> Any:
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise ValueError(str(error)) from error
