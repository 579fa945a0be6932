"""Why the default network looks as it does: candidates of one size, trained alike from random weights, and measured.

DATA is a folder of sharp pictures, as for `deblur train`. Every candidate gets the same crops in the same order, the
same seed and the same time: MINUTES on each thread, counted as this process's CPU time, so that whatever else the
machine does decides little. (On a busy one set OMP_NUM_THREADS=1 and double the minutes: waiting threads burn time.)
The gain is that of the averaged weights over the blurred input, on held-out crops.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.results import Table
from deblurcli.adaptation.update import update_average
from deblurcli.device import Device, pick_device
from deblurcli.losses import l1_fft, psnr_loss
from deblurcli.networks import NETWORKS
from deblurcli.networks.plain_unet import PlainUNet
from deblurcli.optimiser import Muon, rate_at
from deblurcli.synth.paths import BlurRange
from deblurcli.train.data import stills
from deblurcli.train.material import load_material
from deblurcli.train.ring import CropRing
from deblurcli.train.validation import VALIDATION_SEED, mean_psnr

SEED, CROPS, SIZE = 1, 1500, 128
PIXELS = 12 * 128**2
"""Of the crops of an iteration."""
HELD_OUT_CROPS, HELD_OUT_SIZE = 48, 192
WARMUP = 50
"""Iterations; a whole trial has only some hundreds."""
MOST_MACS, MOST_BYTES = 15e9, 12e6
"""Multiply-adds at 256x256, and the size of the weights in fp16, that every candidate must keep to."""


class DepthwiseBlock(nn.Module):
    """x + 1x1(gate(depthwise 3x3(1x1(norm(x))))), after NAFNet (ECCV 2022); N x ``channels`` x H x W.

    The gate multiplies both halves of the channels. A new block is the identity, as in the default network.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.project = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        one, other = self.depthwise(self.expand(normed)).chunk(2, 1)
        return x + self.project(one * other)


def depthwise_unet(width: int = 192, deep_width: int = 384, blocks: tuple[int, int, int] = (9, 6, 9)) -> nn.Module:
    """The default's frame around depthwise blocks, wider and more of them: each costs far fewer multiply-adds."""
    network = PlainUNet(width, deep_width, (0, 0, 0))
    for name, channels, count in zip(("encoder", "deep", "decoder"), (width, deep_width, width), blocks, strict=True):
        setattr(network, name, nn.Sequential(*(DepthwiseBlock(channels) for _ in range(count))))
    return network


def muon(module: nn.Module) -> torch.optim.Optimizer:
    # A depthwise kernel is nine numbers per channel, not a matrix to orthogonalise.
    return Muon(module, 0.005, aside=("head", "tail", "depthwise"))


@dataclass(frozen=True)
class Trial:
    """A candidate, and what it learns with."""

    build: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor] = l1_fft
    optimiser: Callable[[nn.Module], torch.optim.Optimizer] = muon


TRIALS: dict[str, Trial] = {
    "default": Trial(lambda: PlainUNet(**(NETWORKS["plain-unet"].config or {}))),
    "one scale": Trial(PlainUNet),
    "all at 1/4": Trial(lambda: PlainUNet(blocks=(5, 0, 5))),
    "wide and short": Trial(lambda: PlainUNet(160, 256, (2, 3, 2))),
    "narrow and long": Trial(lambda: PlainUNet(96, 160, (6, 8, 6))),
    "fold 2": Trial(lambda: PlainUNet(48, 128, (1, 9, 1), fold=2)),
    "depthwise": Trial(depthwise_unet),
    "one scale, PSNR loss": Trial(PlainUNet, loss=psnr_loss),
    "one scale, AdamW": Trial(PlainUNet, optimiser=lambda module: torch.optim.AdamW(module.parameters(), lr=8e-4)),
}


