"""The translation of blur: losses and penalty by hand and against the authors', the step, the start, known blur."""

import copy
import math

import numpy as np
import pytest
import torch
from parity import case, fill, seeded
from small_networks import random_lpips, randomised, same, weights
from torch import nn

from deblurcli.adaptation.content_features import content_features
from deblurcli.adaptation.known_blur import synthetic_blur
from deblurcli.adaptation.translation import (
    RECIPES,
    Translation,
    at_scales,
    critic_adversarial,
    generator_adversarial,
    gradient_penalty,
    new_critic,
    new_generator,
    translated,
)
from deblurcli.device import pick_device
from deblurcli.networks.critic import PatchCritic, VGGCritic
from deblurcli.networks.plain_unet import PlainUNet
from deblurcli.networks.residual_unet import ResidualUNet

CPU = pick_device("cpu", "fp32")
TINY = {"width": 8, "blocks": 1}


def small_plain(scales=2):
    return randomised(PlainUNet(width=8, deep_width=8, blocks=(1, 1, 1), scales=scales), 3)


def translation(recipe="ours", features=True, seed=0):
    generator, _ = new_generator(RECIPES[recipe], 1, **TINY)
    critic = PatchCritic(channels=4)
    found = content_features("small", small_plain()) if features else None
    return Translation(generator, critic, RECIPES[recipe], found, CPU, seed=seed)


def test_gradient_penalty_of_the_authors():
    facts, arrays = case("blur2blur_d")
    critic, wanted = fill(PatchCritic(channels=64)), facts["gradient_penalty"]
    real, fake = torch.from_numpy(arrays["input_2"]), seeded(22, (1, 3, 128, 128))
    found = gradient_penalty(critic, real, fake, torch.tensor([wanted["alpha"]]))
    assert float(found.detach()) == pytest.approx(wanted["penalty_unweighted"], rel=1e-4)


def test_gradient_penalty_is_that_of_each_picture_alone():
    critic, real, fake = fill(PatchCritic(channels=8)), seeded(1, (3, 3, 32, 40)), seeded(2, (3, 3, 32, 40))
    mixture = torch.tensor([0.1, 0.5, 0.8])
    together = gradient_penalty(critic, real, fake, mixture)
    alone = [gradient_penalty(critic, real[i : i + 1], fake[i : i + 1], mixture[i : i + 1]) for i in range(3)]
    assert float(together.detach()) == pytest.approx(float(sum(alone).detach()) / 3, rel=1e-5)
    parameters = list(critic.parameters())
    slopes = torch.autograd.grad(together, parameters, allow_unused=True)
    each = [torch.autograd.grad(one, parameters, allow_unused=True) for one in alone]
    reached = [number for number, slope in enumerate(slopes) if slope is not None]
    assert len(reached) >= 5  # the kernels
    largest = max(float(slopes[number].abs().max()) for number in reached)
    for number in reached:
        assert float((slopes[number] - sum(one[number] for one in each) / 3).abs().max()) < 1e-4 * largest


def test_gradient_penalty_by_hand():
    class Sum(nn.Module):
        def forward(self, x):
            return 3 * x.sum((1, 2, 3))

    found = gradient_penalty(Sum(), torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4), torch.tensor([0.3, 0.9]))
    assert float(found) == pytest.approx((3 * math.sqrt(48) - 1) ** 2, rel=1e-5)


def test_gradient_penalty_stays_in_float32_under_autocast():
    critic, pictures = fill(PatchCritic(channels=8)), seeded(1, (2, 3, 32, 32))
    exact = gradient_penalty(critic, pictures, 1 - pictures, torch.full((2,), 0.3))
    with torch.autocast("cpu", torch.bfloat16):
        found = gradient_penalty(critic, pictures, 1 - pictures, torch.full((2,), 0.3))
    assert torch.equal(found, exact)


