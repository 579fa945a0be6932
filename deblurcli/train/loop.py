"""The training loop every stage shares: crops from the ring, one step, a moving average, validation, checkpoints."""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.errors import InputError
from deblurcli.options import TrainOptions
from deblurcli.train.checkpoint import load_state, save_state
from deblurcli.train.companion import Companion
from deblurcli.train.curve import draw_curve
from deblurcli.train.optimiser import Muon, rate_at, step_if_finite, update_average
from deblurcli.train.parallel import Workers
from deblurcli.train.ring import Ring
from deblurcli.train.validation import Scores
from deblurcli.weights.load import save_network

LOG_FIELDS = ["iteration", "minutes", "rate", "loss"]
"""Columns of the log; those of the scores follow."""


@dataclass
class Stage:
    """What differs between the training stages."""

    network: str
    """Name in the table of networks."""
    module: nn.Module
    config: dict[str, Any]
    optimiser: torch.optim.Optimizer
    ring: Ring
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor]
    """(module, blurred, sharp) -> the scalar to minimise; companions take their own steps inside."""
    validate: Callable[[nn.Module], Scores]
    """module -> its scores on held-out material."""
    card: dict[str, Any]
    export: Path
    companions: dict[str, Companion] = field(default_factory=dict)
    """Networks trained along inside ``loss``, by their names in the table of networks."""
    workers: Workers = field(default_factory=Workers)


def crop_plan(progress: float, batch: int, sizes: tuple[int, ...]) -> tuple[int, int]:
    """Crops and their size at this point of training: the last size takes the last quarter; pixels stay equal."""
    step = 0 if len(sizes) == 1 or progress < 0.75 else len(sizes) - 1
    size = sizes[step]
    return max(1, round(batch * sizes[0] ** 2 / size**2)), size


def run_stage(stage: Stage, options: TrainOptions, device: Device, report: Reporter) -> dict[str, Any]:
    """Train until the budget is spent; returns the facts of the finished run (iterations, minutes, scores).

    A budget of iterations makes runs reproducible; a budget of minutes lets the schedule follow the clock. State, log
    and the averaged weights are written to ``options.out`` every few minutes and at the end, an interrupt included.
    """
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    state_path, log_path = out / "state.safetensors", out / "log.csv"
    workers = stage.workers
    workers.start_alike(stage.module.state_dict().values())
    average = copy.deepcopy(stage.module).requires_grad_(False)
    modules = {"module": stage.module, "average": average}
    optimisers = {"optimiser": stage.optimiser}
    for name, companion in stage.companions.items():
        workers.start_alike(companion.module.state_dict().values())
        modules[name] = companion.module
        optimisers[f"{name} optimiser"] = companion.optimiser
    facts: dict[str, Any] = {"iteration": 0, "seconds": 0.0, "curve": [], "seed": options.seed}
    if state_path.exists():
        facts = load_state(state_path, modules, optimisers)
        report.note(f"resuming {state_path} at iteration {facts['iteration']}, {facts['seconds'] / 60:.1f} minutes")
    elif workers.leads:
        log_path.unlink(missing_ok=True)
    stage.ring.advance(facts["iteration"], lambda done, total: report.progress("preparing crops", done, total))

    def progress() -> float:
        if options.iterations:
            return facts["iteration"] / options.iterations
        return facts["seconds"] / (60 * options.minutes)

    def checkpoint(losses: list[float], rate: float) -> None:
        if not workers.leads:
            return
        average.eval()
        scores = stage.validate(average)
        mean_loss = sum(losses) / max(len(losses), 1)
        row = [facts["iteration"], round(facts["seconds"] / 60, 2), rate, mean_loss, *scores.values()]
        facts["curve"].append([row[0], row[1], round(scores["validation_psnr"], 3)])
        begun = log_path.exists()
        with log_path.open("a", newline="") as log:
            if not begun:
                csv.writer(log).writerow([*LOG_FIELDS, *scores])
            csv.writer(log).writerow([f"{v:.6g}" for v in row])
        draw_curve(log_path, out / "curve.png")
        card = stage.card | {
            "iterations": facts["iteration"],
            "minutes": round(facts["seconds"] / 60, 1),
            **{name: round(score, 3) for name, score in scores.items()},
            "curve": facts["curve"][:: max(1, len(facts["curve"]) // 24)],
        }
        save_network(stage.export, average, network=stage.network, config=stage.config, card=card)
        for name, companion in stage.companions.items():
            along = out / f"{name}.safetensors"
            save_network(along, companion.module, network=name, config=companion.config, card=card)
        save_state(state_path, modules, optimisers, facts)
        report.note(
            f"iteration {facts['iteration']}: loss {mean_loss:.5f}, held-out PSNR {scores['validation_psnr']:.2f} dB"
            f" (input {scores['validation_input_psnr']:.2f})"
        )

    losses: list[float] = []
    saved, rate = facts["seconds"], 0.0
    clock = time.monotonic()
    stage.module.train()
    try:
        while progress() < 1:
            iteration = facts["iteration"]
            share = rate_at(progress(), iteration, 1.0)
            rate = share * options.rate
            for optimiser in optimisers.values():
                if isinstance(optimiser, Muon):  # the rate of a critic is constant
                    optimiser.set_rate(share)
            stage.ring.advance(iteration)
            count, size = crop_plan(progress(), options.batch, options.crops)
            blurred, sharp = stage.ring.batch(iteration, count, size, device.where)
            with device.autocast():
                loss = stage.loss(stage.module, blurred, sharp)
            stage.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            workers.average_gradients(stage.module)
            step_if_finite(stage.optimiser, stage.module)
            losses.append(value := float(loss.detach()))
            if len(losses) > 50 and not any(math.isfinite(v) for v in losses[-50:]):
                raise InputError("the loss has not been finite for 50 iterations", "lower --rate")
            update_average(average.parameters(), stage.module.parameters(), iteration)
            facts["iteration"] += 1
            now = time.monotonic()
            facts["seconds"] = workers.agree(facts["seconds"] + now - clock)
            clock = now
            report.progress("training", progress(), 1.0, iteration=facts["iteration"], loss=value)
            if facts["seconds"] - saved > 60 * options.save_every:
                checkpoint(losses, rate)
                losses, saved, clock = [], facts["seconds"], time.monotonic()
                stage.module.train()
    finally:
        # An interrupt keeps what was learnt: the same path as the planned end.
        if losses:
            checkpoint(losses, rate)
    return facts
