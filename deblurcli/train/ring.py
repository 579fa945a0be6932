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


def crops_at(pictures: Tensor, chosen: Tensor, rows: Tensor, columns: Tensor, symmetries: Tensor, size: int) -> Tensor:
    """Square pieces of pictures, each turned as :func:`turned` does, in a few steps for all of them together.

    On a graphics card, where a step for each piece costs as much as one for all.

    Args:
        pictures: N x ... x H x W.
        chosen, rows, columns, symmetries: B whole numbers each: the picture, the piece's upper left corner, and 0..7.

    Returns: B x ... x size x size.
    """
    along = torch.arange(size, device=pictures.device)
    flipped = size - 1 - along
    # What each row and each column of a piece shows, before it is turned over.
    down, across = (torch.where((symmetries & bit).bool()[:, None], flipped, along) for bit in (2, 1))
    transposed = (symmetries & 4).bool()[:, None, None]
    down, across = down[:, :, None], across[:, None, :]
    y = torch.where(transposed, across, down) + rows[:, None, None]
    x = torch.where(transposed, down, across) + columns[:, None, None]
    pieces = pictures.movedim((-2, -1), (1, 2))[chosen[:, None, None], y, x]
    return pieces.movedim((1, 2), (-2, -1))


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
        self.slots = max(capacity // group, 1)
        self.first = min(first, self.slots)
        self.made = 0
        self.iteration = 0
        """That of the last batch."""
        self.pairs: dict[int, tuple[Tensor, Tensor]] = {}
        self.together = where.type != "cpu" and turn is turned and tries == 1
        """Whether the crops of a batch are cut out by :func:`crops_at`, of ``whole``, which ``pairs`` are views of."""
        self.whole: tuple[Tensor, ...] = ()

    def _make(self, index: int) -> None:
        with self.side.work():
            blurred, sharp = self.draw(self.group, np.random.default_rng([self.seed, 1, index]))
            if self.expect is not None:
                self.expect(self.group, np.random.default_rng([self.seed, 1, index + 1]))
            slot, made = index % self.slots, (self._kept(blurred), self._kept(sharp))
            self.pairs[slot] = self._placed(slot, made) if self.together else made

    def _placed(self, slot: int, made: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Pairs where they lie in ``whole``."""
        if not self.whole:
            self.whole = tuple(t.new_empty(self.slots * self.group, *t.shape[1:]) for t in made)
        places = tuple(t[slot * self.group : (slot + 1) * self.group] for t in self.whole)
        for place, pictures in zip(places, made, strict=True):
            place.copy_(pictures)
        return places[0], places[1]

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
        if self.together:
            drawn = np.array([self._place(size, rng) for _ in range(count)])
            slots, items, symmetries, rows, columns = torch.from_numpy(drawn).to(self.whole[0].device).unbind(1)
            places = slots * self.group + items, rows, columns, symmetries
            batch = [crops_at(pictures, *places, size) for pictures in self.whole]
        else:
            batch = [
                torch.stack(pieces)
                for pieces in zip(*(self._most_blurred(size, rng) for _ in range(count)), strict=True)
            ]
        white = 1 if self.precise else 255
        blurred, sharp = (pieces.to(device).float().div_(white) for pieces in batch)
        self.side.taken()
        return blurred, sharp

    def _place(self, size: int, rng: np.random.Generator) -> tuple[int, int, int, int, int]:
        """Where a random crop lies: the slot, the pair in it, a symmetry of the square, row and column."""
        slot = int(rng.integers(len(self.pairs)))
        item, symmetry = int(rng.integers(self.group)), int(rng.integers(8))
        room = self.pairs[slot][0].shape[-1] - size
        return slot, item, symmetry, int(rng.integers(room + 1)), int(rng.integers(room + 1))

    def _crop(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A random crop of a random pair, as it is kept."""
        slot, item, symmetry, y, x = self._place(size, rng)
        picture, target = (tensor[item, ..., y : y + size, x : x + size] for tensor in self.pairs[slot])
        return turned(picture, symmetry), self.turn(target, symmetry)

    def _most_blurred(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The crop among ``tries`` of them whose pictures differ most."""
        found = [self._crop(size, rng) for _ in range(self.tries)]
        return max(found, key=lambda p: float((p[0].float() - p[1]).abs().mean())) if self.tries > 1 else found[0]
