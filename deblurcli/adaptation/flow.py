"""Blur along the optical flow of one video: the meta method's model of blur by motion that the video itself shows.

Between its frames a video shows how everything in it moves, near and far things each their own way. While the shutter
is open they move along the same paths, for a share of the time between two frames. That share, and the camera's
response, are the same for the whole video: they are found where a sharp moment and its blurred neighbours show the
same things. Then any patch can be given the blur of any other moment.

Blur along the flow (:mod:`deblurcli.adaptation.reblurring_flow`) follows Reblur2Deblur (Chen et al., ICCP 2018); that
the motion of one moment blurs another, the domain-adaptive deblurring of He et al. (ECCV 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.adaptation.flow_estimate import search_flow
from deblurcli.adaptation.guard import Diverged
from deblurcli.adaptation.noise import captured, sensor_of
from deblurcli.adaptation.reblurring_flow import expose_flow
from deblurcli.adaptation.support import WINDOW, SupportPatch
from deblurcli.console import Reporter
from deblurcli.networks.alignment import warp
from deblurcli.synth.exposure import views_along
from deblurcli.synth.light import Response, Sensor

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5)
"""Exposures in frame intervals that are tried. Above 1 as in footage averaged from a higher rate."""
EXPONENTS = (1.6, 2.2, 3.2)
"""Exponents of the response that are tried. The exposure makes dark things brighter, the more the larger the exponent.
What the restoration of a sharp moment leaves of that is missing in the difference to its neighbours, so that the
exponent is found too small. Below 1.6 it is not believed."""
TRIALS = len(SHARES) + 3 * len(EXPONENTS)
"""Pairs of both that are tried, at most."""
FIRST_EXPONENT = 1.6
"""What the exposure is first looked for with."""
UNSURE = 0.2
"""Standard deviation of the logarithm of what the exponent is multiplied by for each picture that is blurred."""
PATCHES, PIECES = 8, 12
"""Patches whose moments are looked at, and how many of these moments tell the exposure: those that move most."""
FIT_SAMPLES = 9
"""Views that are averaged while fitting."""
MOVING = 0.9
"""The quantile of the motion within a patch that is taken for the motion of what moves there."""
MIN_SPEED = 2.0
"""Motion of a moment, in pixels a frame, below which it tells nothing of the exposure."""
MIN_PIECES = 3
"""Moments that must move for the exposure to be known."""
EDGE = 12
"""Pixels at each edge of a reduced patch that do not count: the flow is not known there."""
SPREAD = 0.3
"""Standard deviation of the logarithm of what a motion is multiplied by: other moments move a little more or less."""


@dataclass(frozen=True)
class Moment:
    """A blurred neighbour of a sharp moment: its motion, and where the sharp moment shows its pixels."""

    picture: Tensor
    """3 x S x S, as are ``sharp`` and, with 2 instead of 3, the flows."""
    sharp: Tensor
    """The sharp moment, restored."""
    window: Tensor
    """5 x 3 x S x S, with the sharp moment in the middle."""
    at: int
    """The neighbour's index in it."""
    rest: float
    """Motion of the sharp moment itself, in pixels a frame."""
    forward: Tensor
    backward: Tensor
    aligned: Tensor
    """Where the sharp moment shows the pixels of the picture."""

    @property
    def speed(self) -> float:
        """Motion in pixels a frame."""
        return _speed(self.forward, self.backward)

    def halved(self) -> Moment:
        """The same at half the resolution: blur hides what that loses."""
        picture, sharp = (F.avg_pool2d(whole, 2) for whole in (self.picture, self.sharp))
        forward, backward, aligned = (F.avg_pool2d(f, 2) / 2 for f in (self.forward, self.backward, self.aligned))
        return Moment(picture, sharp, self.window, self.at, self.rest, forward, backward, aligned)


