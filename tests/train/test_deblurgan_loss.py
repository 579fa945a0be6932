"""Losses as published: DeblurGAN's with its critic, MIMO-UNet's at all scales, DBN's; and critics of other kinds."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from end_to_end import deblur
from safetensors.torch import load_file
from small_networks import placed, randomised
from torch import Tensor, nn
from trees import make_dataset

from deblurcli.adaptation.translation import gradient_penalty
from deblurcli.device import pick_device
from deblurcli.errors import UsageError, WeightsError
from deblurcli.losses import authors_mimo_loss, mimo_loss
from deblurcli.networks import NETWORKS
from deblurcli.networks.blocks import convolutions, wide
from deblurcli.networks.critic import PatchCritic, VGGCritic
from deblurcli.options.train import DeblurTraining
from deblurcli.train import deblurgan_loss
from deblurcli.train.deblurgan_loss import DeblurGANLoss
from deblurcli.train.parallel import Peers
from deblurcli.train.recipe import chosen_loss
from deblurcli.train.stages.reblur import MIN_CRITIC_RATE
from deblurcli.weights.load import load_network
from deblurcli.weights.save import save_network

CPU = pick_device("cpu", "fp32")


class SmallVGG(VGGCritic):
    """The layers of VGG19 up to conv3_3 in their places, but narrow; and a score."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.features = convolutions([*wide(4, 2), 2, *wide(6, 2), 2, *wide(8, 4)])
        self.classifier = nn.Linear(8, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(self.features(image).mean((2, 3)))


@pytest.fixture
def vgg() -> nn.Module:
    return randomised(SmallVGG(), 3, 2.0).requires_grad_(False)


@pytest.fixture(autouse=True)
def small_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "vgg19-critic", replace(NETWORKS["vgg19-critic"], build=SmallVGG))


def test_the_layer_is_conv3_3() -> None:
    real = VGGCritic.__mro__[0]
    with torch.device("meta"):
        layers = real().features[: deblurgan_loss.CONTENT_LAYERS]
    convolved = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolved] == [64, 64, 128, 128, 256, 256, 256]
    assert layers[-1] is convolved[-1]


@pytest.mark.parametrize("by_pixel", [False, True])
def test_the_loss_by_hand(by_pixel: bool, vgg: nn.Module) -> None:
    generator = torch.Generator().manual_seed(2)
    restored, sharp = (torch.rand(2, 3, 64, 64, generator=generator) for _ in range(2))
    restored.requires_grad_(True)
    loss = DeblurGANLoss(placed(vgg, "vgg19-critic"), CPU, Peers(), by_pixel=by_pixel, seed=7)
    assert isinstance(loss.critic.module, PatchCritic)
    assert loss.critic.module(sharp).shape == (2, 1, 11, 11), "padded by two pixels"
    again = DeblurGANLoss(placed(vgg, "vgg19-critic"), CPU, Peers(), by_pixel=by_pixel, seed=7).critic.module
    before = [parameter.detach().clone() for parameter in again.parameters()]
    found = loss(restored, sharp)
    adam = torch.optim.Adam(again.parameters(), lr=1e-4, betas=(0.5, 0.999))
    fake, real = 2 * restored - 1, 2 * sharp - 1
    for step in range(5):
        mixture = torch.rand(2, generator=torch.Generator().manual_seed(7 * 1_000_003 + step))[:, None, None, None]
        between = (mixture * real + (1 - mixture) * fake).detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(again(between).sum(), between, create_graph=True)
        length = (slope + 1e-16).square().sum(1 if by_pixel else (1, 2, 3)).sqrt()
        adam.zero_grad()
        total = again(fake.detach()).mean() - again(real).mean() + 10 * (length - 1).square().mean()
        total.backward()
        adam.step()
    for (name, one), other, start in zip(
        loss.critic.module.named_parameters(), again.parameters(), before, strict=True
    ):
        # Biases that a norm, or the difference of two scores, takes off again have no slope but rounding.
        if name not in ("model.2.bias", "model.5.bias", "model.8.bias", "model.11.bias"):
            off, moved = (float((other - each).detach().abs().mean()) for each in (one, start))
            assert off < 0.02 * moved, name
    features = nn.Sequential(*list(vgg.features)[:15])  # type: ignore[arg-type]
    expected = -again(fake).mean() + 100 * (features(fake) - features(real)).square().mean()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-3)
    (mine,), (hand,) = torch.autograd.grad(found, restored), torch.autograd.grad(expected, restored)
    assert torch.allclose(mine, hand, rtol=1e-2, atol=1e-5)


