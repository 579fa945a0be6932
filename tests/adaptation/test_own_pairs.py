"""Supervised pairs of a video itself, mixtures of sources, and losses that are scaled to each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from moving import HALTING, surveyed
from torch import Tensor

from deblurcli.adaptation.balance import Balanced, steepness
from deblurcli.adaptation.flow import fit_flow
from deblurcli.adaptation.own_pairs import Mixed, OwnPairs, batch_of
from deblurcli.adaptation.support import WINDOW
from deblurcli.losses import LOSSES, l1, mse

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def own() -> OwnPairs:
    """Targets are told apart from the video by being brighter."""
    patches, restore = surveyed(HALTING, 0.8)
    targets = [(patch.clip(CPU)[:, WINDOW // 2] + 1) / 2 for patch in patches]
    return OwnPairs(patches, targets, fit_flow(patches, restore))


def test_pairs_go_by_the_generator_and_blur_the_target(own: OwnPairs) -> None:
    blurred, sharp, border = own.draw(np.random.default_rng(4), 64, 1, CPU)
    again = own.draw(np.random.default_rng(4), 64, 1, CPU)
    other = own.draw(np.random.default_rng(5), 64, 1, CPU)
    assert blurred.shape == (1, 1, 3, 64, 64) and sharp.shape == (1, 3, 64, 64) and border >= 0
    assert torch.equal(blurred, again[0]) and torch.equal(sharp, again[1]) and not torch.equal(sharp, other[1])
    assert float(sharp.min()) > 0.45 and not torch.equal(blurred[:, 0], sharp)
    assert float((blurred[:, 0] - sharp).mean().abs()) < 0.02  # the same piece


def test_identity_shows_the_sharp_moment_as_the_video_has_it(own: OwnPairs) -> None:
    blurred, sharp, border = replace(own, identity=1.0).draw(np.random.default_rng(4), 128, 5, CPU)
    assert blurred.shape == (1, WINDOW, 3, 128, 128) and border == 0
    assert torch.allclose((blurred[:, 2] + 1) / 2, sharp)
    assert any(torch.equal(blurred, patch.clip(CPU)) for patch in own.patches), "neighbours are the video's"


class Grey:
    """One value everywhere, and a border."""

    def __init__(self, value: float, border: int) -> None:
        self.value, self.border = value, border

    def __str__(self) -> str:
        return f"{self.value} grey"

    def draw(
        self, rng: np.random.Generator, side: int, frames: int, device: torch.device
    ) -> tuple[Tensor, Tensor, int]:
        return torch.full((1, frames, 3, side, side), self.value), torch.zeros(1, 3, side, side), self.border


def test_a_mixture_has_its_shares_and_a_batch_the_widest_border() -> None:
    mixed = Mixed(Grey(0.0, 1), Grey(1.0, 5), 0.25)
    clips, sharp, border = batch_of(mixed, 400, np.random.default_rng(1), 8, 3, CPU)
    assert clips.shape == (400, 3, 3, 8, 8) and sharp.shape == (400, 3, 8, 8) and border == 5
    assert 0.2 < float(clips.mean()) < 0.3 and str(mixed) == "0.0 grey and 1.0 grey"


@pytest.mark.parametrize("name", ["l1_fft", "psnr", "mimo", "charbonnier"])
def test_a_balanced_loss_is_as_steep_as_the_mean_squared_error(name: str) -> None:
    rng = torch.Generator().manual_seed(1)
    output, target = (torch.rand(2, 3, 16, 16, generator=rng) for _ in range(2))
    loss = Balanced(LOSSES[name])
    assert loss.scale == 1
    with torch.no_grad():
        assert float(loss.look(output, target)) == float(LOSSES[name](output, target))
    assert steepness(loss, output, target) == pytest.approx(steepness(mse, output, target), rel=1e-4)
    assert float(loss(output, target)) == pytest.approx(loss.scale * float(LOSSES[name](output, target)))


def test_steepness_is_the_length_of_the_gradient_and_of_all_outputs() -> None:
    ones = torch.ones(1, 3, 4, 4)
    assert steepness(l1, ones, 0 * ones) == pytest.approx(48**-0.5)
    assert steepness(mse, ones, 0 * ones) == pytest.approx(2 * 48**-0.5)
    halves = [ones, ones[..., :2, :2]]
    assert steepness(mse, halves, 0 * ones) == pytest.approx(2 * (1 / 48 + 1 / 12) ** 0.5)
    assert float(mse(halves, 0 * ones)) == 2