@dataclass(frozen=True)
class FlowBlur:
    """The cause of a video's blur: its motion at random moments, its exposure, its response and its noise."""

    response: Response
    share: float
    """The exposure in frame intervals."""
    motions: Tensor
    """M x 2 x 2 x S x S: where the pixels of a moment lie in the frame after and in the frame before."""
    sensor: Sensor
    moments: list[Moment]
    """Those that move, the fastest first; the first :data:`PIECES` tell the exposure."""

    def blur(self, picture: Tensor, rng: np.random.Generator, *, noisy: bool = True) -> tuple[Tensor, Tensor, int]:
        """Blur a picture as a random moment of the video is blurred, a little more or less.

        Args:
            picture: N x 3 x H x W in [0, 1], at most S wide and high.
            noisy: whether it is itself, see :func:`deblurcli.adaptation.noise.captured`.

        Returns:
            The blurred picture and the target (N x 3 x H x W each), and the width of the border, in pixels, that
            depends on what lies outside of the picture.
        """
        motion = self.motions[int(rng.integers(len(self.motions)))]
        h, w = picture.shape[-2:]
        y, x = (int(rng.integers(whole - part + 1)) for whole, part in zip(motion.shape[-2:], (h, w), strict=True))
        # Another moment's motion is faster or slower, and as likely to go the other way.
        factor = float(np.exp(SPREAD * rng.standard_normal()) * rng.choice([-1, 1]))
        forward, backward = motion[:, None, :, y : y + h, x : x + w] * factor
        length = self.share * float(((forward - backward) / 2).norm(dim=1).quantile(MOVING))
        # Farther than that, a piece would show little but its own edge.
        near = min(1.0, 2 * min(h, w) / 5 / max(length, 1e-6))
        forward, backward = ((flow * near).expand(len(picture), -1, -1, -1) for flow in (forward, backward))
        length *= near
        count = views_along(length)

        def exposed(clean: Tensor) -> Tensor:
            exponent = self.response.gamma * float(np.exp(UNSURE * rng.standard_normal()))
            response = Response(exponent, self.response.boost).to(picture.device)
            return response.display(expose_flow(response.linear(clean), forward, backward, self.share, count))

        return *captured(picture, exposed, self.sensor, rng, noisy=noisy), math.ceil(length / 2)

    def lengths(self) -> Tensor:
        """Length of the blur of what moves at each moment, in pixels; M values."""
        return self.share * torch.tensor([_speed(*motion) for motion in self.motions])

    def facts(self) -> dict[str, Any]:
        """For the run report; lengths in pixels, noise at full scale."""
        low, middle, high = self.lengths().quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
        return {
            "exposure": round(self.share, 2),
            "gamma": round(float(self.response.gamma), 2),
            "noise": round(float(self.sensor.noise), 4),
            "moments": len(self.moments),
            "blur_lengths": [round(low, 1), round(middle, 1), round(high, 1)],
        }


def fit_flow(
    patches: list[SupportPatch], restore: Callable[[Tensor], Tensor], console: Reporter | None = None
) -> FlowBlur:
    """Find the exposure and the response with which sharp moments, blurred along the flow, look like their neighbours.

    Args:
        patches: of a survey; the first :data:`PATCHES` tell the exposure.
        restore: the network that restores a window (1 x 5 x 3 x S x S): its middle frame, 1 x 3 x S x S. As they are in
            the video the sharp moments would not do: where the camera never rests, they are nearly as blurred as their
            neighbours, and the exposure would be found too short.
        console: where progress goes.

    Raises:
        Diverged: the patches are too small, or the video moves too little to tell.
    """
    if not patches or patches[0].window is None or patches[0].window.shape[-1] < 64:
        raise Diverged("the patches are too small to see the video's motion")
    windows = [window for patch in patches for window in patch.usual]
    if not windows:
        raise Diverged("every shot is too short to see the video's motion")
    turns = [patch.turn for patch in patches if patch.turn is not None][:PATCHES]
    if not turns:
        raise Diverged("the video is too short to see its motion")
    total = len(turns) + len(windows) + TRIALS
    told = partial((console or Reporter.silent()).progress, "measuring the motion", total=total)
    moments: list[Moment] = []
    for number, turn in enumerate(turns):
        told(done=number)
        moments += _moments(turn, restore(turn[None]))
    device, found = moments[0].picture.device, []
    for number, window in enumerate(windows, len(turns)):
        told(done=number)
        found.append(torch.stack(_motion(window)))
    motions = torch.stack(found).to(device)
    moving = sorted((m for m in moments if m.speed > MIN_SPEED), key=lambda m: -m.speed)
    chosen = moving[:PIECES]
    if len(chosen) < MIN_PIECES:
        raise Diverged("the video moves too little to tell how long its shutter is open")
    before = len(turns) + len(windows)
    share, exponent = _exposure([moment.halved() for moment in chosen], lambda tried: told(done=before + tried))
    told(done=total)
    response = _response(exponent).to(device)
    pictures = torch.stack([m.picture for m in chosen])
    residual = pictures - _exposed(chosen, share, response)
    return FlowBlur(response, share, motions, sensor_of(residual, pictures), moving)


