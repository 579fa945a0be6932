"""A graphics card that is none: the control flow of a card on the processor, with as much memory as a test says."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deblurcli.device import Device

MESSAGE = "CUDA out of memory. Tried to allocate 2.00 GiB"


@dataclass(frozen=True)
class FakeCard(Device):
    """A processor that is taken for a card."""

    free: int = 64 << 30
    """Bytes that it says are free."""

    @property
    def is_card(self) -> bool:
        return True

    def free_memory(self) -> int:
        return self.free // self.sharers


def fake_card(free: int = 64 << 30) -> FakeCard:
    return FakeCard(torch.device("cpu"), torch.float32, "a test", free=free)


class Limited(nn.Module):
    """A network that runs out of memory on more than so many pixels in one call, and notes the calls.

    Its result at a pixel depends on its 3 x 3 neighbourhood alone.
    """

    def __init__(self, pixels: int = 1 << 40) -> None:
        super().__init__()
        self.pixels = pixels
        self.calls: list[tuple[int, int, int]] = []
        """Pictures, height and width of each call that had the memory."""

    def forward(self, x: Tensor) -> Tensor:
        count, _, height, width = x.shape
        if count * height * width > self.pixels:
            raise torch.OutOfMemoryError(MESSAGE)
        self.calls.append((count, height, width))
        return nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
