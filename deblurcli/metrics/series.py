"""The scores of a file: frame by frame, and their means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from deblurcli.metrics.flicker import warping_errors

Scores = dict[str, float]
"""Numbers by the name of the measure."""
Measure = Callable[[Tensor, Tensor], Scores]
"""From a picture and its reference, or twice the picture without one; NaN where the picture is too small."""

ROOT_MEAN_SQUARE = ("flicker", "flicker_reference")
"""Scores averaged as root mean squares; all others are averaged arithmetically."""


def frame_scores(
    frames: Iterable[tuple[Tensor, Tensor | None]], measures: Sequence[Measure], is_cut: Callable[[Tensor], bool]
) -> Iterator[Scores]:
    """The scores of each picture, without those for which it is too small.

    Args:
        frames: pictures, 3 x H x W in [0, 1], all with a reference or all without.
        measures: measures of each picture, in this order.
        is_cut: whether a cut lies between this picture and the one before.

    From the second on, a picture in a shot also has ``flicker``: the root of its warping error, in 8-bit code values,
    along the motion of the reference, with ``flicker_reference``, that of the reference itself; without a reference,
    along its own motion.
    """
    before: tuple[Tensor, Tensor] | None = None
    for picture, reference in frames:
        against = picture if reference is None else reference
        found: Scores = {}
        for measure in measures:
            found |= measure(picture, against)
        if not is_cut(against) and before is not None:
            videos = [(before[0], picture), (before[1], against)][: 1 if reference is None else 2]
            errors = warping_errors(videos, (before[1], against))
            found |= zip(ROOT_MEAN_SQUARE, map(math.sqrt, errors), strict=False)
        before = picture, against
        yield {name: value for name, value in found.items() if not math.isnan(value)}


@dataclass
class Means:
    """Running means of the scores of a file, in memory that does not grow with it."""

    frames: int = 0
    sums: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, scores: Scores) -> None:
        self.frames += 1
        for name, value in scores.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = total + (value * value if name in ROOT_MEAN_SQUARE else value), count + 1

    def scores(self) -> Scores:
        """The mean of each score over the frames that have it, and the number of ``frames``."""
        means = {name: total / count for name, (total, count) in self.sums.items()}
        return {name: math.sqrt(m) if name in ROOT_MEAN_SQUARE else m for name, m in means.items()} | {
            "frames": self.frames
        }