def _motion(window: Tensor) -> tuple[Tensor, Tensor]:
    """Flows from the middle one of T frames (T x 3 x S x S in [0, 1]) to the frames after and before."""
    middle = len(window) // 2
    return _flow(window[middle], window[middle + 1]), _flow(window[middle], window[middle - 1])


def _flow(first: Tensor, second: Tensor) -> Tensor:
    """:func:`flow_between`, seen at half the resolution: blur hides what that loses, and without it the flow is
    steadier."""
    flow = flow_between(*(F.avg_pool2d(picture, 2) for picture in (first, second)))
    return 2 * F.interpolate(flow[None], scale_factor=2, mode="bilinear")[0]


def flow_between(first: Tensor, second: Tensor) -> Tensor:
    """Where the pixels of one picture (3 x S x S in [0, 1]) lie in another: 2 x S x S pixels, x first."""
    return search_flow(first[None], second[None])[0]


def _moments(turn: Tensor, restored: Tensor) -> list[Moment]:
    """The neighbours of the sharp moment in the middle of a window, which is restored to 1 x 3 x S x S."""
    window, clear = turn.to(restored.device), restored[0]
    middle = WINDOW // 2
    rest = _speed(*_motion(window[middle - 1 : middle + 2]))
    found = []
    for at in (middle - 1, middle + 1):
        forward, backward, aligned = (_flow(window[at], other) for other in (window[at + 1], window[at - 1], clear))
        found.append(Moment(window[at], clear, window, at, rest, forward, backward, aligned))
    return found


def _speed(forward: Tensor, backward: Tensor) -> float:
    """Motion of what moves in a patch, in pixels a frame."""
    return float(((forward - backward) / 2).norm(dim=0).quantile(MOVING))


def _response(exponent: float) -> Response:
    return Response(torch.tensor([exponent]), torch.zeros(1))


def _exposed(moments: list[Moment], share: float, response: Response) -> Tensor:
    """The moments as the model explains them, M x 3 x S x S."""
    response = response.to(moments[0].sharp.device)
    light = warp(response.linear(torch.stack([m.sharp for m in moments])), torch.stack([m.aligned for m in moments]))
    forward, backward = torch.stack([m.forward for m in moments]), torch.stack([m.backward for m in moments])
    return response.display(expose_flow(light, forward, backward, share, FIT_SAMPLES))


def _exposure(moments: list[Moment], told: Callable[[int], object]) -> tuple[float, float]:
    """The share and the exponent that explain the moments best, in the mean: where the motion changes within a frame or
    two, the flow between the frames is not that of the exposure, and no single moment can be trusted. First the share,
    then both about it. ``told``: how many trials are done, before each."""
    pictures, trials = torch.stack([m.picture for m in moments]), count()

    def missed(share: float, exponent: float) -> float:
        """Mean over the moments of the logarithm of what is missed, without what is as fine as noise."""
        told(next(trials))
        apart = F.avg_pool2d(_exposed(moments, share, _response(exponent)) - pictures, 3, 1)
        return float(apart[..., EDGE:-EDGE, EDGE:-EDGE].square().mean((1, 2, 3)).clamp(min=1e-6).log().mean())

    first = min(range(len(SHARES)), key=lambda i: missed(SHARES[i], FIRST_EXPONENT))
    about = SHARES[max(first - 1, 0) : first + 2]
    return min(((s, e) for s in about for e in EXPONENTS), key=lambda pair: missed(*pair))
