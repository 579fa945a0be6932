"""The optical flow between two frames: one choice for everything that reblurs along it or aligns by it.

A flow network learns along with what uses it, since its flow is differentiable in both pictures. Dense inverse search
(DIS) and the dense flow without weights are not, and give the flow as a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from deblurcli.device import Device
from deblurcli.errors import UsageError
from deblurcli.networks import NETWORKS
from deblurcli.networks.alignment import dense_flow
from deblurcli.restore.worker import Worker
from deblurcli.synth.motion import optical_flow
from deblurcli.weights import registry
from deblurcli.weights.load import is_name

MIN_SIDE = 32
"""Pixels: the least height and width that every flow takes."""


def search_flow(first: Tensor, second: Tensor) -> Tensor:
    """:func:`deblurcli.synth.motion.optical_flow` of N pairs (N x 3 x H x W in [0, 1]), one after the other."""
    pictures = (batch.detach().clamp(0, 1).mul(255).round().byte().cpu() for batch in (first, second))
    return torch.stack([optical_flow(*pair) for pair in zip(*pictures, strict=True)]).to(first.device)


def constant_flow(first: Tensor, second: Tensor) -> Tensor:
    """:func:`deblurcli.networks.alignment.dense_flow`, in float32 and without gradients."""
    return dense_flow(first.detach().float(), second.detach().float())


WITHOUT_WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"dis": search_flow, "dense": constant_flow}
"""The flows that are no networks, by the names that users give."""


@dataclass(frozen=True)
class Flow:
    """An estimator of flow: called with two batches of pictures, it says where pixels of the first lie in the second.

    Pictures are N x 3 x H x W in [0, 1] on any device, at least :data:`MIN_SIDE` pixels high and wide. The flow is N x
    2 x H x W pixels, x first, float32, on the device of the pictures.
    """

    name: str
    """``dis``, ``dense``, or the name of the network's weights."""
    sha256: str = ""
    """SHA-256 of the weights file; empty where there are no weights."""
    module: nn.Module | None = None
    """The network, which all users share: adapt a copy, see :meth:`tuned`. None where there is none."""
    device: Device | None = None
    """Where, and in which precision, the network runs."""

    @property
    def differentiable(self) -> bool:
        """Whether gradients reach the pictures and, where they require any, the weights of :attr:`module`."""
        return self.module is not None

    def tuned(self, module: nn.Module) -> Flow:
        """The same estimator with another network of the same kind, such as a copy that is trained along."""
        return replace(self, module=module)

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        if self.module is None or self.device is None:
            return WITHOUT_WEIGHTS[self.name](first, second)
        pair = torch.stack([first, second], 1).to(self.device.where)
        with self.device.autocast():
            flow: Tensor = self.module(pair)
        return flow.float().to(first.device)


def flow_of(chosen: str, worker: Worker) -> Flow:
    """The flow that a user names.

    Args:
        chosen: ``default``, ``dis``, ``dense``, the name of a flow network's weights in the registry, or a file.
        worker: where a network runs, and what keeps it loaded.

    Raises:
        UsageError: nothing has this name.
        WeightsError: the weights are not those of a flow network, or not usable.
        OfflineError: they would have to be fetched, but cannot be.
    """
    if chosen in WITHOUT_WEIGHTS:
        return Flow(chosen)
    known = registry.installed().weights
    if chosen != "default" and is_name(chosen) and chosen not in known:
        networks = {name for name, spec in NETWORKS.items() if spec.role == "flow"}
        flows = [*WITHOUT_WEIGHTS, *(name for name, entry in known.items() if entry.network in networks)]
        raise UsageError(f"no flow is called {chosen!r}", registry.suggestion(chosen, dict.fromkeys(flows)))
    placed = worker.place(chosen, "flow", "flow")
    return Flow(placed.name, placed.sha256, placed.module, placed.device)
