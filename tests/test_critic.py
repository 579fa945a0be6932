"""The patch critic: size, score map, what a score sees, and the reference form at its full width."""

import pytest
import torch
from parity import assert_same_keys, case, fill, seeded
from torch import nn

from deblurcli.networks.critic import PatchCritic


def test_it_is_small():
    parameters = sum(p.numel() for p in PatchCritic().parameters())
    assert parameters == 694_241
    assert 2 * parameters <= 3_000_000


@pytest.mark.parametrize(("height", "width"), [(256, 256), (64, 96), (32, 32)])
def test_score_map(height, width):
    scores = PatchCritic()(seeded(1, (2, 3, height, width)))
    assert scores.shape == (2, 1, height // 8 - 2, width // 8 - 2)
    assert scores.isfinite().all()


def test_a_score_sees_70_pixels():
    critic = PatchCritic(channels=4)
    for i, layer in enumerate(critic.model):
        if isinstance(layer, nn.InstanceNorm2d):
            critic.model[i] = nn.Identity()
    image = seeded(2, (1, 3, 160, 160)).requires_grad_()
    critic(image)[0, 0, 9, 9].backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1)).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [70, 70]


@torch.no_grad()
def test_reference_form_at_width_64():
    facts, arrays = case("blur2blur_d")
    critic = fill(PatchCritic(channels=64))
    assert_same_keys(critic, facts)
    for i in range(3):
        scores = critic(torch.from_numpy(arrays[f"input_{i}"]))
        assert (scores - torch.from_numpy(arrays[f"output_{i}"])).abs().max() < 4e-5
