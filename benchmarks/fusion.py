"""A study of what the video network should see: each variant of its fusion trained alike, for equal CPU time.

The single-frame part is the default's, and fixed. Reported: PSNR over the single-frame result on held-out synthetic
clips, and time added to a 1280x720 frame, as a share of the single-frame time.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.results import Table
from deblurcli.adaptation.update import update_average
from deblurcli.device import pick_device
from deblurcli.losses import l1_fft
from deblurcli.networks.video_unet import VideoUNet
from deblurcli.optimiser import Muon, rate_at
from deblurcli.train.data import Source
from deblurcli.train.material import Material, load_material
from deblurcli.train.ring import CropRing
from deblurcli.train.stages.fusion import compared_clips, fused, prepared_clips
from deblurcli.train.validation import VALIDATION_SEED, mean_psnr
from deblurcli.weights.choose import load_chosen

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "no steps along the motion": {"steps": ()},
    "four steps": {"steps": (0.25, 0.5, 0.75, 1.0)},
    "five frames": {"frames": 5},
    "blocks at 1/4 first": {"blocks": (1, 3, 0)},
    "nothing at 1/8 but two blocks at 1/4": {"blocks": (1, 0, 1)},
}
WINDOW, SIZE, BATCH, RATE = 5, 192, 2, 0.005


def windowed(prepared: torch.Tensor, frames: int) -> torch.Tensor:
    """The middle of clips for windows of ``WINDOW`` frames: ``STEPS`` windows of ``frames``."""
    edge = (WINDOW - frames) // 2
    return prepared[:, edge : prepared.shape[1] - edge]


def seconds(network: VideoUNet, frames: int) -> tuple[float, float]:
    """Median seconds of encoding one 1280x720 frame and of fusing a window."""
    pictures = list(torch.rand(frames, 1, 3, 720, 1280).contiguous())
    encoding, fusing = [], []
    with torch.no_grad(), pick_device().autocast():
        for _ in range(5):
            started = time.perf_counter()
            encoded = [network.encode(p.contiguous(memory_format=torch.channels_last)) for p in pictures]
            encoding.append((time.perf_counter() - started) / frames)
            started = time.perf_counter()
            network.fuse(encoded)
            fusing.append(time.perf_counter() - started)
    return median(encoding), median(fusing)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--crops", type=int, default=900)


def run(args: argparse.Namespace) -> list[Table]:
    device, single = pick_device(), load_chosen("default", "image", "deblur")
    base = device.place(single.module)
    train, held_out = load_material(args.data).split()

    def source(material: Material) -> Source:
        return prepared_clips(compared_clips(material, WINDOW, SIZE, device), base, device)

    ring = CropRing(source(train), capacity=args.crops, group=6, every=0, first=args.crops // 6, seed=1)
    ring.advance(0)
    blurred, sharp = source(held_out)(48, np.random.default_rng(VALIDATION_SEED))
    numbers = {"parameters (M)": ".2f", "iterations": "d", "gain (dB)": "+.3f", "time added": ".2f"}
    table = Table("fusions", {"fusion": ""} | numbers)
    for name, changes in VARIANTS.items():
        torch.manual_seed(1)
        network = VideoUNet(**({"base": single.config} | changes))
        network.base.load_state_dict(base.state_dict())
        device.place(network).train()  # in place
        network.base.requires_grad_(False)
        frames = changes.get("frames", 3)
        average, optimiser = copy.deepcopy(network), Muon(network.fusion, RATE)
        started, iteration = time.process_time(), 0
        while (progress := (time.process_time() - started) / (60 * args.minutes * torch.get_num_threads())) < 1:
            optimiser.set_rate(rate_at(progress, iteration, 1.0, warmup=50))
            prepared, target = ring.batch(iteration, BATCH, SIZE, device.where)
            with device.autocast():
                restored = fused(network, windowed(prepared, frames), frames)
                loss = l1_fft(restored.flatten(0, 1), target.flatten(0, 1))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            if torch.isfinite(torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)):
                optimiser.step()
            update_average(average, network, iteration)
            iteration += 1
        average.eval()
        with torch.no_grad(), device.autocast():
            restored = torch.cat([fused(average, windowed(part, frames), frames)[:, -1] for part in blurred.split(4)])
        gain = mean_psnr(restored, sharp[:, -1]) - mean_psnr(blurred[:, -1 - WINDOW // 2, 3:], sharp[:, -1])
        alone, added = seconds(average, frames)
        size = sum(p.numel() for p in network.fusion.parameters()) / 1e6
        table.add(name, size, iteration, gain, added / alone)
    return [table]
