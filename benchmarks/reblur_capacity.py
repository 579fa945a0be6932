"""Clean images are hard to reblur: Table 1 of that paper (ICLR 2022) in small.

Deblurring networks of four sizes are trained alike, then for each a reblurring module (n = 2) on what it restores, with
L_Blur + L_Sharp; neither learns from the other. The better a network deblurs, the less its module finds to reblur: down
the table the PSNR of restored against sharp pictures rises, that of reblurred against blurred ones falls. "Not
reblurred" is that of restored against blurred ones, which falls by itself; the module's part is the difference. The
last row is the bundled network, trained for hours on harder blur.

DATA is a folder of sharp pictures, as for `deblur train`. As hours are not to be had, the blur is that of a camera
shaken by about eight pixels, without noise, compression or anything that moves by itself. All rows see the same crops
in the same order, and as many: in equal time the small networks would be ahead, and capacity would not show.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.results import Table
from benchmarks.shapes import CROPS, HELD_OUT_CROPS, HELD_OUT_SIZE, SEED, SIZE, Trial, train
from deblurcli.device import Device, pick_device
from deblurcli.losses import l1
from deblurcli.metrics.fidelity import psnr
from deblurcli.networks.plain_unet import PlainUNet
from deblurcli.networks.reblurring import ReblurringModule
from deblurcli.synth.paths import BlurRange
from deblurcli.train.data import stills
from deblurcli.train.material import Material, load_material
from deblurcli.train.ring import CropRing
from deblurcli.train.validation import VALIDATION_SEED
from deblurcli.weights.load import load_network

SIZES: dict[str, tuple[int, int, tuple[int, int, int]]] = {
    "16 channels": (16, 24, (1, 1, 1)),
    "32 channels": (32, 48, (1, 2, 1)),
    "64 channels": (64, 96, (2, 3, 2)),
    "128 channels": (128, 192, (3, 5, 4)),
}
"""Of the plain U-Net."""
BUNDLED = "plain-unet"
BLUR = BlurRange(
    median=8, spread=0.4, still=0, rotation=0.2, uneven=0, layered=0, soft=0, finite=0, noisy=0, compressed=0
)  # fmt: skip
GROUP = 6


@torch.no_grad()
def restored(network: nn.Module, blurred: Tensor, device: Device) -> Tensor:
    """N x 3 x H x W, a few at a time."""
    with device.autocast():
        return torch.cat([network(part) for part in blurred.split(4)])


def reblurring(ring: CropRing, network: nn.Module, device: Device) -> CropRing:
    """Pairs for the module from those for the networks: restored and blurred, and the pseudo-sharp one with itself."""
    groups = iter(ring.pairs.values())

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        blurred, sharp = (pictures.float().div(255) for pictures in next(groups))
        pictures, pseudo_sharp = restored(network, torch.cat([blurred, sharp]), device).chunk(2)
        return torch.cat([pictures, pseudo_sharp]), torch.cat([blurred, pseudo_sharp])

    return filled(
        CropRing(draw, capacity=2 * GROUP * ring.first, group=2 * GROUP, every=0, first=ring.first, seed=SEED)
    )


def score(one: Tensor, other: Tensor) -> float:
    """Mean PSNR in dB of N x 3 x H x W pictures."""
    return fmean(psnr(*pair) for pair in zip(one, other, strict=True))


def filled(ring: CropRing) -> CropRing:
    ring.advance(0)
    return ring


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--iterations", type=int, default=1000, help="of each training")
    parser.add_argument("--crops", type=int, default=CROPS, help="to learn from")


def run(options: argparse.Namespace) -> list[Table]:
    device, iterations = pick_device("cpu"), options.iterations

    # Photos alone: the frames of videos bring motion of their own.
    material, held_out = (Material(part.photos, {}, {}) for part in load_material(options.data).split())
    print(f"{device}, {torch.get_num_threads()} threads; preparing {options.crops} crops", file=sys.stderr)
    draw = stills(material, SIZE, BLUR, device.where)
    ring = filled(
        CropRing(draw, capacity=options.crops, group=GROUP, every=0, first=options.crops // GROUP, seed=SEED)
    )  # fmt: skip
    draw = stills(held_out, HELD_OUT_SIZE, BLUR, device.where)
    blurred, sharp = draw(HELD_OUT_CROPS, np.random.default_rng(VALIDATION_SEED))
    print(f"blurred against sharp pictures: {score(blurred, sharp):.2f} dB", file=sys.stderr)

    headings = ("M parameters", "deblur PSNR (dB)", "reblur PSNR (dB)", "restored against blurred (dB)")
    table = Table("capacity", {"network": ""} | dict.fromkeys(headings, ".2f"))
    for name in (*SIZES, "bundled"):
        if name in SIZES:
            network, _ = train(Trial(partial(PlainUNet, *SIZES[name])), ring, device, iterations=iterations)
        else:
            network = device.place(load_network(BUNDLED, role="deblur").module)
        left = reblurring(ring, network, device)
        module, _ = train(Trial(ReblurringModule, l1), left, device, iterations=iterations, size=SIZE // 2)
        pictures = restored(network, blurred, device)
        reblurred = restored(module, pictures, device)
        pairs = ((pictures, sharp), (reblurred, blurred), (pictures, blurred))
        parameters = sum(p.numel() for p in network.parameters())
        table.add(name, parameters / 1e6, *(score(*pair) for pair in pairs))
    return [table]