def cost(network: nn.Module) -> tuple[int, float]:
    """Parameters, and multiply-adds of convolutions for one picture of 256x256."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 256, 256))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() / 2


def train(
    trial: Trial, ring: CropRing, device: Device, *, seconds: float = 0.0, iterations: int = 0, size: int = SIZE
) -> tuple[nn.Module, int]:
    """Train for so many seconds of CPU time, or so many iterations; the averaged network, and the iterations done."""
    torch.manual_seed(SEED)
    module = device.place(trial.build()).train()
    average = copy.deepcopy(module).requires_grad_(False).eval()
    optimiser = trial.optimiser(module)
    peaks = [group["lr"] for group in optimiser.param_groups]
    iteration, started = 0, time.process_time()
    while (progress := iteration / iterations if iterations else (time.process_time() - started) / seconds) < 1:
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = rate_at(progress, iteration, peak, WARMUP)
        blurred, sharp = ring.batch(iteration, max(1, PIXELS // size**2), size, device.where)
        with device.autocast():
            loss = trial.loss(module(blurred), sharp)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if torch.isfinite(nn.utils.clip_grad_norm_(module.parameters(), 1.0)):
            optimiser.step()
        update_average(average, module, iteration)
        iteration += 1
    return average, iteration


@torch.no_grad()
def gain(network: nn.Module, blurred: Tensor, sharp: Tensor, device: Device) -> float:
    """PSNR of the result over that of the input in dB, mean over N x 3 x H x W pairs in [0, 1]."""
    with device.autocast():
        restored = torch.cat([network(crops) for crops in blurred.split(4)])
    return mean_psnr(restored, sharp) - mean_psnr(blurred, sharp)


@torch.no_grad()
def frame_seconds(network: nn.Module, device: Device, rounds: int = 5) -> float:
    """Median CPU time, over all threads, of one 1280x720 frame."""
    frame, times = torch.rand(1, 3, 720, 1280), []
    with device.autocast():
        for _ in range(1 + rounds):
            started = time.process_time()
            network(frame)
            times.append(time.process_time() - started)
    return median(times[1:])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0, help="training time of each candidate, on every thread")
    parser.add_argument("--only", nargs="+", choices=TRIALS, metavar="NAME", help=", ".join(TRIALS))
    parser.add_argument("--size", type=int, default=SIZE, help="of the crops")


def run(options: argparse.Namespace) -> list[Table]:
    chosen = {name: TRIALS[name] for name in options.only or TRIALS}
    costs = {name: cost(trial.build()) for name, trial in chosen.items()}
    for name, (parameters, macs) in costs.items():
        assert macs <= MOST_MACS and 2 * parameters <= MOST_BYTES, f"{name} is too large"

    device = pick_device("cpu")
    material, held_out = load_material(options.data).split()
    ring = CropRing(
        stills(material, options.size, BlurRange(), device.where),
        capacity=CROPS, group=6, every=0, first=CROPS // 6, seed=SEED,
    )  # fmt: skip
    print(f"{device}, {torch.get_num_threads()} threads; preparing {CROPS} crops", file=sys.stderr)
    ring.advance(0)
    draw = stills(held_out, HELD_OUT_SIZE, BlurRange(), device.where)
    pairs = draw(HELD_OUT_CROPS, np.random.default_rng(VALIDATION_SEED))

    budget = 60 * options.minutes * torch.get_num_threads()
    numbers = {"M parameters": ".2f", "GMACs": ".1f", "iterations": "d", "gain (dB)": ".2f"}
    table = Table("shapes", {"network": ""} | numbers | {"CPU s per frame": ".3f", "dB per CPU s": ".2f"})
    for name, trial in chosen.items():
        network, iterations = train(trial, ring, device, seconds=budget, size=options.size)
        found, seconds = gain(network, *pairs, device), frame_seconds(network, device)
        parameters, macs = costs[name]
        table.add(name, parameters / 1e6, macs / 1e9, iterations, found, seconds, found / seconds)
    return [table]
