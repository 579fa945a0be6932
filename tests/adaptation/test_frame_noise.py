"""Noise of a camera: blocks come from where frames show nothing, and pairs with it come first."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from deblurcli.adaptation.frame_noise import SIDE, NoiseBlocks, smooth_blocks, stands_still, still_blocks
from deblurcli.adaptation.translation import PAIRS_RATE, RECIPES, Translation, new_critic, new_generator
from deblurcli.device import pick_device
from deblurcli.optimiser import Muon


def frames() -> Tensor:
    """Forty pieces with noise of 0.05, of which the first ten show nothing else; one more is too dark."""
    generator = torch.Generator().manual_seed(0)
    flat = 0.3 + 0.4 * torch.rand(40, 3, 1, 1, generator=generator).expand(40, 3, SIDE, SIDE)
    cells = torch.rand(30, 3, 8, 8, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
    shown = torch.cat([flat[:10], cells, torch.zeros(1, 3, SIDE, SIDE)])
    noise = 0.05 * torch.randn(shown.shape, generator=generator)
    return torch.cat([shown[:40] + noise[:40], shown[40:]])


def test_blocks_are_the_noise_of_smooth_pieces() -> None:
    blocks = NoiseBlocks(smooth_blocks(frames())).blocks
    assert blocks.shape == (8, 3, SIDE, SIDE)
    assert abs(float(blocks.std()) - 0.05) < 0.001 and abs(float(blocks.mean())) < 1e-4
    assert all(any(torch.allclose(block, found) for found in left(frames()[:10])) for block in blocks)


def scene(side: int = 160, finest: int = 8) -> Tensor:
    """3 x S x S of random cells that grow from ``finest`` pixels on, as pictures have detail of every size."""
    generator = torch.Generator().manual_seed(5)
    shown = torch.zeros(1, 3, side, side)
    for cell in (finest, 2 * finest, 4 * finest):
        cells = torch.rand(1, 3, -(-side // cell), -(-side // cell), generator=generator)
        shown += torch.nn.functional.interpolate(cells, size=(side, side), mode="bicubic") / 3
    return shown[0].clamp(0.1, 0.9)


def noisy(picture: Tensor, deviation: float, seed: int) -> Tensor:
    return picture + deviation * torch.randn(picture.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("deviation", [0.003, 0.02, 0.06])
def test_what_changes_where_a_scene_stands_still_is_its_noise(deviation: float) -> None:
    """Whatever the scene shows, and whether the noise is strong or next to none."""
    one, other = (noisy(scene(), deviation, seed) for seed in (1, 2))
    assert stands_still(one, other)
    blocks = still_blocks(one, other, 20, np.random.default_rng(0))
    assert len(blocks) > 10 and float(blocks.std()) == pytest.approx(deviation, rel=0.02)
    assert NoiseBlocks(blocks).level == pytest.approx(-20 * math.log10(deviation), abs=0.3)


@pytest.mark.parametrize("deviation", [0.003, 0.04])
@pytest.mark.parametrize("moved", [1, 2, 5, 12, 40])
def test_a_scene_that_moves_does_not_stand_still(deviation: float, moved: int) -> None:
    wide = scene(200)
    one, other = noisy(wide[:, :160, :160], deviation, 1), noisy(wide[:, :160, moved : moved + 160], deviation, 2)
    assert not stands_still(one, other) and not stands_still(one.transpose(1, 2), other.transpose(1, 2))


def test_a_repeated_frame_another_scene_and_small_frames_do_not_stand_still() -> None:
    one = noisy(scene(), 0.02, 1)
    assert not stands_still(one, one.clone())
    assert not stands_still(one, noisy(scene().flip(-1), 0.02, 2))
    assert not stands_still(noisy(scene(32), 0.01, 1), noisy(scene(32), 0.01, 2))


def test_places_where_noise_is_cut_off_give_none() -> None:
    one, other = (noisy(torch.zeros(3, 96, 96), 0.02, seed).clamp(0, 1) for seed in (1, 2))
    assert still_blocks(one, other, 5, np.random.default_rng(0)).shape == (0, 3, SIDE, SIDE)


def test_smooth_parts_give_the_noise_where_hardly_anything_stands_still() -> None:
    still = 0.02 * torch.randn(9, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    assert torch.equal(NoiseBlocks.measured([still[:4], still[4:]], frames()).blocks, still)
    assert torch.equal(NoiseBlocks.measured([still[:4]], frames()).blocks, smooth_blocks(frames()))


def test_what_is_mostly_shading_is_not_learnt_from() -> None:
    """The smooth parts show 0.05: with noise of 0.035 they are used, with noise of 0.025 they are not."""
    still = torch.randn(9, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    for deviation, used in ((0.05, smooth_blocks(frames())), (0.035, smooth_blocks(frames())), (0.025, 0.025 * still)):
        assert torch.equal(NoiseBlocks.to_learn_from([deviation * still], frames()).blocks, used)


def left(pieces: Tensor) -> list[Tensor]:
    """Each piece without what the cells of 16 pixels are bright."""
    cells = torch.nn.functional.avg_pool2d(pieces, 16)
    smooth = torch.nn.functional.interpolate(cells, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return list(pieces - smooth)


def test_drawn_noise_is_put_together_from_blocks_and_depends_on_the_generator_alone() -> None:
    blocks = NoiseBlocks(smooth_blocks(frames()))
    one, two = (blocks.draw(6, 100, np.random.default_rng(3)) for _ in range(2))
    assert one.shape == (6, 3, 100, 100) and torch.equal(one, two)
    assert not torch.equal(one, blocks.draw(6, 100, np.random.default_rng(4)))
    strengths = one.flatten(1).std(1) / 0.05
    assert 0 <= float(strengths.min()) < 0.4 < 0.9 < float(strengths.max()) < 1.27  # weaker than found, down to none


def test_a_translator_that_learns_from_pairs_alone_removes_the_noise_of_known_blur() -> None:
    """The blurred pictures are not looked at as long as there are the pairs alone."""
    recipe, device = replace(RECIPES["ours"], alone=1.0), pick_device("cpu", "fp32")
    generator, _ = new_generator(recipe, 1)
    critic = new_critic(recipe, 1)
    before = [p.clone() for p in critic.parameters()]
    noise = NoiseBlocks(smooth_blocks(frames()))
    translation = Translation(generator, critic, recipe, None, device, noise=noise, rate=1e-4)
    known = torch.full((2, 3, 64, 64), 0.5)
    unseen = torch.full_like(known, torch.nan)
    losses = [translation.step(unseen, known, number / 120)["pairs"] for number in range(120)]
    assert sum(losses[-30:]) < 0.85 * sum(losses[:30])
    assert all(torch.equal(one, other) for one, other in zip(before, critic.parameters(), strict=True))


def test_detail_is_learnt_beside_brightness_within_a_few_steps() -> None:
    """A new translator sees detail: what noise adds to pictures of ten times its contrast soon gets less."""
    recipe, device = replace(RECIPES["ours"], alone=1.0), pick_device("cpu", "fp32")
    generator, _ = new_generator(recipe, 1)
    noise, rng = NoiseBlocks(smooth_blocks(frames())), np.random.default_rng(2)
    known = torch.nn.functional.interpolate(
        torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(1)), size=(128, 128), mode="bicubic"
    ).clamp(0, 1)
    translation = Translation(generator, new_critic(recipe, 1), recipe, None, device, noise=noise, rate=1e-4)
    for number in range(80):
        translation.step(known, known, number / 80)
    noisy = (known + noise.draw(4, 128, rng)).clamp(0, 1)
    with torch.no_grad():
        left = float((generator(noisy) - known).abs().mean())
    assert left < 0.94 * float((noisy - known).abs().mean())


def test_pairs_have_an_optimiser_of_their_own_and_then_the_critic_joins() -> None:
    recipe, device = RECIPES["ours"], pick_device("cpu", "fp32")
    generator, _ = new_generator(recipe, 1)
    critic = new_critic(recipe, 1)
    translation = Translation(generator, critic, recipe, None, device, noise=NoiseBlocks(smooth_blocks(frames())))
    assert isinstance(translation.optimiser, Muon)
    assert [translation.pace(share * recipe.alone) for share in (0.0, 0.1, 0.5, 0.75)] == pytest.approx(
        [0.05, 1, 1, 0.5]
    )
    assert translation.alone and translation.pace(recipe.alone) == 0.1 and not translation.alone
    rates = [group["lr"] / group["ratio"] for group in translation.optimiser.param_groups]
    assert rates == [pytest.approx(0.1 * PAIRS_RATE * 2e-4)] * 2
    assert translation.critic_optimiser.param_groups[0]["lr"] == 2e-4
    known = torch.full((1, 3, 128, 128), 0.5)
    assert set(translation.step(known, known, 0.9)) == {"critic", "adversarial", "pairs"}
    unpaired = Translation(generator, critic, recipe, None, device)
    assert unpaired.pace(0.0) == 1 and isinstance(unpaired.optimiser, torch.optim.Adam)
