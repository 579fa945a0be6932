"""The inner update of the meta method: what moves, what stays, what is undone."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from deblurcli.adapt.meta import Adaptation, adapt
from deblurcli.adapt.survey import Survey, survey
from deblurcli.device import pick_device
from deblurcli.networks import NETWORKS
from deblurcli.options import AdaptOptions
from deblurcli.report import Reporter

CPU = pick_device("cpu", "fp32")
SPEC = NETWORKS["plain-unet"]
OPTIONS = AdaptOptions(patches=8, patch_size=64, deblur_rate=1e-4, reblur_rate=1e-4)


class Blurs(nn.Module):
    """A stand-in for the reblurring network: averages the centre frame along x by a learnt amount."""

    def __init__(self) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(0.8))

    def forward(self, window: Tensor) -> Tensor:
        centre = window[:, window.shape[1] // 2]
        blurred = nn.functional.avg_pool2d(centre, (1, 7), 1, (0, 3), count_include_pad=False)
        return centre + self.amount * (blurred - centre)


@pytest.fixture
def networks() -> tuple[nn.Module, nn.Module, nn.Module]:
    torch.manual_seed(5)
    return (
        SPEC.build(width=16, deep_width=16, blocks=(1, 1, 1)),
        Blurs(),
        NETWORKS["patch-critic"].build(channels=8),
    )


@pytest.fixture
def support() -> Survey:
    torch.manual_seed(6)
    smooth = nn.functional.interpolate(torch.rand(7, 3, 24, 24), size=96, mode="bicubic").clamp(0, 1)
    return survey(list(smooth), patches=12, size=64, seed=2)


def run(networks: tuple[nn.Module, ...], support: Survey, options: AdaptOptions) -> tuple[nn.Module, Adaptation]:
    deblur, reblur, critic = networks
    return adapt(deblur, SPEC, reblur, critic, support, options, CPU, Reporter.silent())


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_adaptation_lowers_the_loss_on_held_out_patches(networks, support) -> None:  # type: ignore[no-untyped-def]
    before = [weights(m) for m in networks]
    adapted, done = run(networks, support, replace(OPTIONS, steps=24, deblur_rate=1e-3))
    assert done.kept and done.held_out_after < 0.97 * done.held_out_before
    assert len(done.reblur_losses) == len(done.deblur_losses) == 24
    assert not same(weights(adapted), before[0])
    assert [same(weights(m), b) for m, b in zip(networks, before, strict=True)] == [True] * 3, "originals were touched"
    assert not adapted.training and not any(p.requires_grad for p in adapted.parameters())


def test_equal_seeds_give_equal_weights(networks, support) -> None:  # type: ignore[no-untyped-def]
    one, _ = run(networks, support, OPTIONS)
    two, _ = run(networks, support, OPTIONS)
    other, _ = run(networks, support, replace(OPTIONS, seed=44))
    assert same(weights(one), weights(two))
    assert not same(weights(one), weights(other))


def test_the_guard_undoes_what_makes_held_out_patches_worse(networks, support) -> None:  # type: ignore[no-untyped-def]
    adapted, done = run(networks, support, replace(OPTIONS, deblur_rate=0.5))
    assert not done.kept and ("held-out" in done.reason or "finite" in done.reason or "became" in done.reason)
    assert adapted is networks[0]


def test_the_guard_undoes_a_loss_that_is_not_finite(networks, support) -> None:  # type: ignore[no-untyped-def]
    class Breaks(Blurs):
        calls = 0

        def forward(self, window: Tensor) -> Tensor:
            type(self).calls += 1
            return super().forward(window) * (float("nan") if type(self).calls == 3 else 1)

    before = weights(networks[0])
    adapted, done = run((networks[0], Breaks(), networks[2]), support, OPTIONS)
    assert not done.kept and "nan" in done.reason
    assert adapted is networks[0] and same(weights(adapted), before)


def test_the_deblurring_network_moves_in_the_cycle_unless_frozen(networks, support) -> None:  # type: ignore[no-untyped-def]
    free, _ = run(networks, support, replace(OPTIONS, cycle_weight=1.0, freeze_deblur_in_cycle=False))
    frozen, _ = run(networks, support, replace(OPTIONS, cycle_weight=1.0))
    assert not same(weights(free), weights(frozen))


def test_the_reblurring_network_learns_in_phase_one_only(networks, support, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    seen: list[float] = []

    class Watched(Blurs):
        def forward(self, window: Tensor) -> Tensor:
            seen.append(float(self.amount.detach()))
            return super().forward(window)

    run((networks[0], Watched(), networks[2]), support, OPTIONS)
    phase_one, rest = seen[:8], seen[8:]
    assert len(set(phase_one)) == 8
    assert len(set(rest)) == 1


def test_zero_steps_change_nothing(networks, support) -> None:  # type: ignore[no-untyped-def]
    adapted, done = run(networks, support, replace(OPTIONS, steps=0))
    assert done.kept and done.reblur_losses == done.deblur_losses == []
    assert same(weights(adapted), weights(networks[0]))


def test_held_out_patches_are_never_learnt_from(networks, support) -> None:  # type: ignore[no-untyped-def]
    one, done = run(networks, support, replace(OPTIONS, patches=3))
    assert len(done.deblur_losses) == 3 and done.held_out_before > 0
    other = Survey([*support.patches[:3], support.patches[-1]], support.size, support.frames)
    two, _ = run(networks, other, replace(OPTIONS, patches=3))
    assert same(weights(one), weights(two))


def test_one_patch_and_copy_of_networks(networks, support) -> None:  # type: ignore[no-untyped-def]
    backup = copy.deepcopy(networks[2].state_dict())
    run(networks, Survey(support.patches[:1], support.size, support.frames), OPTIONS)
    assert all(torch.equal(v, backup[k]) for k, v in networks[2].state_dict().items())


def test_a_network_that_sees_neighbours_adapts_on_windows(support: Survey) -> None:
    torch.manual_seed(7)
    spec = NETWORKS["video-unet"]
    network = spec.build(
        width=16, deep_width=16, blocks=(1, 1, 1), base={"width": 16, "deep_width": 16, "blocks": (1, 1, 1)}
    )
    options = replace(OPTIONS, steps=6, deblur_rate=1e-3)
    critic = NETWORKS["patch-critic"].build(channels=8)
    adapted, done = adapt(network, spec, Blurs(), critic, support, options, CPU, Reporter.silent())
    assert done.kept and done.held_out_after < done.held_out_before
    assert not same(weights(adapted), weights(network))
