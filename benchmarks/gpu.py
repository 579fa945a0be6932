"""A graphics card beside the processor: the same pictures, how fast, and how long adapting takes; in a few minutes.

Every network of the table, with weights drawn at random, restores the same noise on both; then the bundled ones restore
clips in memory and adapt to one. No video file is opened. With ``--device cpu`` and a small ``--size`` it can be tried
without a card.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import deblurcli
from benchmarks.results import Table
from deblurcli.device import Device, pick_device
from deblurcli.networks import NETWORKS, NetworkSpec
from deblurcli.networks.spec import padded

SIDE = 128
"""Height and width of the pictures that both devices restore."""
RUNS = 5
METHODS = ("meta", "tta", "reblur2deblur")


def drawn(spec: NetworkSpec) -> nn.Module:
    """A network with weights drawn at random, also those that start at zero."""
    torch.manual_seed(0)
    network = spec.build(**(spec.config or {})).eval().requires_grad_(False)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.01)
    return network


def noise(spec: NetworkSpec, height: int, width: int) -> tuple[Tensor, ...]:
    """What a network takes, drawn at random: a picture, two of them where it compares, or a window of frames."""
    shape = (1, spec.window, 3, height, width) if spec.window > 1 else (1, 3, height, width)
    made = tuple(torch.rand(shape) for _ in range(2 if spec.role in ("metric", "kernel") else 1))
    return tuple(padded(picture, spec.multiple_of, spec.min_size) for picture in made)


def result(network: nn.Module, pictures: tuple[Tensor, ...], device: Device) -> Tensor:
    """The first thing that a network returns, on the processor."""
    with device.autocast():
        found = network(*(picture.to(device.where) for picture in pictures))
    return (found[0] if isinstance(found, tuple | list) else found).float().cpu()


def waited(device: Device, run: Callable[[], Any], runs: int = RUNS) -> float:
    """Seconds of one run, after one that does not count."""

    def wait() -> None:
        if device.where.type == "cuda":
            torch.cuda.synchronize(device.where)

    run()
    wait()
    started = time.perf_counter()
    for _ in range(runs):
        run()
    wait()
    return (time.perf_counter() - started) / runs


def clip(frames: int, height: int, width: int) -> Iterator[np.ndarray]:
    """A soft texture that is shaken: height x width x 3 uint8 frames."""
    coarse = torch.rand(1, 3, height // 8 + 8, width // 8 + 8, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(coarse, scale_factor=8.0, mode="bicubic")[0].clamp(0, 1)
    for n in range(frames):
        y, x = int(20 + 18 * np.cos(1.7 * n)), int(20 + 20 * np.sin(n))
        yield (whole[:, y : y + height, x : x + width].permute(1, 2, 0) * 255).byte().numpy()


def agreement(exact: Device, usual: Device, size: tuple[int, int]) -> Table:
    """How far the device's results are from the processor's, and how fast it restores frames."""
    columns = {"network": "", "fp32, largest difference": ".1e", f"{usual.precision}, mean difference": ".1e"}
    table = Table("networks", {**columns, "frames a second": ".1f"})
    for name, spec in NETWORKS.items():
        network, pictures = drawn(spec), noise(spec, SIDE, SIDE)
        wanted = result(network, pictures, pick_device("cpu", "fp32"))
        placed = exact.place(network)
        apart, rounded = (result(placed, pictures, device) - wanted for device in (exact, usual))
        rate = None
        if spec.role == "deblur":
            large = tuple(picture.to(usual.where) for picture in noise(spec, *size))
            with torch.no_grad(), usual.autocast():
                rate = 1 / waited(usual, partial(placed, *large))
        table.add(name, float(apart.abs().max()), float(rounded.abs().mean()), rate)
    return table


def restored(network: deblurcli.Network, frames: list[np.ndarray]) -> list[np.ndarray]:
    return list(network.frames(frames))


def whole_path(name: str, size: tuple[int, int]) -> Table:
    """Clips in memory through the bundled networks: codes between the devices, and frames a second."""
    table = Table("clips", {"network": "", "largest difference in codes": "d", "frames a second": ".1f"})
    for command in ("image", "video"):
        network = deblurcli.load(command=command, device=name)
        reference = deblurcli.load(command=command, device="cpu", dtype="fp32")
        small = list(clip(4, 160, 240))
        pairs = zip(network.frames(small), reference.frames(small), strict=True)
        codes = max(int(np.abs(one.astype(int) - other).max()) for one, other in pairs)
        frames = list(clip(6 * RUNS, *size))
        seconds = waited(pick_device(name), partial(restored, network, frames), 1)
        table.add(command, codes, len(frames) / seconds)
    return table


def adapting(name: str, size: tuple[int, int]) -> Table:
    """Seconds that adapting to a clip of 24 frames takes."""
    table = Table("adapting", {"method": "", "seconds": ".1f"})
    for method in METHODS:
        run = partial(deblurcli.adapt, list(clip(24, *size)), method=method, device=name)
        table.add(method, waited(pick_device(name), run, 1))
    return table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, nargs=2, default=(720, 1280), metavar=("HEIGHT", "WIDTH"))


def run(options: argparse.Namespace) -> list[Table]:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    exact, usual, size = pick_device(options.device, "fp32"), pick_device(options.device), tuple(options.size)
    return [agreement(exact, usual, size), whole_path(options.device, size), adapting(options.device, size)]
