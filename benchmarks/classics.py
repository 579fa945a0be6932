"""What classic sharpening reaches on the development stills: unsharp mask and Wiener filter, helped by the reference.

Both get what no user has: for every picture the settings that score best against its sharp reference (strength and
radius of the mask; length, angle and noise of a straight motion kernel for the Wiener filter).
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.results import Table
from benchmarks.stills import pairs
from deblurcli.media.images import read_image
from deblurcli.metrics.fidelity import psnr, ssim


def unsharp(picture: np.ndarray, radius: float, amount: float) -> np.ndarray:
    """H x W x 3 in [0, 1] plus ``amount`` times what a Gaussian of ``radius`` takes away."""
    return picture + amount * (picture - cv2.GaussianBlur(picture, (0, 0), radius))


def wiener(spectrum: np.ndarray, shape: tuple[int, int], length: float, angle: float, noise: float) -> np.ndarray:
    """The picture with this spectrum (of its mirrored extension), freed from a straight motion of ``length`` pixels."""
    kernel = np.zeros((2 * shape[0], 2 * shape[1]), np.float32)
    for t in np.linspace(-0.5, 0.5, max(3, 4 * int(length))):
        y, x = t * length * np.sin(angle), t * length * np.cos(angle)
        kernel[round(y), round(x)] += 1
    transfer = np.fft.rfft2(kernel / kernel.sum())[..., None]
    restored = np.fft.irfft2(spectrum * transfer.conj() / (np.abs(transfer) ** 2 + noise), s=kernel.shape, axes=(0, 1))
    return restored[: shape[0], : shape[1]]


def best(candidates: list[np.ndarray], reference: torch.Tensor) -> tuple[float, float]:
    """PSNR and SSIM of the candidate with the highest PSNR."""
    tensors = [torch.from_numpy(np.ascontiguousarray(c)).permute(2, 0, 1).float().clamp(0, 1) for c in candidates]
    found = max(tensors, key=lambda t: psnr(t, reference))
    return psnr(found, reference), ssim(found, reference)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("eval", type=Path, help="holds gopro_stills/X.png with X_gt.png")


def run(options: argparse.Namespace) -> list[Table]:
    scores: dict[str, list[tuple[float, float]]] = {"input": [], "unsharp mask": [], "Wiener": []}
    for path, sharp in pairs(options.eval / "gopro_stills"):
        blurred, reference = read_image(path).rgb(), read_image(sharp).rgb()
        picture = blurred.permute(1, 2, 0).numpy()
        h, w = picture.shape[:2]
        spectrum = np.fft.rfft2(np.pad(picture, ((0, h), (0, w), (0, 0)), mode="symmetric"), axes=(0, 1))
        masks = [unsharp(picture, *setting) for setting in itertools.product((1, 2, 4), (0.2, 0.5, 1, 2))]
        settings = itertools.product((4, 8, 14, 22), np.arange(6) * np.pi / 6, (0.01, 0.05))
        scores["input"].append(best([picture], reference))
        scores["unsharp mask"].append(best(masks, reference))
        scores["Wiener"].append(best([wiener(spectrum, (h, w), *s) for s in settings], reference))
        print(path.name, *(f"{name} {rows[-1][0]:.2f}" for name, rows in scores.items()), file=sys.stderr)
    table = Table("filters", {"stills": "", "PSNR (dB)": ".2f", "SSIM": ".4f"})
    for name, rows in scores.items():
        table.add(name, *(float(np.mean(column)) for column in zip(*rows, strict=True)))
    return [table]
