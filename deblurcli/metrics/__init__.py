"""Measures of quality: against a reference, without one, and from frame to frame."""

from __future__ import annotations

from deblurcli.metrics.fidelity import psnr, rounded, ssim
from deblurcli.metrics.flicker import warping_errors
from deblurcli.metrics.naturalness import niqe
from deblurcli.metrics.perceptual import lpips

__all__ = ["lpips", "niqe", "psnr", "rounded", "ssim", "warping_errors"]
