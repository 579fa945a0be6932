"""What was measured on this machine, and kept in the cache for the runs to come.

The file ``speed.json`` in the folder of the weights' cache, which ``deblur doctor --speed`` writes. Where it is missing
or damaged, or was made with anything else, a run measures for itself, and writes nothing.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from deblurcli.device import processor_name
from deblurcli.errors import DeblurError
from deblurcli.files import OutputFile
from deblurcli.weights.store import cache_folder

NAME = "speed.json"


def machine(where: torch.device) -> str:
    """On what every measurement depends."""
    return f"{processor_name(where)}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def cache_file() -> Path:
    """Where measurements are kept. Raises WeightsError: no folder for caches is known."""
    return cache_folder() / NAME


def kept() -> dict[str, Any]:
    """Everything that is kept, by name; empty where nothing can be read."""
    try:
        content = json.loads(cache_file().read_bytes())
    except (OSError, ValueError, RecursionError, DeblurError):
        return {}
    return content if isinstance(content, dict) else {}


def keep(found: dict[str, Any]) -> None:
    """Keep some measurements besides what is there. Raises DeblurError: the cache is not writable."""
    path = cache_file()
    with contextlib.suppress(OSError):  # writing says what is wrong
        path.parent.mkdir(parents=True, exist_ok=True)
    with OutputFile(path, overwrite=True) as output:
        output.file.write(json.dumps(kept() | found, indent=1).encode())


def processor_seconds(act: Callable[[], object]) -> float:
    """The seconds that the processor's cores work for something, shared among the threads.

    What other programs take does not count.
    """
    worked, started = time.process_time(), time.perf_counter()
    act()
    worked, wall = time.process_time() - worked, time.perf_counter() - started
    return min(wall, worked / torch.get_num_threads())
