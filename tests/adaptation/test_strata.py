"""The strata that a guard judges by: what gains, what loses, and what cannot be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from moving import HALTING, RESTLESS, surveyed
from scenes import scene
from torch import Tensor, nn

from deblurcli.adaptation.flow import FlowBlur, Moment, fit_flow
from deblurcli.adaptation.strata import (
    BOUNDS,
    CLEARER,
    SIDE,
    UNCLEAR,
    VETO,
    Pieces,
    Restore,
    Strata,
    pseudo_pieces,
    real_pieces,
)
from deblurcli.adaptation.support import SupportPatch
from deblurcli.synth.light import Response, Sensor

TRUTH = 1
"""Where in a clip of these tests the sharp picture stands, beside the blurred one in the middle."""


class Towards(nn.Module):
    """Goes a part of the way from the blurred picture to the sharp one; below 0, away from it."""

    def __init__(self, part: float) -> None:
        super().__init__()
        self.part = part

    def forward(self, clips: Tensor) -> Tensor:
        return clips[:, 2].lerp(clips[:, TRUTH], self.part)


def pieces(lengths: list[float], first: int = 0, shift: int = 0, *, aligned: bool = False) -> Pieces:
    """Blurred pictures, and the sharp ones as what is wanted, which may be a few pixels off."""
    sharp = torch.stack([scene(first + number, 64, 64) for number in range(len(lengths))])
    blurred = F.avg_pool2d(sharp, 5, 1, 2, count_include_pad=False)
    clips = torch.stack([sharp if at == TRUTH else blurred for at in range(5)], 1)
    wanted = sharp.roll(shift, -1)
    return Pieces(clips, wanted, lengths, wanted if aligned else None)


def video(lengths: Tensor, rests: bool = True) -> FlowBlur:
    """The blur of a video whose moments are blurred that long, and whose camera rests now and then, or never."""
    motion = lengths.view(-1, 1, 1, 1).expand(-1, 2, 8, 8) * torch.tensor([1.0, 0.0]).view(2, 1, 1)
    one, flow = torch.ones(1), torch.full((2, 8, 8), 6.0)
    picture = torch.zeros(3, 8, 8)
    moment = Moment(picture, picture, torch.zeros(5, 3, 8, 8), 1, 0.1 if rests else 8.0, flow, -flow, 0 * flow)
    sensor = Sensor(0 * one, 0 * one, torch.inf * one)
    return FlowBlur(Response(one, 0 * one), 1.0, torch.stack([motion, -motion], 1), sensor, [moment] * 4)


def judge(pairs: Pieces, real: Pieces | None, blur: FlowBlur | None = None, **restore: nn.Module) -> Strata:
    """Strata that judge against the network that leaves the blur in.

    Args:
        restore: networks, each of which restores one kind whatever is judged: ``of_pairs`` or ``of_real``.
    """

    def by(kind: str) -> Callable[[nn.Module], Restore]:
        def restoring(module: nn.Module) -> Restore:
            unadapted = isinstance(module, Towards) and module.part == 0
            return module if unadapted or kind not in restore else restore[kind]

        return restoring

    blur = blur or video(torch.tensor([1.0, 5.0, 10.0]))
    return Strata(pairs, real, blur, by("of_pairs"), by("of_real"), Towards(0.0))


LENGTHS = [1.0, 2.0, 5.0, 10.0, 30.0]


@pytest.mark.parametrize("real", [False, True])
def test_the_same_network_gains_nothing(real: bool) -> None:
    judges = judge(pieces(LENGTHS), pieces(LENGTHS, 10, aligned=True) if real else None)
    assert judges.gain(Towards(0.0)) == 0
    assert all(stratum["gain"] == 0 for found in judges.seen.values() for stratum in found)


def test_nearer_to_the_truth_gains_and_farther_loses() -> None:
    judges = judge(pieces(LENGTHS), pieces(LENGTHS, 10, aligned=True))
    worse, slightly, half, most = (judges.gain(Towards(part)) for part in (-0.3, 0.1, 0.5, 0.9))
    assert worse < -0.1 and 0.1 < slightly < half < most


def test_the_pairs_say_what_is_gained_and_real_pieces_have_a_veto() -> None:
    pairs, real = pieces(LENGTHS), pieces(LENGTHS, 10, aligned=True)
    alone = judge(pairs, None).gain(Towards(0.2))
    assert alone > 0.1 and judge(pairs, real).gain(Towards(0.2)) == pytest.approx(alone)
    for same in (0.0, 0.9):
        assert judge(pairs, real, of_real=Towards(same)).gain(Towards(0.2)) == pytest.approx(alone)
    vetoed = judge(pairs, real, of_real=Towards(-0.3)).gain(Towards(0.2))
    assert vetoed < VETO
    assert judge(pairs, real, of_pairs=Towards(-0.3)).gain(Towards(0.9)) < 0, "real pieces do not make up for the pairs"
    worst = judge(pairs, real, of_pairs=Towards(-0.6), of_real=Towards(-0.3)).gain(Towards(0.2))
    assert worst < vetoed, "where both lose, the greater loss"


def test_less_of_what_pairs_say_counts_where_the_camera_never_rests() -> None:
    pairs, lengths = pieces(LENGTHS), torch.tensor([1.0, 5.0, 10.0])
    known, unclear = (judge(pairs, None, video(lengths, rests)).gain(Towards(0.2)) for rests in (True, False))
    assert unclear == pytest.approx(UNCLEAR * known) and 0 < UNCLEAR < 1


def test_what_is_seen_has_strata_that_sum_to_the_pieces() -> None:
    judges = judge(pieces(LENGTHS), pieces([2.5, 4.0, 25.0], 10, aligned=True))
    judges.gain(Towards(0.5))
    for kind, count in (("pairs", len(LENGTHS)), ("real", 3)):
        strata = judges.seen[kind]
        assert sum(stratum["pieces"] for stratum in strata) == count
        assert {stratum["from_pixels"] for stratum in strata} <= set(BOUNDS[:-1])
    assert [(s["from_pixels"], s["pieces"]) for s in judges.seen["pairs"]] == [(0, 2), (3, 1), (8, 1), (20, 1)]
    assert judges.seen["pairs"] != judges.seen["real"]
    alone = judge(pieces(LENGTHS), None)
    alone.gain(Towards(0.5))
    assert set(alone.seen) == {"pairs"}


def test_each_stratum_counts_as_much_as_the_video_has_of_it() -> None:
    """A network that gains on short blur and loses on long blur gains on a video of short blur alone."""
    pairs = pieces([1.0, 1.0, 1.0, 30.0])

    class ShortAlone(nn.Module):
        def forward(self, clips: Tensor) -> Tensor:
            parts = torch.tensor([0.5, 0.5, 0.5, -1.0]).view(-1, 1, 1, 1)
            return clips[:, 2] + parts * (clips[:, TRUTH] - clips[:, 2])

    short, long = video(torch.full((40,), 1.0)), video(torch.full((40,), 30.0))
    assert judge(pairs, None, short).gain(ShortAlone()) > 0 > judge(pairs, None, long).gain(ShortAlone())
    shares = judge(pairs, None, video(torch.tensor([1.0, 30.0] * 40))).shares
    assert sum(shares) == pytest.approx(1) and shares[0] == shares[3] > shares[1] == shares[2] > 0
    # However fast: nothing is off the scale.
    assert judge(pairs, None, video(torch.tensor([5000.0]))).shares[-1] > 0.25


def test_an_error_of_alignment_is_put_right_for_real_pieces() -> None:
    right, off, not_aligned = (
        pieces(LENGTHS, 10, shift, aligned=aligned) for shift, aligned in ((0, True), (2, True), (2, False))
    )
    before, after = right.clips[:, 2], Towards(0.6)(right.clips)
    expected, found, wrong = (float(p.gains(before, after).mean()) for p in (right, off, not_aligned))
    assert expected > 1 and found > 0.5 * expected and wrong < 0.5 * found


def test_what_is_restored_beyond_the_range_is_clipped() -> None:
    one = pieces([1.0])
    found = one.restored(lambda clips: clips[:, 2] * 40 - 20)
    assert found.min() == 0 and found.max() == 1 and found.dtype == torch.float32


def test_many_pieces_are_restored_a_few_at_a_time() -> None:
    many, seen = pieces([1.0] * 8), []

    def restore(clips: Tensor) -> Tensor:
        seen.append(len(clips))
        return clips[:, 2]

    assert torch.equal(many.restored(restore), many.clips[:, 2]) and sum(seen) == 8 and max(seen) < 8


@cache
def fitted(steps: tuple[float, ...], share: float = 0.8) -> tuple[FlowBlur, list[SupportPatch], list[Tensor]]:
    """The blur of a video, its patches, and their sharp moments."""
    patches, restore = surveyed(steps, share)
    return fit_flow(patches, restore), patches, [restore(patch.clip(torch.device("cpu"))) for patch in patches]


def test_real_pieces_are_blurred_neighbours_of_a_moment_at_rest() -> None:
    blur, patches, _ = fitted(HALTING)
    real = real_pieces(blur)
    assert real is not None and real.clear is not None
    count = len(real.lengths)
    assert 3 <= count <= 8
    assert (
        real.clips.shape == (count, 5, 3, SIDE, SIDE)
        and real.wanted.shape == real.clear.shape == real.clips[:, 2].shape
    )
    # What they should become shows the same as they do, and sharper.
    assert (real.wanted - real.clips[:, 2]).abs().mean() < 0.12
    assert real.wanted.diff(dim=-1).abs().mean() > 1.1 * real.clips[:, 2].diff(dim=-1).abs().mean()
    windows = [patch.turn for patch in patches]
    middles = [torch.equal(clip[2], window[at]) for clip in real.clips for window in windows for at in (1, 3)]
    assert sum(middles) >= count, "each is a neighbour of a sharp moment"


def test_there_are_no_real_pieces_where_the_camera_never_rests() -> None:
    blur, _, _ = fitted(RESTLESS)
    assert all(moment.rest > CLEARER * moment.speed for moment in blur.moments)
    assert real_pieces(blur) is None


def test_too_few_real_pieces_and_too_short_or_long_blur_tell_nothing() -> None:
    blur, _, _ = fitted(HALTING)
    assert real_pieces(replace(blur, moments=blur.moments[:2])) is None
    for share in (0.01, 5.0):  # nothing to tell, and beyond alignment
        assert real_pieces(replace(blur, share=share)) is None


def test_pseudo_pieces_are_held_out_patches_under_the_video_s_blur() -> None:
    blur, patches, sharp = fitted(HALTING)
    one, other, third = (pseudo_pieces(blur, patches[:3], sharp[:3], seed) for seed in (1, 1, 2))
    assert torch.equal(one.clips, other.clips) and one.lengths == other.lengths
    assert not torch.equal(one.clips, third.clips)
    assert one.clips.shape == (8, 5, 3, SIDE, SIDE) and len(one.lengths) == len(one.wanted) == 8 and one.clear is None
    for number in range(8):
        patch, target = patches[number % 3], sharp[number % 3]
        assert torch.equal(one.wanted[number], target[0]), "the restored moment, without noise"
        beside = one.clips[number, [0, 1, 3, 4]]
        assert torch.equal(beside, patch.window[[0, 1, 3, 4]]), "among the video's own neighbours"
    assert all(length >= 0 for length in one.lengths) and len(set(one.lengths)) > 1
    assert np.mean([float(t.diff(dim=-1).abs().mean()) for t in one.wanted]) > float(
        one.clips[:, 2].diff(dim=-1).abs().mean()
    )
