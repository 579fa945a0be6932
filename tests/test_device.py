"""Devices: what is told to the allocator, and when."""

from __future__ import annotations

import resource
import subprocess
import sys
import textwrap

import pytest
import torch

from deblurcli import device
from deblurcli.device import keep_memory, pick_device
from deblurcli.errors import DeviceError

MIB = 1 << 20


def page_faults(size: int) -> int:
    """How many pages the system has to find for a new tensor of ``size`` bytes that is written once."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(size, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_large_tensors_use_the_memory_of_those_before() -> None:
    if not keep_memory():
        pytest.skip("another C library")
    # Not at once: an aligned block does not fit into the gap that one of the same size has left, but into two. How many
    # rounds it takes until there are such gaps differs from process to process; after some, none is asked for any more.
    rounds = [sum(page_faults(size * MIB) for size in (200, 40, 150, 7)) for _ in range(16)]
    assert sum(rounds[8:]) < 40 * MIB // resource.getpagesize(), "without, eight times 397 MiB"


def test_the_allocator_is_told_with_the_cpu_and_on_linux_only(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(device, "keep_memory", lambda: told.append(True))
    with pytest.raises(DeviceError, match="unknown"):
        pick_device("abacus")
    assert not told
    pick_device("cpu", "fp32")
    assert told == [True]
    monkeypatch.setattr(device.sys, "platform", "win32")
    assert not keep_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="malloc as of glibc")
def test_memory_that_malloc_keeps_is_given_back_when_asked_for() -> None:
    """In a process of its own, whose allocator nothing else has filled."""
    code = """
    import torch
    from deblurcli.device import give_back_memory, keep_memory

    def resident():
        line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
        return int(line.split()[1]) >> 10

    assert keep_memory()
    before = resident()
    held = [torch.ones(1 << 20) for _ in range(200)]
    small = [torch.ones(1 << 10) for _ in range(9)]
    del held
    kept = resident()
    give_back_memory()
    print(kept - before, resident() - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    kept, left = map(int, done.stdout.split())
    assert kept > 700 and left < 100
