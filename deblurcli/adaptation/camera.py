"""The camera of one video, fitted to it: the meta method's model of blur by physics instead of a network.

Where a video is sharp for a moment, the frames beside that moment show the same things blurred. Gradient descent finds
the camera's response, and the paths that turn the sharp moment into the blurred frames. With them, any patch can be
given the blur that this camera makes. The model is :mod:`deblurcli.synth`'s: views along a path, averaged in linear
light. Supervision by neighbours in time follows Reblur2Deblur (Chen et al., ICCP 2018), with a free path in place of
optical flow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.adaptation.guard import Diverged, require_finite
from deblurcli.adaptation.noise import captured, sensor_of
from deblurcli.adaptation.support import WINDOW, SupportPatch
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.networks.alignment import dense_flow
from deblurcli.synth.exposure import expose_paths, view_at, views_along
from deblurcli.synth.light import Response, Sensor

KNOTS = 5
"""Points of a path, at even times of the exposure, with straight lines between them."""
QUARTERS = 4
"""Pieces of a patch, each with a path of its own."""
SAMPLES = 15
"""Views that are averaged while fitting."""
STEPS = 60
PATH_RATE, RESPONSE_RATE = 0.25, 0.05
"""Adam rates: pixels of the reduced patches, and units of the three numbers of the response."""
EXPOSURE = 0.6
"""Share of the frame interval in which the shutter is open, as a first guess."""
EXPECTED_RESPONSE, RESPONSE_DEVIATION = (math.log(1.8), 0.0, 0.5), (0.5, 0.6, 1.0)
"""Mean and standard deviation of responses: logarithm of gamma, tone, boost."""
RESPONSE_WEIGHT, BEND_WEIGHT = 2e-4, 1e-4
"""Weights, against the mean absolute difference, of a response's deviation from the expected one, and of the bends and
changes of speed of a path."""
OUTLIER_RATIO = 1.5
"""A piece whose error is this many times the median one does not count in the second half of the fit."""
MIN_VALUE = 2e-3
"""Display value below which the slope of a response has no bound."""
MAX_UNEXPLAINED = 0.5
"""Largest share of a piece's structure that may be missed; above, its path means nothing."""
MIN_PATH = 1.0
"""Length of a path, in pixels, below which there is no blur to learn from."""
MIN_EXPLAINED = 4
"""Pieces that must be explained for the camera to be known."""


