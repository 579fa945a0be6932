"""What will be used on this machine, and why."""

from __future__ import annotations

import platform

import torch

from deblurcli.device import free_system_memory, pick_device
from deblurcli.media.encoders import available_encoders
from deblurcli.media.probe import library_versions
from deblurcli.version import __version__
from deblurcli.weights.store import cache_folder, listing


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
