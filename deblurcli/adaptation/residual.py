"""The residual: how well a restored video explains its input, told without the sharp original.

A restored frame that is blurred again along its motion must give what the camera saw (Reblur2Deblur, Chen et al., ICCP
2018, equations 1 to 9, there a loss). What is left is the residual: PSNR in dB of the reblurred against the observed
frame, and a map of where they differ.

How long the shutter was open decides what has to be explained. A video that was not restored at all explains itself
perfectly with a shutter that is never open, so that two restorations can only be compared under one :class:`Exposure`.
All else that the measure depends on is told by the input alone, and so is the same for all of its restorations: the
motion, and with it the pixels and the frames that count. Even motion blurs a frame to both sides alike, so that blurred
frames show the motion of sharp ones. Frames without motion explain themselves, whatever was done to them: they do not
count.

What differs from the paper: a measure, not a loss; the flow is between the frames of the input, not the restored ones;
what moves does so along a curve of second order instead of two straight segments, as the speed of a hand that shakes
does not jump with the frames; the exposure is found instead of taken as twice the frame interval; light adds up before
the camera's response; pixels that something hides, or that come from outside, do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.adaptation.flow import MIN_SPEED, MOVING
from deblurcli.adaptation.flow_estimate import search_flow
from deblurcli.adaptation.reblurring_flow import Flow, FlowReblurring, view_both_ways, visible
from deblurcli.synth.light import Response

TAU_STEP, TAU_STEPS = 0.05, 14
"""Exposures that are tried: halves of it, as shares of the frame interval, from 0, which is no blur at all, to 0.7."""
EXPONENTS = (1.0, 1.6, 2.2, 3.2)
"""Exponents of the response that are tried; 1 averages display values."""
MOMENTS = 6
"""Moments that tell the exposure, at least where the video has so many, and at most twice as many; evenly spread."""
LOOKED_AT = 640
"""Longer side in pixels, about, of the reduced frames that the exposure is looked for in."""
EDGE = 8
"""Pixels at each edge of a frame that do not count: the flow is not known there."""
MIN_SIDE = 48
"""Height and width in pixels below which frames have no flow that could be trusted."""
MIN_MISSED = 0.01
"""Mean squared code values below which an explanation is not better for missing less."""
CODE_VALUES = 255.0


@dataclass(frozen=True)
class Exposure:
    """How long the shutter of a video is open, and the response of its camera."""

    tau: float = 0.5
    """Half of the exposure in frame intervals."""
    exponent: float = 2.2
    """Display values are light to the power of one over it."""

    def blurred(self, picture: Tensor, after: Tensor, before: Tensor, views: int | None = None) -> Tensor:
        """A picture (3 x H x W in [0, 1]) as the camera saw it while everything moved: half of the exposure towards
        where the next frame shows it, half from where the previous one does.

        Args:
            after, before: as in :class:`Observation`.
            views: to each side; by the length of the blur where None.
        """
        if not self.tau:
            return picture  # not rounded by any response
        reblurring = FlowReblurring(tau=self.tau, response=response_of(self.exponent), views=views)
        return reblurring(picture[None], after[None], before[None])[0]


def response_of(exponent: float) -> Response:
    """The response of a camera whose display values are a power of the light."""
    return Response(torch.tensor([exponent]), torch.zeros(1))


@dataclass(frozen=True)
class Observation:
    """One frame of the input, its motion, and what its restoration makes of it."""

    restored: Tensor
    """3 x H x W in [0, 1], as is ``observed``."""
    observed: Tensor
    after: Tensor
    """Where the pixels of the next frame lie in this one, 2 x H x W pixels; ``before``: of the previous frame."""
    before: Tensor
    counted: Tensor
    """H x W bool: which pixels count."""
    speed: float
    """Motion of what moves, in pixels a frame."""

    @property
    def moves(self) -> bool:
        """Whether there is motion that must be explained."""
        return self.speed >= MIN_SPEED and bool(self.counted.any())

    def unrestored(self) -> Observation:
        """The same with the input in place of its restoration."""
        return replace(self, restored=self.observed)

    def reduced(self, side: int) -> Observation:
        """The same with squares of ``side`` pixels for pixels."""
        restored, observed, after, before, counted = (
            F.avg_pool2d(part[None], side)[0]
            for part in (self.restored, self.observed, self.after, self.before, self.counted[None].float())
        )
        return Observation(restored, observed, after / side, before / side, counted[0] == 1, self.speed)

    def missed(self, exposure: Exposure) -> Tensor:
        """The squared difference of reblurred and observed frame in code values, mean over the colours; H x W."""
        reblurred = exposure.blurred(self.restored, self.after, self.before)
        return (reblurred - self.observed).mul_(CODE_VALUES).square_().mean(0)

    def decibels(self, missed: Tensor) -> float:
        """PSNR where it counts, of what :meth:`missed` gave; infinite where nothing is missed."""
        mean = float(missed[self.counted].double().mean())
        return 10 * math.log10(CODE_VALUES**2 / mean) if mean else math.inf


class Observations:
    """The moments of a video, one after the other, while its frames pass by.

    Two frames are in memory, and the flow between them, which serves two moments.
    """

    def __init__(self, flow: Flow = search_flow) -> None:
        self._flow = flow
        self._last: tuple[Tensor, Tensor] | None = None
        self._between: Tensor | None = None

    def add(self, restored: Tensor, observed: Tensor, starts_shot: bool = False) -> Observation | None:
        """Take the next frame, twice 3 x H x W in [0, 1]; the moment before it, if its shot has both its neighbours."""
        last, earlier = (None, None) if starts_shot else (self._last, self._between)
        self._last, self._between = (restored, observed), None
        if last is None or min(observed.shape[-2:]) < MIN_SIDE:
            return None
        # There, from the frame before to this one, and back.
        later = self._flow(torch.stack([last[1], observed]), torch.stack([observed, last[1]]))
        self._between = later
        if earlier is None:
            return None
        counted = visible(later[:1], later[1:]) & visible(earlier[1:], earlier[:1])
        counted = F.pad(counted[0, 0, EDGE:-EDGE, EDGE:-EDGE], [EDGE] * 4)
        # Every fourth pixel tells as much, and quantiles of more than some millions are refused.
        motion = (later[0] - earlier[1])[:, ::4, ::4] / 2
        speed = float(motion.norm(dim=0).quantile(MOVING))
        return Observation(*last, later[1], earlier[0], counted, speed)


def observation(restored: Tensor, around: Sequence[Tensor], flow: Flow = search_flow) -> Observation | None:
    """The middle one of three frames of the input, 3 x H x W in [0, 1] each, and its restoration. None: too small."""
    taken = Observations(flow)
    return [taken.add(restored, frame) for frame in around][-1]


class ExposureSearch:
    """Finds the exposure under which restored frames explain the input best, from a few moments of it.

    They are spread evenly over a video of unknown length: where twice :data:`MOMENTS` are known, every other one is
    forgotten, and from then on they lie twice as far apart. What is kept of each is a number for each exposure.
    """

    def __init__(self) -> None:
        self._every = 1
        self._found: list[Tensor | None] = []

    def due(self, number: int) -> bool:
        """Whether the moment of this number, counted from 0, is wanted next."""
        return number == len(self._found) * self._every

    def add(self, moment: Observation | None) -> None:
        """Look at a moment that was due; None, or one without motion, tells nothing."""
        self._found.append(missed_by_exposure(moment) if moment is not None and moment.moves else None)
        if len(self._found) == 2 * MOMENTS:
            self._found, self._every = self._found[::2], 2 * self._every

    def best(self) -> Exposure | None:
        """The exposure with which least is missed, in the mean of its logarithms; None where no moment tells."""
        told = [found for found in self._found if found is not None]
        if not told:
            return None
        mean = torch.stack(told).clamp(min=MIN_MISSED).log().mean(0)
        row, step = divmod(int(mean.argmin()), TAU_STEPS + 1)
        return Exposure(round(step * TAU_STEP, 2), EXPONENTS[row])


def find_exposure(frames: Iterable[tuple[Callable[[], Tensor], Sequence[Tensor]]]) -> Exposure:
    """The exposure of a video, see :class:`ExposureSearch`; ``Exposure()`` where no moment that was looked at moves.

    Args:
        frames: for each frame, what restores it when it is asked for, 3 x H x W in [0, 1], and the three frames of the
            input around it, as :func:`deblurcli.media.shots.windows` gives them: at the ends of a shot, where one
            stands for its missing neighbour, nothing can be told.
    """
    search, number = ExposureSearch(), 0
    for restore, (before, middle, after) in frames:
        if before is middle or after is middle:
            continue
        if search.due(number):
            search.add(observation(restore(), (before, middle, after)))
        number += 1
    return search.best() or Exposure()


def missed_by_exposure(moment: Observation) -> Tensor:
    """What a moment misses under each exposure: exponents x taus, mean squared code values of what counts.

    The views of a long exposure are those of the shorter ones and some more, so that all cost as much as the longest.
    """
    moment = moment.reduced(max(1, round(max(moment.observed.shape[-2:]) / LOOKED_AT)))
    counted = moment.counted if bool(moment.counted.any()) else torch.ones_like(moment.counted)

    def missed(light: Tensor, response: Response) -> Tensor:
        apart = (response.display(light)[0] - moment.observed).mul_(CODE_VALUES).square_().mean(0)
        return apart[counted].mean()

    found = []
    for exponent in EXPONENTS:
        response = response_of(exponent)
        light = response.linear(moment.restored[None])
        total, row = light, [missed(light, response)]
        for step in range(1, TAU_STEPS + 1):
            ends = view_both_ways(light, moment.after[None], moment.before[None], step * TAU_STEP)
            # As in `Exposure.blurred`.
            row.append(missed((total + ends / 2) / (2 * step), response))
            total = total + ends
        found.append(torch.stack(row))
    return torch.stack(found)


@dataclass(frozen=True)
class Explained:
    """How well one frame is explained, in dB of PSNR."""

    restored: float
    input: float
    """By the input itself, as if it were restored."""


class Residual:
    """What restored frames do not explain of their input, summed up while they pass by.

    Two frames, a flow and two maps are in memory, whatever the length of the video.
    """

    def __init__(self, exposure: Exposure, flow: Flow = search_flow) -> None:
        self.exposure = exposure
        self.frames = 0
        """Frames with two neighbours in their shot."""
        self._observations = Observations(flow)
        self._sums, self._moving = (0.0, 0.0), 0
        self._squares: Tensor | None = None
        self._counts: Tensor | None = None

    def add(self, restored: Tensor, observed: Tensor, starts_shot: bool = False) -> Explained | None:
        """Take the next frame, twice 3 x H x W in [0, 1].

        Returns:
            how well the frame before it is explained; None where that has not two neighbours in its shot, or does not
            move.
        """
        if self._squares is None or self._counts is None:
            self._squares, self._counts = (torch.zeros(observed.shape[-2:]) for _ in range(2))
        moment = self._observations.add(restored, observed, starts_shot)
        self.frames += moment is not None
        if moment is None or not moment.moves:
            return None
        missed, unrestored = moment.missed(self.exposure), moment.unrestored().missed(self.exposure)
        self._squares += missed * moment.counted
        self._counts += moment.counted
        explained = Explained(moment.decibels(missed), moment.decibels(unrestored))
        self._sums = self._sums[0] + explained.restored, self._sums[1] + explained.input
        self._moving += 1
        return explained

    def mean(self) -> Explained | None:
        """The mean over the frames that move; None where none does."""
        return Explained(*(total / self._moving for total in self._sums)) if self._moving else None

    @property
    def moving(self) -> float:
        """Share of the frames that move, and so count."""
        return self._moving / max(self.frames, 1)

    def facts(self) -> dict[str, float | None]:
        """For machines: ``restored`` and ``input`` in dB, None where nothing moves or nothing is missed."""
        mean, exposure = self.mean(), self.exposure
        found = {"restored": mean.restored, "input": mean.input} if mean else {"restored": None, "input": None}
        decibels = {name: None if v is None or math.isinf(v) else round(v, 3) for name, v in found.items()}
        return decibels | {"tau": exposure.tau, "gamma": exposure.exponent, "moving": round(self.moving, 4)}

    def line(self) -> str:
        """The same for people."""
        mean, exposure = self.mean(), self.exposure
        if mean is None:
            return "no frame moves, there is nothing to explain"
        found = f"{mean.restored:.2f} dB, the input itself would at {mean.input:.2f} dB"
        about = f"tau {exposure.tau:g}, gamma {exposure.exponent:g}; {100 * self.moving:.0f} % of the frames move"
        return f"blurred again, the restored frames explain the input at {found} ({about})"

    def map(self) -> Tensor:
        """Root mean square over time of what is missed, H x W in code values; NaN where nothing counted.

        One pixel where there was no frame.
        """
        if self._squares is None or self._counts is None:
            return torch.full((1, 1), math.nan)
        return (self._squares / self._counts).sqrt()


@dataclass(frozen=True)
class Explanation:
    """What a restored video explains of its input."""

    residual: Residual
    frames: dict[int, Explained]
    """The frames that move, by their numbers."""

    def scores(self) -> dict[str, float]:
        """By the names that ``deblur metrics`` gives them."""
        mean, exposure, moving = self.residual.mean(), self.residual.exposure, {"moving": self.residual.moving}
        if mean is None:
            return moving
        found = {"reblur": mean.restored, "reblur_input": mean.input}
        return found | {"tau": exposure.tau, "gamma": exposure.exponent} | moving
