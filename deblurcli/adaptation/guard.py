"""Do no harm: an adaptation is undone if it diverges, or does not pay on patches that it does not learn from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

MIN_GAIN = {"strata": 0.08, "agreement": 0.13, "pairs": 0.04}
"""Least gain in dB, as judged, for an adaptation to be kept, by what the guard judges."""

NEARER = 0.5
"""Where between the unadapted weights and the best ones those lie that are kept. What an adaptation learns for the
video's blur grows with the distance, what it forgets with its square, and of that the guard sees little: its pieces are
the network's own results. On real videos the best weights lost up to 0.14 dB where those half-way lost nothing."""


class Diverged(Exception):
    """A loss or a weight stopped being a finite number, or there was nothing to learn from."""


def require_finite(loss: torch.Tensor, what: str) -> None:
    """Raises :class:`Diverged` when a loss is NaN or infinite."""
    if not torch.isfinite(loss):
        raise Diverged(f"the {what} loss became {float(loss.detach())}")


def require_finite_weights(module: nn.Module, what: str) -> None:
    """Raises :class:`Diverged` when a weight is NaN or infinite."""
    if not all(torch.isfinite(p).all() for p in module.parameters()):
        raise Diverged(f"a weight of the {what} network is not finite")


class Guard:
    """Remembers the best weights of a network, by what it gains on what it does not learn from.

    Args:
        network: the one that adapts.
        gain: of a network over the unadapted one, in dB, always on the same pieces.
        unadapted: the weights of the latter.
        least: smallest gain for the weights to be worth keeping.
    """

    def __init__(
        self, network: nn.Module, gain: Callable[[nn.Module], float], unadapted: dict[str, Tensor], least: float
    ) -> None:
        self.network, self.gain, self.unadapted, self.least = network, gain, unadapted, least
        self.best = 0.0
        self.best_step = 0
        self.weights = self.latest = copy.deepcopy(unadapted)
        self.looks: list[tuple[int, float]] = []

    def look(self, step: int) -> bool:
        """Judge the network after ``step`` steps; False where going on does not pay, as it has become worse.

        Raises Diverged where a weight is not finite.
        """
        require_finite_weights(self.network, "deblurring")
        self.latest = copy.deepcopy(self.network.state_dict())
        found = self.gain(self.network)
        self.looks.append((step, found))
        if not found > self.best:
            return False
        self.best, self.best_step, self.weights = found, step, self.latest
        return True

    def state(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
        """What it remembers: plain facts, and the best and the latest weights."""
        facts = {"best": self.best, "best_step": self.best_step, "looks": self.looks}
        return facts, {"best": self.weights, "latest": self.latest}

    def restore(self, facts: dict[str, Any], weights: dict[str, dict[str, Tensor]]) -> None:
        """Remember what :meth:`state` told. Raises KeyError, TypeError, ValueError: it is none."""
        best, step = float(facts["best"]), int(facts["best_step"])
        looks = [(int(at), float(gain)) for at, gain in facts["looks"]]
        where = {name: value.device for name, value in self.unadapted.items()}
        found = [{name: weights[kind][name].to(where[name]) for name in where} for kind in ("best", "latest")]
        self.best, self.best_step, self.looks, (self.weights, self.latest) = best, step, looks, found

    def settle(self) -> bool:
        """Give the network the weights half-way from the unadapted to the best ones, or to the last ones if none was
        better; returns whether they are worth keeping. They become the best ones.
        """
        if not self.looks:
            self.network.load_state_dict(self.weights)
        else:
            ends = self.weights if self.best_step else self.latest
            self.best_step = self.best_step or self.looks[-1][0]
            self.weights = {
                name: torch.lerp(value, ends[name], NEARER) if value.is_floating_point() else ends[name]
                for name, value in self.unadapted.items()
            }
            self.network.load_state_dict(self.weights)
            self.best = self.gain(self.network)
        return self.best >= self.least

    def facts(self) -> dict[str, Any]:
        """For the run report."""
        looks = [{"step": step, "gain": round(gain, 3)} for step, gain in self.looks]
        return {"gain": round(self.best, 3), "best_step": self.best_step, "looks": looks}

    def refusal(self) -> str:
        """Why the best weights are not worth keeping."""
        return f"the guard saw a gain of {self.best:.2f} dB at best, and asks for {self.least:.2f}"
