"""Translators of blur, small and random, and files to restore with them."""

from __future__ import annotations

from pathlib import Path

import torch
from end_to_end import write_video
from moving import HALTING, frames
from small_networks import randomised
from torch import nn

from deblurcli.adaptation.translation import RECIPES, new_generator
from deblurcli.networks import NETWORKS
from deblurcli.weights.save import save_network

WIDTH = {"width": 8, "blocks": 1}
SMALL = {"width": 16, "deep_width": 16, "blocks": [1, 1, 1], "fold": 4, "scales": 1}


def translating(scale: float) -> nn.Module:
    """A translator: of nothing where ``scale`` is 0."""
    generator, _ = new_generator(RECIPES["ours"], 1, **WIDTH)
    return randomised(generator, 3, scale) if scale else generator


def translation_files(folder: Path) -> dict[str, Path]:
    """A clip, a network of one frame and one of three, and two translators: of nothing, and of something."""
    found = {"clip": write_video(folder / "clip.mkv", frames(HALTING, 0.6, 2.2, 0.0)[0])}
    several = {"frames": 3, "steps": [0.5, 1.0], "width": 16, "deep_width": 16, "blocks": [0, 1, 1], "base": SMALL}
    for name, network, config in (("one", "plain-unet", SMALL), ("three", "video-unet", several)):
        found[name] = folder / f"{name}.safetensors"
        module = randomised(NETWORKS[network].build(**config), 1, 0.3)
        save_network(found[name], module, network=network, config=config, card={})
    for name, scale in (("nothing", 0.0), ("something", 0.5)):
        found[name] = folder / f"{name}.safetensors"
        save_network(
            found[name], translating(scale), network="blur-translator", config=WIDTH, card={}, dtype=torch.float32
        )
    return found
