"""The residual: true frames explain their blur best, and only what must be explained counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from moving import frames
from scenes import scene
from torch import Tensor

from deblurcli.adaptation.reblurring_flow import FlowReblurring
from deblurcli.adaptation.residual import (
    EDGE,
    EXPONENTS,
    MOMENTS,
    TAU_STEP,
    Exposure,
    ExposureSearch,
    Observation,
    Observations,
    Residual,
    find_exposure,
    missed_by_exposure,
    observation,
    response_of,
)
from deblurcli.media.shots import windows
from deblurcli.networks.alignment import warp

SHARE, GAMMA = 0.6, 2.2
TRUE = Exposure(SHARE / 2, GAMMA)
EVEN = (6,) * 7


@pytest.fixture(scope="module")
def pan() -> tuple[list[Tensor], list[Tensor]]:
    """Blurred and sharp frames, six, of even motion: 6 pixels a frame."""
    blurred, sharp = frames(EVEN, SHARE, GAMMA, 0.0)
    return blurred, sharp


def measured(restored: Sequence[Tensor], observed: Sequence[Tensor], exposure: Exposure = TRUE) -> Residual:
    residual = Residual(exposure)
    for pair in zip(restored, observed, strict=True):
        residual.add(*pair)
    return residual


def decibels(restored: Sequence[Tensor], observed: Sequence[Tensor], exposure: Exposure = TRUE) -> float:
    mean = measured(restored, observed, exposure).mean()
    assert mean is not None
    return mean.restored


def sharpened(frame: Tensor, amount: float) -> Tensor:
    smooth = F.avg_pool2d(frame[None], 5, 1, 2, count_include_pad=False)[0]
    return (frame + amount * (frame - smooth)).clamp(0, 1)


def exposure_of(restored: Sequence[Tensor], observed: Sequence[Tensor]) -> Exposure:
    around = windows(list(zip(restored, observed, strict=True)), 3, lambda _: False)
    return find_exposure((lambda p=pair: p[0], [seen for _, seen in pairs]) for pair, pairs in around)


def test_the_truth_explains_its_blur_better_than_anything_else(pan: tuple[list[Tensor], list[Tensor]]) -> None:
    blurred, sharp = pan
    truth = decibels(sharp, blurred)
    assert truth > 60
    half = [(one + other) / 2 for one, other in zip(blurred, sharp, strict=True)]
    most = [torch.lerp(one, other, 0.8) for one, other in zip(blurred, sharp, strict=True)]
    others = [decibels(some, blurred) for some in (blurred, half, most)]
    assert others == sorted(others) and others[-1] < truth - 3
    for amount in (0.3, 1.0):
        assert decibels([sharpened(frame, amount) for frame in sharp], blurred) < truth - 10
    residual = measured(half, blurred).mean()
    assert residual is not None and residual.input == decibels(blurred, blurred) < residual.restored


def test_the_exposure_and_the_response_are_found(pan: tuple[list[Tensor], list[Tensor]]) -> None:
    blurred, sharp = pan
    assert exposure_of(sharp, blurred) == TRUE
    assert exposure_of(blurred, blurred).tau == 0
    as_displayed, sharp = frames(EVEN, 1.0, 1.0, 0.0)
    assert exposure_of(sharp, as_displayed) == Exposure(0.5, 1.0)


def test_an_input_taken_for_restored_is_perfect_only_without_blur(pan: tuple[list[Tensor], list[Tensor]]) -> None:
    blurred, sharp = pan
    assert decibels(blurred, blurred, Exposure(0.0, 1.0)) == math.inf
    # Under one exposure for both it loses, also where that is longer than the true one.
    for tau in (0.3, 0.4, 0.5):
        exposure = Exposure(tau, GAMMA)
        assert decibels(sharp, blurred, exposure) > decibels(blurred, blurred, exposure) + 3


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_even_motion_is_blurred_as_by_two_segments_and_uneven_motion_as_it_is(gamma: float) -> None:
    picture = scene(3, 96, 96)
    segments = FlowReblurring("warp", 0.4, response_of(gamma), views=12)
    even = torch.tensor([8.0, -3.0])[:, None, None].expand(2, 96, 96)
    curve = Exposure(0.4, gamma).blurred(picture, even, -even, views=12)
    assert torch.allclose(curve, segments(picture[None], even[None], -even[None])[0], atol=1e-5)
    # What comes to rest: x(t) = 6 t - 3 t^2, at -9 a frame before and at 3 a frame later.
    after, before = (torch.tensor([x, 0.0])[:, None, None].expand(2, 96, 96) for x in (3.0, -9.0))
    response = response_of(gamma)
    times = torch.linspace(-0.4, 0.4, 801)
    shifts = torch.zeros(801, 2, 1, 1)
    shifts[:, 0, 0, 0] = 6 * times - 3 * times.square()
    views = [warp(response.linear(picture[None]), shift[None].expand(1, 2, 96, 96)) for shift in shifts]
    true = response.display(torch.cat(views).mean(0, keepdim=True))[0]
    found = Exposure(0.4, gamma).blurred(picture, after, before)
    straight = segments(picture[None], after[None], before[None])[0]
    inner = (..., slice(12, -12), slice(12, -12))
    error, usual = ((some - true)[inner].square().mean() for some in (found, straight))
    assert error < usual / 10 and error < 1e-5


def test_all_exposures_at_once_are_each_alone(pan: tuple[list[Tensor], list[Tensor]]) -> None:
    blurred, sharp = pan
    moment = observation(sharp[1], blurred[:3])
    assert moment is not None
    table = missed_by_exposure(moment)
    for row, exponent in enumerate(EXPONENTS):
        for step in (1, 5, 14):
            exposure = Exposure(step * TAU_STEP, exponent)
            reblurred = exposure.blurred(moment.restored, moment.after, moment.before, views=step)
            alone = ((reblurred - moment.observed) * 255).square().mean(0)[moment.counted].mean()
            assert float(table[row, step]) == pytest.approx(float(alone), rel=1e-3)
    assert table[0, 0] == pytest.approx(float(((sharp[1] - blurred[1]) * 255).square().mean(0)[moment.counted].mean()))


def test_frames_at_the_ends_of_shots_and_cuts_are_not_explained(pan: tuple[list[Tensor], list[Tensor]]) -> None:
    blurred, sharp = pan
    observations = Observations()
    cut = [False, False, False, True, False, False]
    found = [observations.add(s, b, c) for s, b, c in zip(sharp, blurred, cut, strict=True)]
    assert [moment is not None for moment in found] == [False, False, True, False, False, True]
    assert found[2] is not None and found[2].restored is sharp[1]
    assert found[5] is not None and found[5].observed is blurred[4]


def test_frames_that_do_not_move_do_not_count(pan: tuple[list[Tensor], list[Tensor]]) -> None:
    blurred, sharp = pan
    still = [blurred[0]] * 4
    residual = measured([*still, *sharp], [*still, *blurred])
    alone = measured(sharp, blurred)
    assert residual.frames == 8 and residual.moving == pytest.approx(5 / 8)  # the first to move has one neighbour still
    assert alone.moving == 1 and residual.mean() is not None
    nothing = measured(still, still)
    assert nothing.mean() is None and nothing.moving == 0 and nothing.map().isnan().all()
    assert nothing.facts() == {"restored": None, "input": None, "tau": 0.3, "gamma": 2.2, "moving": 0}
    assert exposure_of(still, still) == Exposure()


def test_what_is_hidden_or_outside_or_at_the_edge_does_not_count(pan: tuple[list[Tensor], list[Tensor]]) -> None:
    blurred, sharp = pan
    moment = observation(sharp[1], blurred[:3])
    assert moment is not None
    edges = torch.ones_like(moment.counted)
    edges[EDGE:-EDGE, EDGE:-EDGE] = False
    assert not (moment.counted & edges).any() and moment.counted.float().mean() > 0.75
    spoilt = torch.where(edges, torch.zeros(()), sharp[1])
    # Blur carries a pixel or two of the edge inwards.
    assert decibels([sharp[0], spoilt, *sharp[2:]], blurred) > 60

    def flow(first: Tensor, second: Tensor) -> Tensor:
        """A square that moves to the right by 10 pixels a frame over still ground."""
        there = torch.zeros(len(first), 2, *first.shape[-2:])
        there[0, 0, 40:80, 40:80] = 10.0
        there[1, 0, 40:80, 50:90] = -10.0
        return there

    observations = Observations(flow)
    covered = [observations.add(frame, frame) for frame in blurred[:3]][-1]
    assert covered is not None
    assert not covered.counted[40:80, 81:89].any()  # the next frame hides it
    assert covered.counted[45:75, 100:140].all() and covered.counted[90:140].any()


def test_streaming_is_the_same_as_all_at_once(pan: tuple[list[Tensor], list[Tensor]]) -> None:
    blurred, sharp = pan
    softened = [(one + other) / 2 for one, other in zip(blurred, sharp, strict=True)]
    residual = measured(softened, blurred)
    moments = [observation(softened[at], blurred[at - 1 : at + 2]) for at in range(1, 5)]
    whole = [moment for moment in moments if moment is not None]
    missed = torch.stack([moment.missed(TRUE) for moment in whole])
    counted = torch.stack([moment.counted for moment in whole])
    expected = ((missed * counted).sum(0) / counted.sum(0)).sqrt()
    assert torch.allclose(residual.map(), expected, equal_nan=True, atol=1e-3)
    each = [moment.decibels(part) for moment, part in zip(whole, missed, strict=True)]
    mean = residual.mean()
    assert mean is not None and mean.restored == pytest.approx(sum(each) / 4)
    assert residual.map()[:EDGE].isnan().all() and residual.map().shape == (160, 160)


def test_a_place_that_is_wrong_shows_in_the_map(pan: tuple[list[Tensor], list[Tensor]]) -> None:
    blurred, sharp = pan
    wrong = [frame.clone() for frame in sharp]
    for frame in wrong:
        frame[:, 60:90, 60:90] = (frame[:, 60:90, 60:90] + 0.2).clamp(0, 1)
    found = measured(wrong, blurred).map()
    assert float(found[65:85, 65:85].mean()) > 30 and float(found[110:140, 60:90].nanmean()) < 1


@pytest.mark.parametrize("length", [3, 12, 13, 100, 5000])
def test_moments_are_spread_over_a_video_of_any_length(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr("deblurcli.adaptation.residual.missed_by_exposure", lambda moment: moment.number)
    search, looked_at = ExposureSearch(), 0
    for number in range(length):
        if search.due(number):
            looked_at += 1
            search.add(SimpleNamespace(moves=True, number=number))  # type: ignore[arg-type]
    kept: list[Any] = search._found
    assert min(length, MOMENTS) <= len(kept) < 2 * MOMENTS
    steps = {later - earlier for earlier, later in pairwise(kept)}
    assert kept[0] == 0 and len(steps) == 1 and length - kept[-1] <= max(steps)
    assert looked_at <= MOMENTS * (1 + math.log2(length))


def test_frames_too_small_for_flow_are_not_explained() -> None:
    tiny = [torch.rand(3, 20, 64) for _ in range(3)]
    residual = measured(tiny, tiny)
    assert residual.frames == 0 and residual.moving == 0 and residual.mean() is None


def test_the_input_alone_decides_what_counts(pan: tuple[list[Tensor], list[Tensor]]) -> None:
    blurred, sharp = pan

    def told(restored: list[Tensor]) -> Observation:
        moment = observation(restored[1], blurred[:3])
        assert moment is not None
        return moment

    one, other = told(sharp), told([torch.rand_like(frame) for frame in sharp])
    assert torch.equal(one.counted, other.counted) and torch.equal(one.after, other.after) and one.speed == other.speed
    assert one.speed == pytest.approx(6, abs=0.2)
