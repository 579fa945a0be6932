"""Reading files of Torch7 (``.t7``, the Lua predecessor of PyTorch), as far as tensors and tables of them.

A file is one object: its type, and for tables and tensors a number under which later ones may refer to it. Functions
and classes other than tensors are refused. All numbers are little-endian, as PCs write them.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deblurcli.errors import WeightsError
from deblurcli.networks.dbn import DBN

NUMBER, STRING, TABLE, TORCH, BOOLEAN = 1, 2, 3, 4, 5
"""Types of objects; 0 is nil, and the others are functions."""

KINDS = {"Float": "<f4", "Cuda": "<f4", "Double": "<f8"}
"""Kinds of tensors and storages, and how their numbers are stored."""

MAX_DEPTH = 32
STATISTICS = ("running_mean", "running_var")


def is_torch7(content: bytes) -> bool:
    """Whether a file may be a tensor or a table of Torch7."""
    return content[:4] in (struct.pack("<i", TABLE), struct.pack("<i", TORCH))


def object_of(where: str, content: bytes) -> Any:
    """The object in a file: tensors as float32 tensors, tables as dicts. Raises WeightsError."""
    try:
        return _Reader(where, content).read(0)
    except (struct.error, ValueError, UnicodeDecodeError, RuntimeError, OverflowError) as error:
        raise WeightsError(f"{where}: damaged or cut short", "get the file again") from error


def dbn(where: str, objects: list[Any]) -> dict[str, Tensor]:
    """The state dict of DBN from its authors' two files, in any order: all parameters in one row, and a table of the
    running means and of the running variances of every normalisation, in the network's order.

    Raises WeightsError where they are not that.
    """
    with torch.device("meta"):
        network = DBN()
    rows = [thing for thing in objects if isinstance(thing, Tensor)]
    tables = [thing for thing in objects if isinstance(thing, dict)]
    wanted = sum(p.numel() for p in network.parameters())
    if len(rows) != 1 or len(tables) != 1 or rows[0].shape != (wanted,):
        cure = f"DBN is two files, param_epoch_N.t7 with {wanted} numbers and bn_meanvar_epoch_N.t7"
        raise WeightsError(f"{where}: not the parameters and statistics of DBN", cure)
    parameters = dict(network.named_parameters())
    pieces = rows[0].split([p.numel() for p in parameters.values()])
    tensors = {key: piece.view(p.shape) for (key, p), piece in zip(parameters.items(), pieces, strict=True)}
    units = [key.removesuffix(".running_mean") for key, _ in network.named_buffers() if key.endswith("running_mean")]
    for place, statistic in enumerate(STATISTICS, 1):
        values = tables[0].get(place)
        if not isinstance(values, dict) or values.keys() != set(range(1, len(units) + 1)):
            raise WeightsError(f"{where}: not {len(units)} {statistic}s", "is it the right file?")
        tensors |= {f"{unit}.{statistic}": values[number] for number, unit in enumerate(units, 1)}
    if not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsError(f"{where}: its statistics are not tensors", "is it the right file?")
    return tensors


class _Reader:
    """Goes through a file once; every length is compared with what is left of it before anything is made of it."""

    def __init__(self, where: str, content: bytes) -> None:
        self.where, self.content, self.place = where, content, 0
        self.known: dict[int, Any] = {}

    def read(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError("too deep")
        kind = self.integer()
        if kind == 0:
            return None
        if kind == NUMBER:
            return _whole(self.unpack("<d"))
        if kind == BOOLEAN:
            return bool(self.integer())
        if kind == STRING:
            return self.string()
        if kind not in (TABLE, TORCH):
            raise WeightsError(f"{self.where}: holds a function; nothing of it was run", "only tensors are loaded")
        number = self.integer()
        if number not in self.known:
            self.known[number] = {}
            self.known[number] = self.table(number, depth) if kind == TABLE else self.tensor(depth)
        return self.known[number]

    def table(self, number: int, depth: int) -> dict[Any, Any]:
        entries = self.known[number]
        for _ in range(self.integer()):
            key = self.read(depth + 1)
            if not isinstance(key, int | float | str):
                raise ValueError("a key that is a table")
            entries[key] = self.read(depth + 1)
        return dict(entries)

    def tensor(self, depth: int) -> Any:
        """A tensor, or the storage of one: a one-dimensional array."""
        name = self.string()
        if name.startswith("V "):
            name = self.string()
        kind, _, what = name.removeprefix("torch.").partition("Storage" if name.endswith("Storage") else "Tensor")
        if not name.startswith("torch.") or kind not in KINDS or what:
            raise WeightsError(f"{self.where}: holds a {name[:80]!r}; nothing of it was run", "only tensors are loaded")
        if name.endswith("Storage"):
            length = self.unpack("<q")
            values = self.take(length * np.dtype(KINDS[kind]).itemsize)
            return np.frombuffer(values, KINDS[kind]).astype(np.float32)
        dimensions = self.integer()
        sizes, strides = ([self.unpack("<q") for _ in range(dimensions)] for _ in range(2))
        offset, storage = self.unpack("<q") - 1, self.read(depth + 1)
        if storage is None or not sizes:
            return torch.zeros(0)
        if not isinstance(storage, np.ndarray) or min(*sizes, *strides, offset) < 0:
            raise ValueError("a tensor without numbers")
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        if last >= len(storage) or math.prod(sizes) > len(storage):
            raise ValueError("a tensor beyond its numbers")
        return torch.from_numpy(storage).as_strided(sizes, strides, offset)

    def integer(self) -> int:
        return int(self.unpack("<i"))

    def string(self) -> str:
        return self.take(self.integer()).decode()

    def unpack(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def take(self, length: int) -> bytes:
        if not 0 <= length <= len(self.content) - self.place:
            raise ValueError("beyond the end")
        self.place += length
        return self.content[self.place - length : self.place]


def _whole(number: float) -> float | int:
    return int(number) if number.is_integer() else number