@dataclass(frozen=True)
class Camera:
    """The cause of a video's blur: response (of one scene), paths (P x KNOTS x 2 pixels, zero in the middle), noise."""

    response: Response
    paths: Tensor
    sensor: Sensor

    def blur(self, picture: Tensor, rng: np.random.Generator, *, noisy: bool = True) -> tuple[Tensor, Tensor, int]:
        """Blur a picture as this camera does along one of its paths, varied a little.

        Args:
            picture: N x 3 x H x W in [0, 1].
            noisy: whether it is itself, see :func:`deblurcli.adaptation.noise.captured`.

        Returns:
            The blurred picture and the target (N x 3 x H x W each), and the width of the border, in pixels, that
            depends on what lies outside of the picture.
        """
        path = self.paths[rng.integers(len(self.paths))]
        # Another moment's shake is longer or shorter, and as likely to go the other way.
        path = path * float(np.exp(0.4 * rng.standard_normal()) * rng.choice([-1, 1]))
        reach = min(picture.shape[-2:]) / 5
        path = path * min(1.0, reach / max(float(path.abs().max()), 1e-6))
        count = views_along(_length(path))

        def exposed(clean: Tensor) -> Tensor:
            light = expose_paths(self.response.linear(clean), path.expand(len(picture), -1, -1), count)
            return self.response.display(light)

        return *captured(picture, exposed, self.sensor, rng, noisy=noisy), math.ceil(float(path.abs().max()))

    def facts(self) -> dict[str, Any]:
        """For the run report; lengths in pixels, noise at full scale."""
        gamma, boost, tone = self.response.gamma, self.response.boost, self.response.tone
        lengths = sorted(_length(path) for path in self.paths)
        return {
            "gamma": round(float(gamma), 2),
            "highlights": round(float(boost), 2),
            "tone": round(float(tone), 2),
            "noise": round(float(self.sensor.noise), 4),
            "pieces_explained": len(lengths),
            "median_path": round(lengths[len(lengths) // 2], 1),
        }


def _length(path: Tensor) -> float:
    return float(path.diff(dim=-2).norm(dim=-1).sum())


def _cut(pictures: Tensor, corners: Tensor, side: int) -> Tensor:
    """Pieces of P x 3 x S x S at whole corners (K x 2, x first), each of ``side`` pixels: (P * K) x 3 x side x side."""
    cut = [pictures[..., y : y + side, x : x + side] for x, y in corners.int().tolist()]
    return torch.stack(cut, 1).flatten(0, 1)


def _offsets(fixed: Tensor, moved: Tensor, corners: Tensor, side: int) -> Tensor:
    """Where the pieces of one crop (3 x S x S) lie in another, against their own places: K x 2 pixels, x first.

    The median of the dense flow, which follows what is near, or the peak of the phase correlation of the whole crops,
    which also finds what is far: whichever makes a piece more alike.
    """
    flow = _cut(dense_flow(fixed[None], moved[None]), corners, side)
    far = _correlated(fixed, moved)
    pieces = _cut(fixed[None], corners, side)
    found = []
    for corner, near, piece in zip(corners, flow.flatten(2).median(2).values, pieces, strict=True):
        candidates = torch.stack([near, far, torch.zeros_like(near)])
        views = view_at(moved.expand(len(candidates), -1, -1, -1), corner + candidates, (side, side))
        found.append(candidates[int((views - piece).abs().mean((1, 2, 3)).argmin())])
    return torch.stack(found)


def _correlated(fixed: Tensor, moved: Tensor) -> Tensor:
    """The shift between two crops by phase correlation (Kuglin & Hines, 1975), in whole pixels."""
    side = fixed.shape[-1]
    taper = torch.hann_window(side, periodic=False, device=fixed.device)
    spectra = []
    for crop in (fixed, moved):
        grey = crop.mean(0)
        spectra.append(torch.fft.rfft2((grey - grey.mean()) * taper * taper[:, None]))
    cross = spectra[1] * spectra[0].conj()
    # Blur takes the fine detail away; what is coarser than a sixth of the pixels' frequency agrees.
    rows, columns = torch.fft.fftfreq(side, device=fixed.device)[:, None], torch.fft.rfftfreq(side, device=fixed.device)
    low = torch.exp(-(rows.square() + columns.square()) / (2 * 0.08**2))
    peak = int(torch.fft.irfft2(low * cross / (cross.abs() + 1e-6), (side, side)).argmax())
    y, x = divmod(peak, side)
    return torch.tensor([(v + side // 2) % side - side // 2 for v in (x, y)], dtype=fixed.dtype, device=fixed.device)


def _start(window: Tensor, blurred: int, corners: Tensor, side: int) -> Tensor:
    """First guesses of the paths of the pieces of frame ``blurred`` of a window (5 x 3 x S x S), seen from its middle:
    K x KNOTS x 2."""
    sharp = window[WINDOW // 2]
    now = _offsets(window[blurred], sharp, corners, side)
    before, after = max(blurred - 1, 0), min(blurred + 1, WINDOW - 1)
    ends = [_offsets(window[frame], sharp, corners, side) for frame in (before, after)]
    speed = (ends[1] - ends[0]) / (after - before)
    times = torch.linspace(-0.5, 0.5, KNOTS, device=window.device)[:, None]
    return now[:, None] + EXPOSURE * speed[:, None] * times


@dataclass(frozen=True)
class Moments:
    """Sharp moments of a video and the blurred pieces beside them: what a camera is fitted to.

    ``windows``: P x 5 x 3 x S x S, whose middle frames are the sharp moments. ``blurred``: P indices of those that are
    blurred most. ``pieces``: (4 P) x 3 x S/2 x S/2, the quarters of each patch as that frame shows them. ``paths``:
    (4 P) x KNOTS x 2, where the corner of each piece was in the sharp patch while the shutter was open: a first guess,
    in pixels, x first.
    """

    windows: Tensor
    blurred: Tensor
    pieces: Tensor
    paths: Tensor

    @property
    def sharp(self) -> Tensor:
        """The sharp moments, P x 3 x S x S."""
        return self.windows[:, WINDOW // 2]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a piece."""
        return self.pieces.shape[-2], self.pieces.shape[-1]

    def clips(self, chosen: Tensor) -> Tensor:
        """Pieces (K of their indices) with the frames around them: K x 5 x 3 x S/2 x S/2, the piece in the middle.

        Frames outside the window repeat its first or last one.
        """
        side, reach = self.size[0], WINDOW // 2
        clips = []
        for index in chosen.tolist():
            patch, (row, column) = index // QUARTERS, divmod(index % QUARTERS, 2)
            times = (self.blurred[patch] + torch.arange(-reach, reach + 1)).clamp(0, WINDOW - 1)
            y, x = row * side, column * side
            clips.append(self.windows[patch, times.to(self.windows.device), :, y : y + side, x : x + side])
        return torch.stack(clips)


@dataclass(frozen=True)
class Alignment:
    """Moments of a video whose blurred pieces are explained by its sharp patches.

    ``paths``: (4 P) x KNOTS x 2, the moments' paths, fitted. ``explained``: (4 P) bool.
    """

    moments: Moments
    response: Response
    paths: Tensor
    explained: Tensor

    def views(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The sharp patches' view of some pieces (K of their indices), from the middle of the path.

        Returns:
            K x 3 x S/2 x S/2, and where that lies within the sharp patch, K x 1 x S/2 x S/2 bool.
        """
        corners, side = self.paths[chosen, KNOTS // 2], self.moments.sharp.shape[-1]
        sharp = view_at(self.moments.sharp[chosen // QUARTERS], corners, self.moments.size)
        y, x = (torch.arange(n, device=corners.device) for n in self.moments.size)
        at_x, at_y = x + corners[:, :1], y + corners[:, 1:]
        inside_x, inside_y = ((at >= 0) & (at <= side - 1) for at in (at_x, at_y))
        return sharp, (inside_y[:, None, :, None] & inside_x[:, None, None, :])


def find_moments(patches: list[SupportPatch], device: torch.device) -> Moments:
    """Pair every sharp patch with its most blurred neighbour in time, and align them. Raises Diverged: no patches,
    or none beside which anything moves."""
    windows = [patch.window.to(device) for patch in patches if patch.window is not None]
    if not windows or windows[0].shape[-1] < 64:
        raise Diverged("the patches are too small to see the camera's motion")
    if all(torch.equal(window, window[:1].expand_as(window)) for window in windows):
        raise Diverged("the frames beside the sharp moments are the same: nothing moves")
    side = windows[0].shape[-1] // 2
    corners = torch.tensor([[x, y] for y in (0, side) for x in (0, side)], dtype=torch.float32, device=device)
    blurred, paths = [], []
    for window in windows:
        scores = self_shift_score(window)
        scores[WINDOW // 2] = -math.inf
        blurred.append(int(scores.argmax()))
        paths.append(corners[:, None] + _start(window, blurred[-1], corners, side))
    pieces = _cut(torch.stack([window[b] for window, b in zip(windows, blurred, strict=True)]), corners, side)
    return Moments(torch.stack(windows), torch.tensor(blurred), pieces, torch.cat(paths))


def align(patches: list[SupportPatch], device: torch.device) -> Alignment:
    """Find the response and the paths along which pseudo-sharp patches look like their blurred neighbours in time.

    One response is shared by all; each quarter of a patch has a path of its own, so that turning cameras and depth do
    little harm. Pieces that stay unexplained, since something moves in them or the alignment failed, are left out.

    Raises:
        Diverged: nothing to learn from, or not explained by any camera.
    """
    moments = find_moments(patches, device)
    response, paths, fits = descend(moments)
    explained = fits & (paths.diff(dim=1).norm(dim=-1).sum(1) > MIN_PATH)
    if int(explained.sum()) < MIN_EXPLAINED:
        raise Diverged("the sharp moments do not explain the blurred ones beside them")
    return Alignment(moments, response, paths, explained)


def camera_of(found: Alignment) -> Camera:
    """The camera that took the blurred pieces of an alignment."""
    response, explained = found.response, found.explained
    paths, pieces = found.paths[explained], found.moments.pieces[explained]
    light = response.linear(found.moments.sharp).repeat_interleave(QUARTERS, 0)[explained]
    residual = pieces - response.display(expose_paths(light, paths, SAMPLES, found.moments.size))
    return Camera(response, paths - paths[:, KNOTS // 2 : KNOTS // 2 + 1], sensor_of(residual, pieces))


def fit_camera(patches: list[SupportPatch], device: torch.device) -> Camera:
    """:func:`align`, then :func:`camera_of`."""
    return camera_of(align(patches, device))


def _response(numbers: Tensor) -> Response:
    log_gamma, tone, boost = numbers[:, None]
    return Response(log_gamma.exp(), boost.clamp(min=0), torch.zeros_like(tone), tone)


def descend(moments: Moments) -> tuple[Response, Tensor, Tensor]:
    """Fit the response and the paths: the response (of one scene), the paths in pixels, and which pieces they fit.

    Raises:
        Diverged: a number stopped being finite.
    """
    scale = 2 if moments.size[0] >= 64 else 1  # blur hides what halving the resolution loses
    small, wanted = (F.avg_pool2d(p, scale).clamp(min=MIN_VALUE) for p in (moments.sharp, moments.pieces))
    paths = (moments.paths / scale).requires_grad_(True)
    usual, doubt = (torch.tensor(v, device=small.device) for v in (EXPECTED_RESPONSE, RESPONSE_DEVIATION))
    numbers = usual.clone().requires_grad_(True)
    groups = [{"params": [paths], "lr": PATH_RATE}, {"params": [numbers], "lr": RESPONSE_RATE}]
    optimiser = torch.optim.Adam(groups, betas=(0.8, 0.99))
    size = (wanted.shape[-2], wanted.shape[-1])
    edge = size[0] // 16
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    kept = torch.ones(len(wanted), dtype=torch.bool, device=small.device)
    for step in range(STEPS):
        response = _response(numbers)
        light = response.linear(small).repeat_interleave(QUARTERS, 0)
        seen = response.display(expose_paths(light, paths, SAMPLES, size).clamp(min=MIN_VALUE**2))
        difference = (seen - wanted)[inner]
        apart = difference.abs().mean((1, 2, 3))
        if step == STEPS // 2:
            found = apart.detach()
            kept = found <= OUTLIER_RATIO * found.median()
        unusual = ((numbers - usual) / doubt).square().sum()
        bend = paths.diff(n=2, dim=1).square().mean()
        loss = apart[kept].mean() + RESPONSE_WEIGHT * unusual + BEND_WEIGHT * bend
        require_finite(loss, "camera")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    fits = _unexplained(difference.detach(), wanted[inner]) < MAX_UNEXPLAINED
    return _response(numbers.detach()), paths.detach() * scale, fits


def _unexplained(difference: Tensor, picture: Tensor) -> Tensor:
    """Share of the structure of each picture that a model misses, without what is as fine as noise; N values."""
    missed = F.avg_pool2d(difference, 3, 1).square().mean((1, 2, 3))
    coarse = F.avg_pool2d(picture, 15, 1, 7, count_include_pad=False)
    return missed / F.avg_pool2d(picture - coarse, 3, 1).square().mean((1, 2, 3)).clamp(min=1e-9)