def test_adversarial_losses_of_the_authors():
    facts, arrays = case("blur2blur_d")
    critic, wanted, total = fill(PatchCritic(channels=64)), facts["gan"], []
    with torch.no_grad():
        for i, side in enumerate((32, 64, 128)):
            real, fake = torch.from_numpy(arrays[f"output_{i}"]), critic(seeded(20 + i, (1, 3, side, side)))
            total.append((critic_adversarial("hinge", real, fake), generator_adversarial("hinge", fake)))
    judged, fooled = (float(torch.stack(terms).mean()) for terms in zip(*total, strict=True))
    assert judged == pytest.approx(wanted["hinge_D_real"] + wanted["hinge_D_fake"], rel=1e-4)
    assert 0.5 * judged == pytest.approx(wanted["D_loss_half_sum"], rel=1e-4)
    assert fooled == pytest.approx(wanted["generator_adversarial_on_fake"], rel=1e-3)


def test_log_losses_by_hand():
    real, fake = torch.tensor([2.0]), torch.tensor([-1.0])
    chance = [1 / (1 + math.exp(-float(x))) for x in (real, fake)]
    found = critic_adversarial("log", real, fake)
    assert float(found) == pytest.approx(-math.log(chance[0]) - math.log(1 - chance[1]), rel=1e-5)
    assert float(generator_adversarial("log", fake)) == pytest.approx(-math.log(chance[1]), rel=1e-5)


def test_features_of_vgg16_are_the_authors():
    facts, arrays = case("vgg16_taps")
    network = random_lpips("vgg")
    fill(nn.ModuleDict({"features": network.features}))
    with torch.no_grad():
        for parameter in network.features.parameters():
            if parameter.ndim >= 2:
                parameter *= 2
    features = content_features("test", network)
    with torch.no_grad():
        one, other = (torch.from_numpy(arrays[name]) for name in ("input", "target"))
        apart = [float((a - b).abs().mean()) for a, b in zip(features.taps(one), features.taps(other), strict=True)]
        assert float(features.difference(one, other)) == pytest.approx(facts["loss"], rel=1e-4)
    assert apart == pytest.approx(facts["L1_per_tap"], rel=1e-4)
    assert features.weights == tuple(facts["tap_weights"])


def test_features_of_other_networks():
    with torch.device("meta"):
        vgg19 = content_features("v", VGGCritic())
    assert vgg19 is not None and vgg19.name == "VGG19 of v"
    assert content_features("r", ResidualUNet(1)) is None
    assert content_features("a", random_lpips("alex")) is None
    pictures = seeded(3, (2, 3, 32, 48))
    for scales in (1, 2):
        features = content_features("p", small_plain(scales))
        assert [tuple(f.shape[-2:]) for f in features.taps(pictures)] == [(4, 6), (8, 12), (4, 6)]
        assert float(features.difference(pictures, pictures)) == 0
        assert float(features.difference(pictures, 0.9 * pictures)) > 0.01  # colours count


