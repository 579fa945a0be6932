"""Sharp frames stay as they are, blurred ones get all of their change, and what lies between fades."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch

from deblurcli.metrics.edge_strength import edge_strength
from deblurcli.restore.fading import FADE_FRAMES, PARTLY, SHARP_BELOW, Fading, gain_of


def shares(gains: list[float], cuts: set[int] = frozenset()) -> list[float]:  # type: ignore[assignment]
    """What each frame gets, as a stream gives it; it must come in order, and no later than it may."""
    fading: Fading[int] = Fading()
    found: list[tuple[int, float]] = []
    for number, gain in enumerate(gains):
        found += fading.add(number, gain, number in cuts)
        assert len(found) >= number + 1 - Fading.reach
    found += fading.rest()
    assert [number for number, _ in found] == list(range(len(gains)))
    return [share for _, share in found]


SHARP, BLURRED = 1.0, SHARP_BELOW + PARTLY


def test_what_fades_lies_in_the_sharp_frames_beside() -> None:
    found = shares([SHARP] * 6 + [BLURRED] * 3 + [SHARP] * 6)
    assert found == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0]


def test_nothing_fades_across_a_cut() -> None:
    assert shares([BLURRED] * 3 + [SHARP] * 3 + [BLURRED] * 2, {3, 6}) == [1, 1, 1, 0, 0, 0, 1, 1]


def test_any_gains_give_the_smallest_shares_that_fade() -> None:
    rng = random.Random(1)
    for _ in range(50):
        gains = [rng.choice([SHARP, SHARP, SHARP_BELOW + PARTLY * rng.random(), 2.0]) for _ in range(20)]
        own = [min(1.0, max(0.0, (gain - SHARP_BELOW) / PARTLY)) for gain in gains]
        found = shares(gains)
        wanted = [max(0.0, *(o - abs(s - t) / FADE_FRAMES for s, o in enumerate(own))) for t in range(20)]
        assert found == pytest.approx(wanted, abs=1e-12)
        assert max(abs(a - b) for a, b in itertools.pairwise(found)) <= 1 / FADE_FRAMES + 1e-12


def test_a_stream_that_begins_later_agrees_bit_for_bit() -> None:
    """What an interrupted run goes on with: the frames within reach before it are enough."""
    rng = random.Random(2)
    gains = [1 + 0.12 * rng.random() for _ in range(40)]
    whole = shares(gains)
    for first in range(Fading.reach, 40):
        assert shares(gains[first - Fading.reach :])[Fading.reach :] == whole[first:]


def test_a_gain_compares_a_frame_with_itself() -> None:
    picture = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    assert gain_of(picture, torch.zeros_like(picture)) == 1
    assert gain_of(picture, (picture - picture.mean()) * 0.5) == pytest.approx(1.5, rel=1e-4)
    # Blur along rows takes the edges across them alone.
    bars = torch.zeros(3, 64, 64)
    bars[:, 20:28] = 1
    bars[:, :, 30:40] = 1
    blurred = torch.nn.functional.avg_pool2d(bars, (1, 9), 1, (0, 4))
    assert edge_strength(bars) < 1.05 * edge_strength(blurred)
    assert gain_of(blurred, bars - blurred) > 3
    assert gain_of(torch.full((3, 32, 32), 0.5), torch.zeros(3, 32, 32)) == 1
    assert gain_of(picture[:, :2], torch.zeros(3, 2, 32)) == math.inf
