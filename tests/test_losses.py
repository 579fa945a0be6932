"""Losses: the reference values, gradients, and behaviour under reduced precision."""

import pytest
import torch
from parity import case, fill, seeded
from torch import nn

from deblurcli.losses import (
    LOSSES,
    authors_mimo_loss,
    charbonnier,
    clamp_parameters,
    critic_loss,
    edge,
    fft_l1,
    generator_loss,
    l1,
    l1_fft,
    laplacian,
    mimo_loss,
    mprnet_loss,
    psnr_loss,
)

NEAR = 1e-6


def test_reference_values_of_the_meta_transferring_code():
    facts, _ = case("mt_losses")
    losses = facts["losses"]
    a, b = seeded(7, (2, 3, 32, 48)), seeded(8, (2, 3, 32, 48))
    assert charbonnier(a, b).item() == pytest.approx(losses["CharbonnierLoss"], rel=NEAR)
    assert mprnet_loss(a, b).item() == pytest.approx(losses["MPRNetLoss_charbonnier_plus_0.05_edge"], rel=NEAR)
    assert authors_mimo_loss(a, b).item() == pytest.approx(losses["MIMOUNetLoss_L1_plus_0.1_fft1d"], rel=NEAR)
    assert l1(a, b).item() == pytest.approx(losses["RestormerLoss"], rel=NEAR)
    target = seeded(10, (1, 3, 64, 64))
    scales = [seeded(9, (1, 3, s, s)) for s in (16, 32, 64)]
    assert authors_mimo_loss(scales, target).item() == pytest.approx(losses["DeblurLoss_mimo"]["value"], rel=NEAR)
    stages = [scales[2]] * 3
    assert mprnet_loss(stages, target).item() == pytest.approx(losses["DeblurLoss_mprnet"]["value"], rel=NEAR)


def test_reference_values_of_mimo_unet():
    facts, arrays = case("mimo_unet")
    outputs = [torch.from_numpy(arrays[f"output_{i}"]) for i in range(3)]
    target = seeded(8, (1, 3, 64, 64))
    assert mimo_loss(outputs, target).item() == pytest.approx(facts["loss"]["total"], rel=NEAR)
    full = facts["loss"]["fft_terms_quarter_half_full"][2]
    assert fft_l1(outputs[2], target).item() == pytest.approx(full, rel=NEAR)


def test_reference_values_of_mprnet():
    facts, arrays = case("mprnet")
    target = seeded(8, (1, 3, 64, 64))
    outputs = [torch.from_numpy(arrays[f"output_{i}"]) for i in range(3)]
    for i, output in enumerate(outputs):
        assert charbonnier(output, target).item() == pytest.approx(facts["loss"]["charbonnier_per_output"][i], rel=NEAR)
        assert edge(output, target).item() == pytest.approx(facts["loss"]["edge_per_output"][i], rel=NEAR)
    assert mprnet_loss(outputs, target).item() == pytest.approx(facts["loss"]["total"], rel=NEAR)
    assert laplacian(target).std().item() == pytest.approx(facts["edge_laplacian_of_target"]["std"], rel=1e-4)


def test_reference_values_of_nafnet():
    facts, arrays = case("nafnet_w32")
    output, target = torch.from_numpy(arrays["output_0"]), seeded(8, (1, 3, 64, 64))
    assert psnr_loss(output, target).item() == pytest.approx(facts["loss"]["value_output_0"], rel=NEAR)
    batch = psnr_loss(seeded(9, (2, 3, 16, 16)), seeded(10, (2, 3, 16, 16)))
    assert batch.item() == pytest.approx(facts["loss"]["batch_case_value"], rel=NEAR)


class Stand(nn.Module):
    """The tiny critic that the recorded update used."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
        pieces = [nn.Linear(16, 8), nn.ReLU(), nn.Identity(), nn.Linear(8, 4096), nn.ReLU(), nn.Identity()]
        self.classifier = nn.Sequential(*pieces, nn.Linear(4096, 1))

    def forward(self, x):
        x = torch.nn.functional.adaptive_avg_pool2d(self.features(x).relu(), 2)
        return self.classifier(x.flatten(1))


def test_critic_update_follows_the_reference():
    facts, arrays = case("mt_losses")
    facts = facts["wgan_critic"]
    critic = fill(Stand()).train()
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(0.02)
    optimiser = torch.optim.RMSprop(critic.parameters(), lr=1e-6)
    real, fake = seeded(12, (1, 3, 8, 8)), seeded(11, (1, 3, 8, 8))
    compared = 0
    for step in (1, 2, 3):
        optimiser.zero_grad()
        critic_loss(critic(real), critic(fake)).backward()
        optimiser.step()
        clamp_parameters(critic, 0.01)
        expected = facts["generator_loss_after_step_1_2_3"][step - 1]
        assert generator_loss(critic(fake)).item() == pytest.approx(expected, rel=1e-5)
        for name, parameter in critic.named_parameters():
            if f"critic_after{step}_{name}" in arrays:
                stored = torch.from_numpy(arrays[f"critic_after{step}_{name}"])
                torch.testing.assert_close(parameter.detach(), stored, rtol=1e-6, atol=1e-8)
                compared += 1
    assert compared == 12


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_falls_towards_the_target_and_has_a_finite_gradient(name):
    target = seeded(1, (2, 3, 32, 32))
    near = (target + 0.01 * seeded(2, (2, 3, 32, 32))).requires_grad_()
    far = target + 0.2 * seeded(2, (2, 3, 32, 32))
    assert LOSSES[name](near, target) < LOSSES[name](far, target)
    LOSSES[name](near, target).backward()
    assert near.grad is not None and near.grad.isfinite().all() and near.grad.abs().max() > 0
    same = target.clone().requires_grad_()
    LOSSES[name](same, target).backward()
    assert same.grad is not None and same.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_float32_under_autocast(name):
    output, target = seeded(3, (1, 3, 32, 32)).bfloat16(), seeded(4, (1, 3, 32, 32))
    expected = LOSSES[name](output.float(), target)
    with torch.autocast("cpu", torch.bfloat16):
        value = LOSSES[name](output, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)


def test_l1_fft_does_not_depend_on_the_size_of_the_crop():
    small, large = (l1_fft(torch.randn(4, 3, s, s), torch.zeros(4, 3, s, s)).item() for s in (64, 256))
    assert small == pytest.approx(large, rel=0.05)


def test_l1_fft_is_its_definition():
    a, b = seeded(5, (2, 3, 16, 20)), seeded(6, (2, 3, 16, 20))
    spectra = [torch.fft.rfft2(x, norm="ortho") for x in (a, b)]
    assert l1_fft(a, b).item() == pytest.approx(
        (l1(a, b) + 0.5 * torch.view_as_real(spectra[0] - spectra[1]).abs().mean()).item(), rel=1e-5
    )


def test_critic_losses_and_clamp():
    real, fake = torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 2, 2), -1.0)
    assert critic_loss(real, fake).item() == -4
    assert generator_loss(fake).item() == 1
    layer = nn.Linear(8, 8)
    clamp_parameters(layer, 0.01)
    assert max(p.abs().max().item() for p in layer.parameters()) <= 0.01
