"""The worker that does the jobs: one device, and the networks that it has loaded so far."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deblurcli.console import Reporter
from deblurcli.device import Device, pick_device
from deblurcli.networks.spec import NetworkSpec, Role
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore.convolutions import is_quick, quick
from deblurcli.version import __version__
from deblurcli.weights.choose import load_chosen, resolved
from deblurcli.weights.formats.official import parts_of
from deblurcli.weights.load import LoadedNetwork, is_name

_Key = tuple[Role, str | tuple[tuple[Path, int, int], ...]]


@dataclass(frozen=True)
class Placed:
    """A network on its device, in eval mode and without gradients. All jobs share it: adapt a copy of ``module``."""

    loaded: LoadedNetwork
    module: nn.Module
    device: Device
    """The worker's, but in float32 where the network does not agree with float32 in the worker's precision."""
    warn: Callable[[str], object] | None = field(default=None, repr=False, compare=False)
    """Is told what the user should know of how it runs."""
    part: Callable[[float], object] | None = field(default=None, repr=False, compare=False)
    """Is told how much of a frame is done, of one in several tiles."""

    @property
    def spec(self) -> NetworkSpec:
        """Facts about the network: window, sizes, tiles, precisions."""
        return self.loaded.spec

    @property
    def name(self) -> str:
        """The weights' name in the registry, or the file's without its suffix."""
        return self.loaded.name

    @property
    def network(self) -> str:
        """The network's name in :data:`deblurcli.networks.NETWORKS`."""
        return self.loaded.network

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights file."""
        return self.loaded.sha256

    @property
    def quick(self) -> bool:
        """Whether convolutions are computed by minimal filtering (:mod:`deblurcli.restore.convolutions`)."""
        return is_quick(self.module)

    def record(self) -> dict[str, Any]:
        """For the record: on what a result depends besides its input and the options."""
        found = {"network": self.name, "device": str(self.device), "weights": {self.name: self.sha256}}
        return found | {"threads": torch.get_num_threads(), "version": __version__}


class Worker:
    """Does one job after the other on one device, and loads every network once.

    Args:
        compute: device, precision, tiles, and whether missing weights may be fetched.
        console: where progress and messages go; silent by default.
        sharers: processes that share the device's memory with this one, itself included.

    Raises:
        DeviceError: the device is not present, or cannot compute in the precision asked for.
    """

    def __init__(self, compute: ComputeOptions, console: Reporter | None = None, sharers: int = 1) -> None:
        self.console = console or Reporter.silent()
        self.device = replace(pick_device(compute.device, compute.dtype), sharers=sharers)
        self.tile, self.offline = compute.tile, compute.offline
        self.unfinished: Path | None = None
        """Where the adaptation of the job at hand is put down while it is under way; None: nowhere."""
        self._placed: dict[_Key, Placed] = {}
        self._shared: dict[Hashable, Any] = {}
        self._told: set[str] = set()

    def place(self, chosen: str, command: str, role: Role) -> Placed:
        """The network that a user names, on its device. A file is read again when it has changed.

        Args:
            chosen: a name in the registry, the path of a file, ``default`` or ``best``.
            command: the registry's set of weights that ``default`` is looked up in: video, image, meta or tta.
            role: what the network must do.

        Raises:
            WeightsError: no usable weights, see :func:`deblurcli.weights.load.load_network`.
            OfflineError: they would have to be fetched, but cannot be.
        """
        name = resolved(chosen, command, role)
        key = (role, name if is_name(name) else state_of(Path(name)))
        if key not in self._placed:
            loaded = load_chosen(name, command, role, offline=self.offline, report=self.console)
            self._placed[key] = self._place(loaded)
        return self._placed[key]

    def warn_once(self, text: str) -> None:
        """Warn of something that concerns all jobs of the worker, when the first of them comes to it."""
        if text not in self._told:
            self._told.add(text)
            self.console.warn(text)

    def shared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What several jobs share, made by the first of them that asks for it; one thing at a time is kept."""
        if not self.has(key):
            self._shared.clear()  # before another is made: memory holds one
            self._shared[key] = make()
        return self._shared[key]

    def has(self, key: Hashable) -> bool:
        """Whether it is made already."""
        return key in self._shared

    def _place(self, loaded: LoadedNetwork) -> Placed:
        device = self.device.limited_to(loaded.spec.dtypes)
        if device != self.device:
            self.console.note(f"{loaded.name} runs in fp32: its results in {self.device.precision} are not the same")
        module = quick(device.place(loaded.module).eval().requires_grad_(False), loaded.spec, device)
        return Placed(loaded, module, device, self.console.warn, self.console.part)


def state_of(path: Path) -> tuple[tuple[Path, int, int], ...]:
    """Path, modification time and size of a file or, of a network's weights, of every file that they are read from."""
    states = []
    for part in parts_of(path):
        found = part.stat() if part.exists() else None  # loading says what is wrong
        states.append((part.absolute(), found.st_mtime_ns if found else 0, found.st_size if found else 0))
    return tuple(states)
