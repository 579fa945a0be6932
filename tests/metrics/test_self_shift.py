"""Self-shift score: the reference values, the definition, and scoring many crops of one frame."""

import time

import pytest
import torch
from parity import case, seeded

from deblurcli.metrics.self_shift import SHIFTS, score_locations, self_shift_score, smoothness

NAMES = ["uniform_noise_seed_7", "uniform_noise_seed_8", "ramp", "constant", "disc"]


@pytest.mark.parametrize("name", NAMES)
def test_reference_scores(name):
    facts, arrays = case("mt_losses")
    crop = torch.from_numpy(arrays[f"selfshift_{name}"]).permute(2, 0, 1)[None] / 255
    assert self_shift_score(crop).item() == pytest.approx(facts["self_shift"]["scores"][name], rel=1e-6)


def by_definition(crop):
    """Four PSNRs in double precision, values 0..255, for one 3 x h x w crop."""
    x = 255 * crop.double()
    pairs = [
        (x[:, :, 1:], x[:, :, :-1]),
        (x[:, 1:], x[:, :-1]),
        (x[:, 1:, 1:], x[:, :-1, :-1]),
        (x[:, 1:, :-1], x[:, :-1, 1:]),
    ]
    mses = [(a - b).square().mean() for a, b in pairs]
    return sum(100.0 if mse == 0 else (10 * torch.log10(255**2 / mse)).item() for mse in mses)


def corners_of(height, width, size, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    top = torch.randint(0, height - size + 1, (count,), generator=generator)
    left = torch.randint(0, width - size + 1, (count,), generator=generator)
    return torch.stack([top, left], 1)


def test_a_batch_is_scored_crop_by_crop():
    crops = torch.stack([seeded(1, (3, 40, 56)), torch.full((3, 40, 56), 0.3), seeded(2, (3, 40, 56)) * 0.1])
    scores = self_shift_score(crops)
    assert scores.shape == (3,)
    assert scores.tolist() == pytest.approx([by_definition(crop) for crop in crops], rel=1e-6)


def test_blur_raises_the_score():
    sharp = seeded(3, (1, 3, 64, 64))
    blurred = torch.nn.functional.avg_pool2d(sharp, 3, 1, 1)
    assert self_shift_score(sharp) < self_shift_score(blurred)


def test_locations_agree_with_separate_crops():
    frame = seeded(4, (3, 120, 176))
    frame[:, :, 80:] *= 0.01
    corners = torch.cat([corners_of(120, 176, 64, 30), torch.tensor([[0, 0], [56, 112], [0, 112], [56, 0]])])
    scores = score_locations(frame, corners, 64)
    expected = [by_definition(frame[:, t : t + 64, left : left + 64]) for t, left in corners.tolist()]
    assert scores.tolist() == pytest.approx(expected, rel=1e-6)


def test_bytes_are_scored_as_what_they_mean():
    frame = (255 * seeded(9, (3, 120, 176))).round().byte()
    frame[:, :, 80:] //= 50
    corners = torch.cat([corners_of(120, 176, 64, 20), torch.tensor([[0, 0], [56, 112]])])
    scores = score_locations(frame, corners, 64)
    expected = [by_definition(frame[:, t : t + 64, left : left + 64] / 255) for t, left in corners.tolist()]
    assert scores.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_flat_crop_beside_a_busy_one_counts_as_identical():
    frame = seeded(5, (3, 96, 192))
    frame[:, :, 96:] = 0.7
    scores = score_locations(frame, torch.tensor([[10, 100], [10, 10]]), 64)
    assert scores[0] == 400
    assert scores[1] < 60


def test_crops_outside_the_frame_are_refused():
    frame = seeded(6, (3, 64, 64))
    for corner in ([0, 1], [1, 0], [-1, 0]):
        with pytest.raises(ValueError, match="outside the frame"):
            score_locations(frame, torch.tensor([corner]), 64)


def test_the_frame_is_left_alone():
    frame = seeded(7, (3, 64, 64))
    before = frame.clone()
    score_locations(frame, torch.tensor([[0, 0]]), 32)
    self_shift_score(frame[None])
    assert torch.equal(frame, before)


def test_twenty_patches_of_a_720p_frame_are_quick():
    frame, corners = seeded(8, (3, 720, 1280)), corners_of(720, 1280, 256, 20)
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        score_locations(frame, corners, 256)
        taken.append(time.perf_counter() - start)
    # About 10 ms on an idle core; the bound leaves room for a slow or busy machine.
    assert min(taken) < 0.15


@pytest.mark.parametrize(("kernel", "most"), [((1, 9), (0, 1)), ((9, 1), (1, 0))])
def test_blur_makes_smooth_along_its_direction(kernel: tuple[int, int], most: tuple[int, int]) -> None:
    crop = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    blurred = torch.nn.functional.avg_pool2d(crop, kernel, 1)
    found = smoothness(blurred)
    assert torch.equal(found.sum(1), self_shift_score(blurred)) and found.shape == (2, 4)
    assert [SHIFTS[number] for number in found.argmax(1)] == [most] * 2
    assert (smoothness(crop).amax(1) - smoothness(crop).amin(1)).max() < 0.5