def test_a_new_translator_of_ours_changes_nothing_and_those_of_others_are_drawn():
    pictures = seeded(4, (1, 3, 32, 32))
    ours, config = new_generator(RECIPES["ours"], 1)
    assert all(
        torch.equal(one, pictures[..., ::step, ::step])
        for one, step in zip(ours.outputs(pictures), (4, 2, 1), strict=True)
    )
    assert config == {"blocks": 1, "dropout": 0.0, "width": 8}
    drawn, _ = new_generator(RECIPES["paper"], 1, **TINY)
    kernels = torch.cat([p.flatten() for p in drawn.parameters() if p.ndim == 4])
    assert float(kernels.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert all(not p.detach().any() for p in drawn.parameters() if p.ndim == 1)
    full, _ = new_generator(RECIPES["authors"], 1)
    assert sum(p.numel() for p in full.parameters()) == case("blur2blur_d")[0]["generator"]["parameters"]
    assert new_critic(RECIPES["paper"], 1).model[0].out_channels == 64


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_trains_both_and_is_the_same_again(recipe):
    blurry, known, found = seeded(5, (1, 3, 128, 128)), seeded(6, (2, 3, 128, 128)), []
    for _ in range(2):
        torch.manual_seed(3)
        made = translation(recipe)
        before = weights(made.generator), weights(made.critic)
        losses = [made.step(blurry, known) for _ in range(2)]
        assert list(losses[0]) == ["critic", "adversarial", "reconstruction"]
        assert all(math.isfinite(value) for values in losses for value in values.values())
        assert not same(before[0], weights(made.generator)) and not same(before[1], weights(made.critic))
        found.append((losses, weights(made.generator)))
    assert found[0][0] == found[1][0] and same(found[0][1], found[1][1])


def test_terms_of_the_step_by_hand():
    recipe = RECIPES["ours"]
    made = translation()
    randomised(made.generator, 2)
    blurry, known = seeded(5, (2, 3, 128, 128)), seeded(6, (2, 3, 128, 128))
    pictures = made.pictures(blurry)
    losses = made.generator_losses(blurry, pictures)
    scored = [float(made.critic(picture).mean().detach()) for picture in pictures]
    assert float(losses["adversarial"].detach()) == pytest.approx(-sum(scored) / 3, rel=1e-4)
    scaled = at_scales(blurry, pictures)
    kept = [float(made.features.difference(a, b).detach()) for a, b in zip(pictures, scaled, strict=True)]
    assert float(losses["reconstruction"].detach()) == pytest.approx(0.8 * sum(kept) / 3, rel=1e-5)
    judged = made.critic_loss(blurry, known, pictures, 7)
    draws = np.random.default_rng([0, 5, 7]).random(2, dtype=np.float32)
    penalty = gradient_penalty(made.critic, known, pictures[-1], torch.from_numpy(draws))
    hinge = [
        critic_adversarial("hinge", made.critic(real), made.critic(fake))
        for real, fake in zip(at_scales(known, pictures), pictures, strict=True)
    ]
    wanted = 0.5 * sum(float(term.detach()) for term in hinge) / 3 + recipe.penalty_weight * float(penalty.detach())
    assert float(judged.detach()) == pytest.approx(wanted, rel=1e-4)


def test_broken_pictures_change_nothing():
    made = translation()
    before = copy.deepcopy(weights(made.generator)), copy.deepcopy(weights(made.critic))
    losses = made.step(torch.full((1, 3, 128, 128), math.nan), seeded(1, (1, 3, 128, 128)))
    assert not math.isfinite(losses["critic"])
    assert same(before[0], weights(made.generator)) and same(before[1], weights(made.critic))


class Tint(nn.Module):
    """A generator that can but change the brightness."""

    def __init__(self):
        super().__init__()
        self.amount = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x + self.amount


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_learns_that_known_pictures_are_darker(recipe):
    torch.manual_seed(1)
    made = Translation(Tint(), PatchCritic(channels=4), RECIPES[recipe], None, CPU, rate=0.01)
    for number in range(30):
        made.step(0.5 + 0.2 * seeded(number, (2, 3, 32, 32)), 0.2 * seeded(900 + number, (2, 3, 32, 32)))
    assert float(made.generator.amount.detach()) < -0.03


def test_schedules():
    paper = RECIPES["paper"]
    assert [paper.rate_share(p) for p in (0, 0.49, 0.75, 1)] == [1, 1, 0.5, 0]
    assert [paper.share_at(p) for p in (0, 0.2, 0.35, 0.5, 1)] == pytest.approx([0.5, 0.5, 0.75, 1, 1])
    assert RECIPES["authors"].share_at(0) == 1


@pytest.mark.parametrize(("height", "width"), [(1, 3), (30, 32), (33, 5)])
def test_any_size_is_translated(height, width):
    generator, _ = new_generator(RECIPES["ours"], 1, **TINY)
    pictures = seeded(height, (2, 3, height, width))
    assert torch.equal(translated(generator, pictures, CPU), pictures)


def test_known_blur():
    sharp = torch.from_numpy(np.kron(np.random.default_rng(1).random((2, 3, 16, 16)), np.ones((4, 4)))).float()
    once, again = (synthetic_blur(sharp, np.random.default_rng(3)) for _ in range(2))
    assert once.shape == sharp.shape and torch.equal(once, again)
    assert torch.equal(once, once.clamp(0, 1))
    assert not torch.equal(once, synthetic_blur(sharp, np.random.default_rng(4)))
    # The colours stay in their places, the edges do not stay sharp.
    assert float((once.mean((2, 3)) - sharp.mean((2, 3))).abs().max()) < 0.1
    assert float((once[..., 1:] - once[..., :-1]).abs().mean()) < float((sharp[..., 1:] - sharp[..., :-1]).abs().mean())
