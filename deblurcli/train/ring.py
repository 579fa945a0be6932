"""The ring of prepared crops between blur synthesis and training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from deblurcli.train.data import Source, turned
from deblurcli.train.side import Side

CPU = torch.device("cpu")


class Ring(Protocol):
    """Prepared pairs as the loop takes them: advanced to an iteration, they give a batch of crops."""

    def advance(self, iteration: int, progress: Callable[[int, int], None] = ..., /) -> None: ...

    def batch(self, iteration: int, count: int, size: int, device: torch.device, /) -> tuple[Tensor, Tensor]: ...


class CropRing:
    """A ring of prepared pairs, refreshed as training goes on, so that making crops costs less than training on them.

    The pairs in the ring at an iteration are a function of ``seed`` and the iteration alone.

    Args:
        draw: a source such as :func:`stills`.
        capacity: pairs kept.
        every: iterations between two groups; 0 keeps the first filling for ever.
        group: pairs made at a time.
        first: groups made before the first iteration, as far as there is room.
        precise: keep pairs to a tenth of a code value, in twice the memory, instead of rounding them to 8 bits.
        tries: random crops to draw for each one that is taken, the one whose pair differs most.
        turn: turns the target of a pair along with its picture, by one of the 8 symmetries of the square.
        where: the device that ``draw`` draws on, where the pairs stay.
        expect: is told what ``draw`` will be asked for next, so that it can be begun.
    """

    def __init__(
        self,
        draw: Source,
        *,
        capacity: int,
        every: int,
        seed: int,
        group: int = 6,
        first: int = 64,
        precise: bool = False,
        tries: int = 1,
        turn: Callable[[Tensor, int], Tensor] = turned,
        where: torch.device = CPU,
        expect: Callable[[int, np.random.Generator], None] | None = None,
    ) -> None:
        self.draw, self.group, self.every, self.seed = draw, group, every, seed
        self.precise, self.tries, self.turn, self.side = precise, tries, turn, Side(where)
        self.expect = expect
        self.slots, self.first = max(capacity // group, 1), min(first, capacity // group)
        self.made = 0
        self.iteration = 0
        """That of the last batch."""
        self.pairs: dict[int, tuple[Tensor, Tensor]] = {}

    def _make(self, index: int) -> None:
        with self.side.work():
            blurred, sharp = self.draw(self.group, np.random.default_rng([self.seed, 1, index]))
            if self.expect is not None:
                self.expect(self.group, np.random.default_rng([self.seed, 1, index + 1]))
            self.pairs[index % self.slots] = (self._kept(blurred), self._kept(sharp))

    def _kept(self, pictures: Tensor) -> Tensor:
        return pictures.half() if self.precise else (pictures.clamp(0, 1) * 255).round().to(torch.uint8)

    def advance(self, iteration: int, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Bring the ring to its state at ``iteration``; after a resume only what is still in it is made again."""
        wanted = self.first + (iteration // self.every if self.every else 0)
        start = max(self.made, wanted - self.slots)
        for index in range(start, wanted):
            self._make(index)
            progress(index - start + 1, wanted - start)
        self.made = max(self.made, wanted)

    def batch(self, iteration: int, count: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """``count`` random pairs cropped to ``size`` and turned at random: float, in [0, 1]."""
        self.iteration, rng = iteration, np.random.default_rng([self.seed, 2, iteration])
        chosen: tuple[list[Tensor], list[Tensor]] = ([], [])
        for _ in range(count):
            found = [self._crop(size, rng) for _ in range(self.tries)]
            pair = max(found, key=lambda p: float((p[0].float() - p[1]).abs().mean())) if self.tries > 1 else found[0]
            for pieces, crop in zip(chosen, pair, strict=True):
                pieces.append(crop)
        whole = 1 if self.precise else 255
        blurred, sharp = (torch.stack(pieces).to(device).float().div_(whole) for pieces in chosen)
        self.side.taken()
        return blurred, sharp

    def _crop(self, size: int, rng: np.random.Generator) -> list[Tensor]:
        """A random crop of a random pair, as it is kept."""
        group = self.pairs[int(rng.integers(len(self.pairs)))]
        item, symmetry = int(rng.integers(self.group)), int(rng.integers(8))
        room = group[0].shape[-1] - size
        y, x = int(rng.integers(room + 1)), int(rng.integers(room + 1))
        picture, target = (tensor[item, ..., y : y + size, x : x + size] for tensor in group)
        return [turned(picture, symmetry), self.turn(target, symmetry)]
