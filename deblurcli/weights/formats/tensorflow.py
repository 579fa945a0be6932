"""Reading the checkpoints of TensorFlow (version 2 of the format) without TensorFlow: an index and a file of numbers.

The index is a sorted table of LevelDB's form: blocks of keys and values, of which a key stores only what differs from
the one before, a block that lists the blocks, and a footer that says where that one is. A value is a protocol buffer
with a variable's type, shape, place and size. Nothing in either file can be run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from deblurcli.errors import WeightsError

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
"""The last bytes of an index."""

FOOTER_BYTES = 48
TRAILER_BYTES = 5  # of a block: how it is compressed, and a checksum
FLOAT = 1
"""The type of float32 variables."""

SLOTS = ("/Adam", "/Adam_1", "/Momentum", "/ExponentialMovingAverage")
"""What optimizers store along with a variable ends so."""


@dataclass
class Variable:
    """Where the numbers of a variable are."""

    kind: int = 0
    shape: list[int] = field(default_factory=list)
    shard: int = 0
    offset: int = 0
    size: int = 0


def is_index(content: bytes) -> bool:
    return content.endswith(MAGIC)


def tensors_of(where: str, index: bytes, numbers: bytes) -> dict[str, Tensor]:
    """The float32 variables of a checkpoint of one shard, by name and in TensorFlow's order of axes.

    Raises WeightsError where the files are damaged, or belong to several checkpoints.
    """
    tensors, left = {}, len(numbers)
    try:
        for key, value in _entries(index):
            if not key:  # the header
                continue
            name, variable = key.decode(), _variable(value)
            if variable.kind != FLOAT or name.endswith(SLOTS):
                continue
            end = variable.offset + variable.size
            left -= variable.size
            if variable.shard or end > len(numbers) or left < 0 or variable.size != 4 * math.prod(variable.shape):
                raise WeightsError(f"{where}: {name} is not in the file of numbers", "give the files of one checkpoint")
            values = np.frombuffer(numbers, "<f4", math.prod(variable.shape), variable.offset)
            tensors[name] = torch.from_numpy(values.reshape(variable.shape).copy())
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise WeightsError(f"{where}: its index is damaged or cut short", "get the file again") from error
    return tensors


def srn(variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The variables of SRN under our names and in torch's order of axes, see :mod:`deblurcli.networks.srn`."""
    tensors = {}
    for name, value in variables.items():
        if name.startswith("g_net/"):
            key = name.removeprefix("g_net/").replace("/", ".").replace("weights", "weight").replace("biases", "bias")
            tensors[key] = value.permute(3, 2, 0, 1).contiguous() if value.dim() == 4 else value
    return tensors


def _entries(index: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the table, in order. Raises ValueError, IndexError."""
    footer = index[-FOOTER_BYTES:]
    place = 0
    handles = []
    for _ in range(4):  # offset and size of the list of what is not data, then those of the list of blocks
        number, place = _varint(footer, place)
        handles.append(number)
    end = 0
    for _, handle in _block(index, handles[2], handles[3]):
        offset, place = _varint(handle, 0)
        size, _ = _varint(handle, place)
        if offset < end:  # listed again, a block would be read as often as it is listed
            raise ValueError("blocks out of order")
        end = offset + size
        yield from _block(index, offset, size)


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    content = table[offset : offset + size]
    if len(content) != size or len(table) < offset + size + TRAILER_BYTES or size < 4:
        raise ValueError("block outside of the table")
    if table[offset + size]:
        raise ValueError("compressed block")
    restarts = int.from_bytes(content[-4:], "little")
    end, place, key = size - 4 - 4 * restarts, 0, b""
    while place < end:
        shared, place = _varint(content, place)
        fresh, place = _varint(content, place)
        length, place = _varint(content, place)
        if shared > len(key) or place + fresh + length > end:
            raise ValueError("entry outside of the block")
        key = key[:shared] + content[place : place + fresh]
        yield key, content[place + fresh : place + fresh + length]
        place += fresh + length


def _variable(message: bytes) -> Variable:
    variable = Variable()
    for number, value in _fields(message):
        if number == 2 and isinstance(value, bytes):
            sizes = [dict(_fields(part)) for tag, part in _fields(value) if tag == 2 and isinstance(part, bytes)]
            variable.shape = [int(size.get(1, 0)) for size in sizes]
        elif isinstance(value, int) and number in (1, 3, 4, 5):
            setattr(variable, {1: "kind", 3: "shard", 4: "offset", 5: "size"}[number], value)
    return variable


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer: number, and value as an integer or bytes. Raises ValueError, IndexError."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        length = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            length, place = _varint(message, place)
        if length is None or place + length > len(message):
            raise ValueError("not a protocol buffer")
        yield tag >> 3, message[place : place + length]
        place += length


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits per byte, the lowest first, and the place behind it."""
    number = shift = 0
    while shift < 64:
        byte = content[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
    raise ValueError("number too long")
