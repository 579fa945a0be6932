"""What will be used on this machine, and why."""

from __future__ import annotations

import platform

import torch

from deblurcli.console import Reporter
from deblurcli.device import free_system_memory, pick_device
from deblurcli.media.encoders import available_encoders
from deblurcli.media.probe import library_versions
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore.convolutions import remeasure
from deblurcli.restore.measured import cache_file
from deblurcli.restore.speed import remeasured
from deblurcli.restore.worker import Worker
from deblurcli.version import __version__
from deblurcli.weights.store import cache_folder, listing

COMMANDS = ("video", "image")
"""Whose default networks are timed."""


def findings() -> list[tuple[str, str]]:
    """Rows of name and finding: versions, device, memory, media libraries, encoders, weights."""
    rows = [
        ("deblurcli", __version__),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        ("torch", f"{torch.__version__}, {torch.get_num_threads()} threads"),
        ("device", str(pick_device())),
        ("memory", f"{free_system_memory() / 2**30:.1f} GiB free"),
        ("media", library_versions()),
        ("encoders", " ".join(available_encoders())),
        ("cache", str(cache_folder())),
    ]
    return rows + [(f"weights {row.entry.name}", row.state) for row in listing()]


def speeds(console: Reporter, compute: ComputeOptions | None = None) -> list[tuple[str, str]]:
    """Rows of how long a frame of 1280x720 takes, and an update of 192x192 pixels; what is measured is kept.

    Which convolutions are faster by minimal filtering is measured first, since the networks go by it.

    Raises DeblurError: the cache cannot be written, or a network not be loaded.
    """
    compute, rows = compute or ComputeOptions(), []
    before = Worker(compute, console)
    for command in COMMANDS:
        remeasure(before.place("default", command, "deblur").module)
    worker = Worker(compute, console)
    for command in COMMANDS:
        network = worker.place("default", command, "deblur")
        found = remeasured(network)
        restoring, updating = found["restoring"] * 1280 * 720, found["updating"] * 192**2
        way = f"{network.device.precision}{' by minimal filtering' if network.quick else ''}"
        said = f"{restoring:.3g} s a frame of 1280x720, {updating:.3g} s an update, in {way}"
        rows.append((f"speed {network.name}", said))
    console.note(f"kept in {cache_file()}")
    return rows
