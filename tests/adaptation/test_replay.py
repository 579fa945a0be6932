"""Blur of every kind, as in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import scene

from deblurcli.adaptation.replay import replay_blur


@pytest.mark.parametrize(("height", "width"), [(64, 64), (72, 96)])
def test_replayed_blur_has_the_shape_of_its_target_which_is_the_picture(height: int, width: int) -> None:
    picture = scene(1, height, width)[None]
    before = picture.clone()
    blurred, target, border = replay_blur(picture, np.random.default_rng(1))
    assert blurred.shape == picture.shape and blurred.dtype == torch.float32
    assert torch.equal(target, before) and torch.equal(picture, before)
    assert blurred.min() >= 0 and blurred.max() <= 1 and isinstance(border, int)


def test_it_goes_by_its_generator() -> None:
    picture = scene(2, 64, 64)[None]
    one, other, third = (replay_blur(picture, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one[0], other[0]) and one[2] == other[2] and not torch.equal(one[0], third[0])


def test_it_is_of_many_lengths_and_leaves_something_within_its_border() -> None:
    picture, rng = scene(3, 64, 64)[None], np.random.default_rng(3)
    found = [replay_blur(picture, rng) for _ in range(24)]
    borders = [border for _, _, border in found]
    assert 0 <= min(borders) < 4 and max(borders) > 8 and 2 * max(borders) < 64
    apart = [float((blurred - picture).abs().mean()) for blurred, _, _ in found]
    order = np.argsort(borders)
    assert np.mean([apart[i] for i in order[-8:]]) > 1.5 * np.mean([apart[i] for i in order[:8]])
