"""Speed against the authors' own code, in the same run on the CPU: seconds per picture.

REPOS is a folder with clones of the authors' repositories under their own names: MIMO-UNet of chosj95, MPRNet and
Restormer of swz30 (the latter needs `pip install einops`), NAFNet of megvii-research. Only the file with the network is
imported of each. Networks not cloned are left out.

Both networks get the same random weights, and must give the same picture. Theirs runs as their test scripts run it:
whole picture, fp32; NAFNet with the local means of its published results. Ours runs as the tool runs it, whole picture
as well, in fp32 and in the default precision of this machine. A round runs the three in turn, so that ratios hold on a
noisy machine; figures are medians over the rounds, which end after --seconds for a network and size. All run in one
process, so theirs profits, too, from the memory that the tool tells malloc to keep (``deblurcli.device.keep_memory``):
in a process of its own it takes up to twice as long.
"""

import argparse
import contextlib
import importlib
import logging
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.results import Table
from deblurcli.device import Device, pick_device
from deblurcli.networks import NETWORKS

SIZES = ("256x256", "720x1280")
CLOSE = 1e-3
"""Largest difference between both results in fp32, of what they change in the picture."""
NAFNET = {"img_channel": 3, "enc_blk_nums": [1, 1, 1, 28], "middle_blk_num": 1, "dec_blk_nums": [1, 1, 1, 1]}


@dataclass(frozen=True)
class Authors:
    """Where the authors' network is."""

    root: str
    """Folder in REPOS that imports start from."""
    module: str
    name: str
    """Of the class."""
    arguments: dict[str, Any] = field(default_factory=dict)
    stands: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Modules that are imported, but that no part of the network needs: name and what is taken from them."""


_NAFNET = ("NAFNet", "basicsr.models.archs.NAFNet_arch", "NAFNetLocal")
_LOGGER = {"basicsr.utils": {"get_root_logger": logging.getLogger}}
AUTHORS = {
    "mimo-unet": Authors("MIMO-UNet", "models.MIMOUNet", "MIMOUNet"),
    "mimo-unet-plus": Authors("MIMO-UNet", "models.MIMOUNet", "MIMOUNetPlus"),
    "nafnet-w32": Authors(*_NAFNET, {"width": 32, **NAFNET}, _LOGGER),
    "nafnet-w64": Authors(*_NAFNET, {"width": 64, **NAFNET}, _LOGGER),
    "restormer": Authors("Restormer", "basicsr.models.archs.restormer_arch", "Restormer"),
    "mprnet": Authors("MPRNet/Deblurring", "MPRNet", "MPRNet"),
}


@contextlib.contextmanager
def importable(root: Path, authors: Authors) -> Iterator[None]:
    """Inside, the network's module can be imported without its packages' own imports; nothing of it stays behind."""
    before, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(root))
    *parents, _ = authors.module.split(".")
    for depth in range(1, len(parents) + 1):
        package = types.ModuleType(".".join(parents[:depth]))
        package.__path__ = [str(root.joinpath(*parents[:depth]))]
        sys.modules[package.__name__] = package
    for name, content in authors.stands.items():
        stand = types.ModuleType(name)
        vars(stand).update(content)
        sys.modules[name] = stand
    try:
        yield
    finally:
        sys.path[:] = path
        # Two repositories have a package of the same name.
        taken = {*authors.stands, authors.module.split(".")[0]}
        for name in set(sys.modules) - before:
            if name in taken or name.split(".")[0] in taken:
                del sys.modules[name]


def build(root: Path, authors: Authors) -> nn.Module:
    """The authors' network in eval mode, no parameter all zero: a block that adds nothing proves nothing."""
    torch.manual_seed(0)
    with importable(root, authors):
        network: nn.Module = getattr(importlib.import_module(authors.module), authors.name)(**authors.arguments)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return network.eval()


def restored(result: Tensor | list[Tensor]) -> Tensor:
    """The full-size picture among a network's results."""
    return result if isinstance(result, Tensor) else max(result, key=Tensor.numel)


def runner(module: nn.Module, device: Device, picture: Tensor) -> Any:
    def run() -> Tensor:
        with torch.no_grad(), device.autocast():
            return restored(module(picture)).float()

    return run


def measured(network: str, root: Path, size: tuple[int, int], rounds: int, seconds: float) -> tuple[float, ...]:
    """Seconds of the authors' network, of ours in fp32 and in the default precision, and both ratios to the first."""
    exact, default, spec = pick_device("cpu", "fp32"), pick_device("cpu"), NETWORKS[network]
    theirs = build(root, AUTHORS[network])
    ours = spec.build(**(spec.config or {})).eval()
    ours.load_state_dict(theirs.state_dict())
    picture = torch.rand(1, 3, *size)
    placed, ordered = exact.place(ours), picture.contiguous(memory_format=torch.channels_last)
    runs = [runner(theirs, exact, picture), runner(placed, exact, ordered), runner(placed, default, ordered)]
    their_result, our_result, _ = (run() for run in runs)
    change = (their_result - picture).abs().max()
    if (their_result - our_result).abs().max() > CLOSE * change:
        sys.exit(f"{network}: not the same function as {root}")
    times: list[list[float]] = [[], [], []]
    end = time.perf_counter() + seconds
    while not times[0] or (len(times[0]) < rounds and time.perf_counter() < end):
        for run, found in zip(runs, times, strict=True):
            started = time.perf_counter()
            run()
            found.append(time.perf_counter() - started)
    ratios = (median(a / b for a, b in zip(times[0], other, strict=True)) for other in times[1:])
    return (*(median(found) for found in times), *ratios)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repos", type=Path)
    parser.add_argument("--network", nargs="+", choices=AUTHORS, default=list(AUTHORS))
    parser.add_argument("--size", nargs="+", default=list(SIZES), metavar="HxW")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=30)


def run(options: argparse.Namespace) -> list[Table]:
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; default: {pick_device('cpu')}", file=sys.stderr
    )
    headings = ("authors, fp32 (s)", "ours, fp32 (s)", "ours, default (s)")
    ratios = ("fp32: times as fast", "default: times as fast")
    table = Table("speed", {"network": "", "size": ""} | dict.fromkeys(headings, ".3f") | dict.fromkeys(ratios, ".2f"))
    for network in options.network:
        root = options.repos / AUTHORS[network].root
        if not root.is_dir():
            print(f"{network}: {root} is not there, left out", file=sys.stderr)
            continue
        for size in options.size:
            height, width = (int(side) for side in size.split("x"))
            table.add(network, size, *measured(network, root, (height, width), options.rounds, options.seconds))
    return [table]