def test_the_penalty_of_the_authors_is_that_of_pixels() -> None:
    class Slope(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 3 * x.sum((1, 2, 3))

    pictures = [torch.rand(2, 3, 4, 4) for _ in range(2)]
    found = gradient_penalty(Slope(), *pictures, torch.tensor([0.3, 0.9]), by_pixel=True)
    assert float(found) == pytest.approx((3 * 3**0.5 - 1) ** 2, rel=1e-5)


def test_it_needs_a_vgg19() -> None:
    with pytest.raises(WeightsError, match="c is a patch-critic; give --perceptual a VGG19, such as vgg19-critic"):
        DeblurGANLoss(placed(PatchCritic(4), "patch-critic", name="c"), CPU, Peers(), by_pixel=False, seed=1)


def test_which_loss_is_chosen(tmp_path: Path) -> None:
    def options(**given: Any) -> DeblurTraining:
        return DeblurTraining(data=tmp_path, out=tmp_path, iterations=1, **given)

    for recipe in ("paper", "authors"):
        assert options(network="deblurgan", recipe=recipe).adversarial
    assert options(loss="deblurgan").adversarial
    assert not options(network="deblurgan").adversarial
    assert not options(network="deblurgan", recipe="paper", loss="l1").adversarial
    with pytest.raises(UsageError, match=r"--perceptual v\.pth would not be used; give --loss deblurgan, or leave"):
        options(perceptual="v.pth")


@pytest.mark.parametrize(("name", "expected"), [("mimo", mimo_loss), ("authors_mimo", authors_mimo_loss)])
def test_losses_of_all_scales_can_be_chosen(name: str, expected: Any, tmp_path: Path) -> None:
    options = DeblurTraining(data=tmp_path, out=tmp_path, iterations=1, network="mimo-unet", loss=name)
    scales, sharp = [torch.rand(1, 3, side, side) for side in (8, 16, 32)], torch.rand(1, 3, 32, 32)
    found = chosen_loss(options, NETWORKS["mimo-unet"])(scales, sharp)
    assert torch.equal(found, expected(scales, sharp)) and not torch.equal(found, expected(scales[-1:], sharp))


def test_dbn_has_the_loss_of_its_paper() -> None:
    assert NETWORKS["dbn"].loss == "mse"


def saved(path: Path, network: str, module: nn.Module, config: dict[str, Any]) -> Path:
    save_network(path, module, network=network, config=config, card={})
    return path


def words(dataset: Path, out: Path, stage: str, *more: object) -> list[object]:
    found: list[object] = ["train", stage, "--pairs", dataset, "--layout", "gopro", "--out", out, "--batch", "1"]
    return [*found, "--crops", "64", "--ring", "6", "--device", "cpu", "--dtype", "fp32", "-q", *more]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    make_dataset(tmp_path / "data", "gopro", (80, 96))
    return tmp_path / "data"


def test_deblurgan_is_trained_as_published(
    dataset: Path, vgg: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"blocks": 1, "dropout": False}
    start = saved(tmp_path / "d.safetensors", "deblurgan", randomised(NETWORKS["deblurgan"].build(**config), 1), config)
    features = saved(tmp_path / "v.safetensors", "vgg19-critic", vgg, {})
    given = ["--network", "deblurgan", "--from", start, "--recipe", "paper", "--perceptual", features]
    assert deblur(*words(dataset, tmp_path / "whole", "deblur", *given, "--iterations", "3")) == 0
    with (tmp_path / "whole" / "log.csv").open() as file:
        assert float(list(csv.DictReader(file))[-1]["rate"]) == pytest.approx(2e-4 / 3, rel=1e-4), "at 2 of 3, falling"
    card = load_network(tmp_path / "whole" / "deblurgan.safetensors", role="deblur").card
    assert card["perceptual"].startswith("v (")
    critic = load_network(tmp_path / "whole" / "patch-critic.safetensors", role="critic")
    assert critic.config == {"channels": 64, "padding": 2}
    real, left = DeblurGANLoss.__call__, iter(range(1))

    def interrupted(self: DeblurGANLoss, *pictures: Tensor) -> Tensor:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(self, *pictures)

    with monkeypatch.context() as patched:
        patched.setattr(DeblurGANLoss, "__call__", interrupted)
        assert deblur(*words(dataset, tmp_path / "parts", "deblur", *given, "--iterations", "3")) == 130
    assert deblur(*words(dataset, tmp_path / "parts", "deblur", *given, "--iterations", "3")) == 0
    for name in ("deblurgan", "patch-critic"):
        whole, parts = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("whole", "parts"))
        assert all(torch.equal(value, parts[key]) for key, value in whole.items()), name


def test_a_vgg19_is_trained_as_critic(dataset: Path, vgg: nn.Module, tmp_path: Path) -> None:
    reblur = randomised(NETWORKS["videoadapt-small"].build(n_feats=4), 2, 0.3)
    start = saved(tmp_path / "r.safetensors", "videoadapt-small", reblur, {"n_feats": 4})
    critic = saved(tmp_path / "v.safetensors", "vgg19-critic", vgg, {})
    given = ["--network", "videoadapt-small", "--from", start, "--critic", critic, "--recipe", "paper"]
    given += ["--critic-rate", "1e-3", "--iterations", "3"]
    assert deblur(*words(dataset, tmp_path / "run", "reblur", *given)) == 0
    found = load_network(tmp_path / "run" / "vgg19-critic.safetensors", role="critic")
    assert found.network == "vgg19-critic" and found.card["critic"].startswith("v (")
    before = vgg.state_dict()
    learnt = []
    for key, value in found.module.state_dict().items():
        learnt += [key] * (not torch.equal(value, before[key].clamp(-0.01, 0.01).half().float()))
        assert float(value.abs().max()) <= 0.01 + 1e-5, "half precision rounds"
    assert "features.0.weight" in learnt and len(learnt) > 4  # clipped to 0.01, deep layers have hardly a slope
    assert not (tmp_path / "run" / "patch-critic.safetensors").exists()
    assert MIN_CRITIC_RATE < 2e-6
