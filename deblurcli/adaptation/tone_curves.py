"""Keeping the colours: how to change a picture's values so that their distribution is another picture's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVELS = 65
"""Quantiles that a tone curve is made of."""

SPAN = (-0.5, 1.5)
"""Values that a tone curve is made for: results that are not clamped leave [0, 1] a little."""

ENTRIES = 8193
"""Entries in the table of a tone curve: a sixteenth of an 8-bit code value apart."""


def matched(picture: Tensor, reference: Tensor) -> Tensor:
    """A picture with the histogram of another: exact matching of the cumulative distributions, channel by channel.

    The same as ``match_histograms`` of scikit-image with ``channel_axis``: equal values stay equal, and become the
    largest of the values that their share of the pixels has in the reference. Clamped pictures have many equal values,
    so that more black, say, becomes brighter as a whole: match before clamping, and the mean is the reference's to
    rounding.

    Args:
        picture, reference: C x H x W and C x h x w, any range.

    Returns:
        C x H x W float32, on the CPU.
    """
    channels = zip(picture.detach().cpu().float().numpy(), reference.detach().cpu().float().numpy(), strict=True)
    return torch.from_numpy(np.stack([_matched(*pair) for pair in channels]))


def _matched(channel: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    order = np.argsort(channel, axis=None)
    values = channel.ravel()[order]
    # The share of the pixels up to and with each value is its rank, counted to the last of its equals.
    last = np.append(np.flatnonzero(np.diff(values)), values.size - 1)
    wanted, counts = np.unique(reference, return_counts=True)
    mapped = np.interp((last + 1) / values.size, np.cumsum(counts) / reference.size, wanted)
    found = np.empty(values.size, np.float32)
    found[order] = np.repeat(mapped, np.diff(last, prepend=-1))
    return found.reshape(channel.shape)


@dataclass(frozen=True)
class ToneCurves:
    """A rising curve for each channel, the same for every picture: histogram matching learnt once."""

    offsets: Tensor
    """C x ``ENTRIES``: what to add to values that are evenly spread over ``SPAN``."""

    @classmethod
    def between(cls, pictures: Sequence[Tensor], references: Sequence[Tensor]) -> ToneCurves:
        """The curves that give all the pictures together the references' histogram (C x H x W each, not clamped).

        Values darker or brighter than all of these pictures move as the darkest or brightest of them.
        """
        share, places = np.linspace(0, 1, LEVELS), np.linspace(*SPAN, ENTRIES)
        curves = []
        for channel in range(len(pictures[0])):
            before, after = (
                np.quantile(np.concatenate([p[channel].numpy().ravel() for p in some]), share)
                for some in (pictures, references)
            )
            curves.append(np.interp(places, before, after - before))
        return cls(torch.from_numpy(np.stack(curves)).float())

    def __call__(self, picture: Tensor) -> Tensor:
        """Apply the curves to C x H x W, not clamped; returns the same shape in float32, not clamped."""
        (low, high), last = SPAN, self.offsets.shape[1] - 1
        entries = ((picture - low) * (last / (high - low))).round().clamp(0, last).long()
        return picture + self.offsets.gather(1, entries.flatten(1)).view_as(picture)
