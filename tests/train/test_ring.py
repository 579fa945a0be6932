"""The ring of prepared crops: one by one or all together, the same pieces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deblurcli.train.ring import CPU, CropRing


def ring(together: bool, frames: tuple[int, ...]) -> CropRing:
    def draw(count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        pictures = torch.from_numpy(rng.random((count, *frames, 3, 24, 24), dtype=np.float32))
        return pictures, 1 - pictures[:, 0] if frames else 1 - pictures

    made = CropRing(draw, capacity=12, every=2, seed=3, group=4, first=2)
    made.together = together
    return made


@pytest.mark.parametrize("frames", [(), (5,)])
@pytest.mark.parametrize("size", [8, 24])
def test_crops_cut_out_together_are_those_cut_out_one_by_one(frames: tuple[int, ...], size: int) -> None:
    """All eight symmetries, before the ring is full, while it fills and when pairs are replaced."""
    one, all_at_once = ring(False, frames), ring(True, frames)
    for iteration in range(9):
        for each in (one, all_at_once):
            each.advance(iteration)
        wanted, found = (each.batch(iteration, 40, size, CPU) for each in (one, all_at_once))
        for expected, pieces in zip(wanted, found, strict=True):
            assert torch.equal(expected, pieces)
    assert all_at_once.made > all_at_once.slots


def test_a_ring_with_less_room_than_a_group_holds_one() -> None:
    """As on a graphics card, where groups are large."""
    made = CropRing(lambda count, _: (torch.zeros(count, 3, 8, 8),) * 2, capacity=2, every=4, seed=1, group=4)
    made.advance(0)
    assert made.batch(0, 3, 8, CPU)[0].shape == (3, 3, 8, 8)
