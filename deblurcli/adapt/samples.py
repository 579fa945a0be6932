"""Test-time adaptation: a network learns, on the picture itself, to leave no blur that could be made strong again.

Clean Images are Hard to Reblur (Nah et al., ICLR 2022), section 3.3, eq. 6 and algorithm A. A reblurring module M_R has
learnt to bring back the blur that a deblurring network M_D leaves, and to change nothing in sharp pictures. So without
any sharp original, | M_R(L) - L | tells what is left in L = M_D(B): M_D takes a few steps downhill, M_R stays as it is,
and L, where it is the target, is a constant. The colours of the unadapted result are kept by histogram matching.

Of a network with a part that restores each frame alone (``NetworkSpec.alone``) that part adapts, by its own result:
what joins the frames stays as it was trained.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from deblurcli.adapt.guard import require_finite, require_finite_weights
from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.errors import DeviceError
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.options import TtaOptions
from deblurcli.restore.tiles import MEMORY_BUDGET, Region, is_out_of_memory, padded
from deblurcli.weights.load import LoadedNetwork

PROBES = (64, 128)
"""Sides of the squares on which the memory of a step is tried out, in pixels."""

SPARE = 1.5
"""Peak memory of a step, of what is kept for its gradients."""


@dataclass(frozen=True)
class Sample:
    """A piece of a picture to adapt to.

    ``frames``: what the network is shown, 3 x h x w, or T x 3 x h x w of a window. ``counted``: the region of it whose
    sharpness counts; around that lies what the networks must see to judge it as they would in the whole picture.
    """

    frames: Tensor
    counted: Region

    @property
    def pixels(self) -> int:
        return self.counted[2] * self.counted[3]

    def copied(self) -> Sample:
        """The same without the picture that it was cut from."""
        return Sample(self.frames.clone(), self.counted)

    def cut(self, picture: Tensor) -> Tensor:
        """The counted region of a picture of the sample's size."""
        y, x, h, w = self.counted
        return picture[..., y : y + h, x : x + w]


def _cuts(length: int, count: int, step: int) -> list[tuple[int, int]]:
    """Begin and end of ``count`` parts of a length, about equal, cut at multiples of ``step``."""
    ends = sorted({min(length, round(i * length / count / step) * step) for i in range(count)} | {length})
    return list(pairwise(ends))


