"""The optimisers of training, which a translator learnt from a video uses as well, and the schedules of their rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from deblurcli.options.recipes import Regime

MAX_WARMUP = 300
"""Iterations."""

PEAK, LEAST = "peak", "least"
"""Under these names a group of parameters keeps its largest and its least rate."""

WARMUP_SHARE = 0.05
"""Longest warm-up as a share of the run: short fine-tuning must reach its peak rate, too."""


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices to a batch (B x rows x columns), by a quintic Newton-Schulz iteration.

    In bfloat16. Singular values end between about 0.7 and 1.2, which is all that an update direction needs (Jordan et
    al., Muon, 2024).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    if wide := x.shape[1] > x.shape[2]:
        x = x.transpose(1, 2)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(1, 2) if wide else x


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for the weights of hidden convolutions and linear layers, AdamW for everything else.

    Args:
        module: the network to train.
        lr: peak rate of the orthogonalised updates; AdamW's rate is ``adam_ratio`` times it.
        aside: layers with these words in their names are left to AdamW: layers that touch pixels, and tables.
    """

    def __init__(
        self,
        module: nn.Module,
        lr: float = 0.005,
        *,
        adam_ratio: float = 0.12,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        aside: tuple[str, ...] = ("head", "tail"),
    ) -> None:
        hidden: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in module.named_parameters():
            plain = parameter.ndim < 2 or any(part in name for part in aside)
            (rest if plain else hidden).append(parameter)
        groups = [
            {"params": hidden, "orthogonal": True, "ratio": 1.0},
            {"params": rest, "orthogonal": False, "ratio": adam_ratio},
        ]
        super().__init__([g for g in groups if g["params"]], {"lr": lr, "momentum": momentum, "decay": weight_decay})
        self.set_rate(1.0)

    def set_rate(self, share: float) -> None:
        """Go on with this share of the peak rates."""
        for group in self.param_groups:
            group["lr"] = share * self.defaults["lr"] * group["ratio"]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            (self._orthogonal if group["orthogonal"] else self._adam)(group, parameters)

    def _orthogonal(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        gradients = _gradients(parameters)
        averages = [_kept(self.state[p], "momentum", p) for p in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
        directions = torch._foreach_lerp(gradients, averages, group["momentum"])  # Nesterov's look ahead
        by_shape: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        for p, direction in zip(parameters, directions, strict=True):
            flat = direction.flatten(1)
            by_shape.setdefault(tuple(flat.shape), []).append((p, flat))
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["decay"])
        for shape, entries in by_shape.items():
            updates = orthogonalised(torch.stack([d for _, d in entries]))
            rate = group["lr"] * math.sqrt(max(1.0, shape[0] / shape[1]))
            shaped = [update.to(p.dtype).reshape(p.shape) for (p, _), update in zip(entries, updates, strict=True)]
            torch._foreach_sub_([p for p, _ in entries], shaped, alpha=rate)

    def _adam(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        by_age: dict[float, list[Tensor]] = {}
        for p in parameters:
            _kept(self.state[p], "step", torch.zeros(())).add_(1)
            by_age.setdefault(float(self.state[p]["step"]), []).append(p)
        for n, alike in by_age.items():
            gradients = _gradients(alike)
            first, second = ([_kept(self.state[p], name, p) for p in alike] for name in ("first", "second"))
            torch._foreach_lerp_(first, gradients, 0.1)
            torch._foreach_lerp_(second, torch._foreach_mul(gradients, gradients), 0.01)
            scale = torch._foreach_div(second, 1 - 0.99**n)
            torch._foreach_sqrt_(scale)
            torch._foreach_add_(scale, 1e-8)
            torch._foreach_addcdiv_(alike, first, scale, value=-group["lr"] / (1 - 0.9**n))


def new_optimiser(
    module: nn.Module, regime: Regime, rate: float, *, aside: tuple[str, ...] = ("head", "tail")
) -> torch.optim.Optimizer:
    """What a recipe trains a network with.

    Args:
        rate: peak rate.
        aside: of :class:`Muon`.
    """
    if regime.optimiser == "muon":
        return Muon(module, rate, aside=aside)
    groups = []
    left = dict(module.named_parameters())
    for start, share in (*regime.slower, ("", 1.0)):
        named = [name for name in left if name.startswith(start)]
        parameters = [left.pop(name) for name in named]
        groups += [{"params": parameters, "lr": share * rate, PEAK: share * rate}] if parameters else []
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[regime.optimiser]
    return kind(groups, betas=regime.betas, weight_decay=regime.decay)


def set_share(optimiser: torch.optim.Optimizer, share: float) -> None:
    """Go on with this share of the peak rates; an optimiser that knows none keeps its rate."""
    if isinstance(optimiser, Muon):
        optimiser.set_rate(share)
        return
    for group in optimiser.param_groups:
        if PEAK in group:
            group["lr"] = max(share * group[PEAK], group.get(LEAST, 0.0))


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def _kept(state: dict[str, Any], name: str, like: Tensor) -> Tensor:
    """What an optimiser keeps under this name for a parameter; zeros at first."""
    if name not in state:
        state[name] = torch.zeros_like(like)
    found: Tensor = state[name]
    return found


def step_if_finite(optimiser: torch.optim.Optimizer, module: nn.Module, longest: float | None = 1.0) -> None:
    """Take a step along gradients shortened to the norm ``longest``, if any; none where one of them is not finite.

    With gradients averaged over processes the norm is the same in all of them: they skip a broken step together.
    """
    if torch.isfinite(nn.utils.clip_grad_norm_(module.parameters(), longest or math.inf)):
        optimiser.step()


def warmup_length(iterations: float) -> float:
    """Iterations of warm-up in a run of so many: ``WARMUP_SHARE`` of it, ``MAX_WARMUP`` at most."""
    return min(MAX_WARMUP, WARMUP_SHARE * iterations)


def rate_at(progress: float, iteration: int, peak: float, warmup: float = MAX_WARMUP, floor: float = 0.01) -> float:
    """Linear warm-up over ``warmup`` iterations, then a cosine from ``peak`` to ``floor * peak`` at progress 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return peak * min(1.0, (iteration + 1) / warmup) * (floor + (1 - floor) * cosine)
