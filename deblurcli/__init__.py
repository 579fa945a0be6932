"""Remove motion blur from one video at a time, by adapting networks to that video.

The names below are imported on first use, so that importing this package loads neither torch nor av.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deblurcli.version import __version__

if TYPE_CHECKING:
    # isort: off
    from deblurcli.api import adapt, compare, deblur_image, deblur_video, doctor, evaluate, import_weights, inspect
    from deblurcli.api import load, make_pairs, measure, pull_weights, take_frames, take_still, train_chain
    from deblurcli.api import train_network

    # isort: on
    from deblurcli.console import Reporter
    from deblurcli.errors import DeblurError
    from deblurcli.jobs.arrays import Network
    from deblurcli.jobs.result import Result
    from deblurcli.options.compute import ComputeOptions
    from deblurcli.restore.worker import Worker

__all__ = [
    "ComputeOptions", "DeblurError", "Network", "Reporter", "Result", "Worker", "__version__", "adapt", "compare",
    "deblur_image", "deblur_video", "doctor", "evaluate", "import_weights", "inspect", "load", "make_pairs",
    "measure", "pull_weights", "take_frames", "take_still", "train_chain", "train_network",
]  # fmt: skip

_HOMES = {
    "ComputeOptions": "options.compute",
    "DeblurError": "errors",
    "Network": "jobs.arrays",
    "Reporter": "console",
    "Result": "jobs.result",
    "Worker": "restore.worker",
}
"""Where the names are that :mod:`deblurcli.api` does not define."""


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"deblurcli.{_HOMES.get(name, 'api')}"), name)
    raise AttributeError(f"module 'deblurcli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