def split(
    height: int, width: int, fits: Callable[[int, int], bool], context: int, step: int
) -> list[tuple[Region, Region]]:
    """A picture in few pieces of a size that fits, each with what surrounds it.

    Args:
        fits: whether pieces of this height and width are small enough.
        context: pixels around a piece that belong to its surroundings, as far as the picture goes.
        step: all but the picture's own borders lie at multiples of this.

    Returns:
        for each piece its region with the surroundings, in the picture, and without them, in the former.
    """
    rows = columns = 1
    while not fits(tall := -(-height // rows), wide := -(-width // columns)) and max(tall, wide) > step:
        rows, columns = (rows + 1, columns) if tall > wide else (rows, columns + 1)
    context = -(-context // step) * step
    found = []
    for top, bottom in _cuts(height, rows, step):
        for left, right in _cuts(width, columns, step):
            y, x = max(0, top - context), max(0, left - context)
            around = (y, x, min(height, bottom + context) - y, min(width, right + context) - x)
            found.append((around, (top - y, left - x, bottom - top, right - left)))
    return found


class Adapter:
    """Adapts a copy of a deblurring network, again and again from the same weights.

    Args:
        network: the deblurring network, and ``module``, its own on ``device``, which stays as it is.
        reblur: the reblurring module.
        tile: ``auto`` (pieces as memory allows), ``off``, or the side of the largest piece, see
            :class:`deblurcli.restore.tiles.Restorer`.
    """

    def __init__(
        self,
        network: LoadedNetwork,
        module: nn.Module,
        reblur: LoadedNetwork,
        options: TtaOptions,
        device: Device,
        tile: str = "auto",
    ) -> None:
        self.spec, self.options = network.spec, options
        # Gradients underflow in fp16.
        self.device = device if device.dtype != torch.float16 else Device(device.where, torch.float32, device.why)
        self.original = module.get_submodule(self.spec.alone)
        self.module = copy.deepcopy(module).eval()
        self.part = self.module.get_submodule(self.spec.alone)
        self.frames = 1 if self.spec.alone else self.spec.window
        self.reblur = device.place(reblur.module).eval().requires_grad_(False)
        self.reach = reblur.spec.overlap
        self.area = math.inf if tile in ("auto", "off") else int(tile) ** 2
        if tile == "auto" and self.spec.tileable:
            self.area = min(device.free_memory() // 2, MEMORY_BUDGET) / (SPARE * self._kept_per_pixel())

    def _kept_per_pixel(self) -> float:
        """Bytes that a step keeps for its gradients, per pixel, whatever the network: tried out on two small pieces."""

        def kept(side: int) -> int:
            storages: dict[int, int] = {}

            def keep(tensor: Tensor) -> Tensor:
                storage = tensor.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
                return tensor

            shape = (self.frames, 3, side, side) if self.frames > 1 else (3, side, side)
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                self.loss(Sample(torch.zeros(shape), (0, 0, side, side)))
            return sum(storages.values())

        self.part.requires_grad_(True)
        small, large = (kept(side) for side in PROBES)
        self.part.requires_grad_(False)
        return max(large - small, 1) / (PROBES[1] ** 2 - PROBES[0] ** 2)

    def pieces(self, height: int, width: int) -> list[tuple[Region, Region]]:
        """How a picture is cut, see :func:`split`; in one piece where the network must see all of it at once."""
        if not self.spec.tileable:
            return [((0, 0, height, width), (0, 0, height, width))]
        context = self.spec.overlap + self.reach
        if self.area < (4 * context) ** 2:  # a piece that is mostly surroundings would never end
            context = math.isqrt(int(self.area)) // 4

        def fits(tall: int, wide: int) -> bool:
            return tall * wide <= self.options.tta_pixels and (tall + 2 * context) * (wide + 2 * context) <= self.area

        return split(height, width, fits, context, self.spec.step)

    def samples(self, frames: list[Tensor]) -> list[Sample]:
        """The pieces of the middle one of a window of frames (3 x H x W each), the most detailed ones first."""
        middle = frames[len(frames) // 2]
        shown = torch.stack(frames) if self.frames > 1 else middle
        found = []
        for (y, x, h, w), counted in self.pieces(middle.shape[-2], middle.shape[-1]):
            sample = Sample(shown[..., y : y + h, x : x + w], counted)
            piece = sample.cut(middle[:, y : y + h, x : x + w])
            found.append((float(self_shift_score(piece[None])) if min(piece.shape[1:]) > 1 else 0.0, sample))
        return [sample for _, sample in sorted(found, key=lambda scored: scored[0])]

    def restored(self, part: nn.Module, sample: Sample) -> Tensor:
        """What the network or its part makes of a sample, 1 x 3 x h x w, not clamped."""
        h, w = sample.frames.shape[-2:]
        batch = padded(sample.frames[None], self.spec.multiple_of, self.spec.min_size).to(self.device.where)
        batch = batch.contiguous() if batch.dim() == 5 else batch.contiguous(memory_format=torch.channels_last)
        with self.device.autocast():
            return part(batch)[..., :h, :w]

    def loss(self, sample: Sample) -> Tensor:
        """The sum of | M_R(L) - L | over the counted pixels and channels of a sample (eq. 6, there the mean)."""
        restored = self.restored(self.part, sample)
        y, x, h, w = sample.counted
        top, left = max(0, y - self.reach), max(0, x - self.reach)
        seen = restored[..., top : y + h + self.reach, left : x + w + self.reach]
        with self.device.autocast():
            reblurred = self.reblur(seen.contiguous(memory_format=torch.channels_last))
        difference = reblurred.float() - seen.detach().float()
        return difference[..., y - top : y - top + h, x - left : x - left + w].abs().sum()

    def adapt(self, samples: list[Sample], together: int, report: Reporter | None = None) -> list[float]:
        """N steps of Adam from the original weights; ``module`` then has the new ones.

        Args:
            samples: gone through in turn, ``together`` in each step; memory is that of one.
            report: where progress goes.

        Returns:
            the loss of each step, a mean over pixels and channels in [0, 1].

        Raises:
            Diverged: a loss or a weight is not finite.
            DeviceError: out of memory.
        """
        self.part.load_state_dict(self.original.state_dict())
        moving = list(self.part.requires_grad_(True).parameters())
        optimiser = torch.optim.Adam(moving, lr=self.options.tta_lr)
        losses = []
        try:
            for step in range(self.options.updates):
                batch = [samples[(step * together + i) % len(samples)] for i in range(together)]
                counted = 3 * sum(sample.pixels for sample in batch)
                total = torch.zeros((), device=self.device.where)
                optimiser.zero_grad()
                for sample in batch:
                    loss = self.loss(sample) / counted
                    loss.backward()
                    total += loss.detach()
                require_finite(total, "reblurring")
                optimiser.step()
                losses.append(float(total))
                if report is not None:
                    report.progress("adapting", step + 1, self.options.updates)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            cure = "give a smaller --tile or --tta-pixels" if self.spec.tileable else "give another --device"
            raise DeviceError(f"out of memory on {self.device.where} while adapting", cure) from error
        finally:
            self.part.requires_grad_(False)
        require_finite_weights(self.part, "deblurring")
        return losses
