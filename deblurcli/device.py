"""Which device and precision to use, how much memory there is, and why."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deblurcli.errors import DeviceError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Device:
    """A torch device with the precision that networks run in there."""

    where: torch.device
    dtype: torch.dtype
    """float32, or the autocast precision."""
    why: str
    sharers: int = 1
    """Processes of one batch that compute there."""

    @property
    def is_card(self) -> bool:
        """Whether it is a graphics card with memory of its own, which is busy only with much to do at once."""
        return self.where.type == "cuda"

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Convolutions and matrix products run in ``dtype`` inside; float32: nothing changes."""
        if self.dtype == torch.float32:
            yield
        else:
            with torch.autocast(self.where.type, self.dtype):
                yield

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module here, weights in channels-last order, which is the fast one for wide convolutions."""
        return module.to(self.where).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def free_memory(self) -> int:
        """Bytes that a computation may use: free device memory, or what the system and its cgroup leave; of these its
        part, where several processes share them."""
        free = torch.cuda.mem_get_info(self.where)[0] if self.where.type == "cuda" else free_system_memory()
        return int(free) // self.sharers

    def limited_to(self, precisions: Collection[str]) -> Device:
        """This device, in float32 where its own precision is not among these (fp32, bf16, fp16)."""
        return self if self.precision in precisions else replace(self, dtype=torch.float32)

    @property
    def precision(self) -> str:
        """Name of ``dtype``: fp32, bf16 or fp16."""
        return next(name for name, dtype in _DTYPES.items() if dtype == self.dtype)

    def __str__(self) -> str:
        return f"{self.where} {self.precision} ({self.why})"


def free_system_memory() -> int:
    """Bytes of memory available to this process on Linux, macOS or Windows; 2 GiB where the system does not say."""
    available = 2 << 30
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    with contextlib.suppress(OSError, ValueError):
        available = min(available, int(limit.read_text()) - int(used.read_text()))
    return max(available, 0)


def graphics_cards(device: str) -> int:
    """How many cards a choice of device leaves open: with ``auto`` and ``cuda`` those that are present."""
    return torch.cuda.device_count() if device in ("auto", "cuda") and torch.cuda.is_available() else 0


def usual_threads() -> int:
    """Threads that a computation on the CPU uses unless told otherwise."""
    return torch.get_num_threads()


def processor_name(where: torch.device) -> str:
    """What computes there, as the system calls it: a graphics card, or the processor."""
    if where.type == "cuda":
        return str(torch.cuda.get_device_name(where))
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cpu_has_bf16() -> bool:
    """Whether bfloat16 convolutions are done by hardware; emulated ones are slower than float32."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def keep_memory() -> bool:
    """Let malloc keep the memory of tensors for the next ones; whether it can be told so, which is with glibc.

    It would map every large tensor anew, whose pages the system zeroes one by one when they are first written: a fifth
    to half of the time of networks with many features at full size. Little more is kept than was needed at once.
    """
    mallopt = _of_malloc("mallopt")
    if mallopt is None:
        return False
    # M_MMAP_MAX (no block of its own mapping) and M_TRIM_THRESHOLD (give nothing back) of malloc.h
    return mallopt(-4, 0) == 1 and mallopt(-1, -1) == 1


def give_back_memory() -> None:
    """Give the system what malloc has kept (:func:`keep_memory`) and nothing uses, holes between others included."""
    trim = _of_malloc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_malloc(name: str) -> Any:
    """A function of glibc's malloc; None with another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def pick_device(device: str = "auto", dtype: str = "auto") -> Device:
    """The device and precision to use. With the CPU, also :func:`keep_memory`.

    Args:
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto, fp32, bf16 or fp16.

    Raises:
        DeviceError: the device is not present, or cannot compute in the precision asked for.
    """
    chosen, why = device, "asked for"
    if device == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        why = "best present"
    try:
        where = torch.device(chosen)
    except RuntimeError:
        raise DeviceError(f"--device {device} is unknown", "give auto, cpu, cuda, cuda:N or mps") from None
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (where.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if where.type not in present:
        raise DeviceError(f"--device {device} is not supported", "give auto, cpu, cuda, cuda:N or mps")
    if not present[where.type]:
        raise DeviceError(f"device {chosen} is not present", "give --device cpu, or see deblur doctor")
    if where.type == "cpu":
        keep_memory()
    if dtype != "auto":
        if where.type == "cpu" and dtype == "fp16":
            raise DeviceError("fp16 is not supported on the CPU", "give --dtype bf16 or fp32")
        return Device(where, _DTYPES[dtype], why)
    if where.type == "cuda":
        bf16 = torch.cuda.is_bf16_supported()
        return Device(where, torch.bfloat16 if bf16 else torch.float16, f"{why}, {'has' if bf16 else 'no'} bf16")
    if where.type == "mps":
        return Device(where, torch.float16, why)
    bf16 = _cpu_has_bf16()
    return Device(where, torch.bfloat16 if bf16 else torch.float32, f"{why}, {'has' if bf16 else 'no'} bf16 units")
