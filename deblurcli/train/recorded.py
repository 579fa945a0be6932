"""Pairs that exist: pieces of the blurred and sharp pictures of a dataset, read from disk while a network trains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deblurcli.adaptation.pair_files import Pairs
from deblurcli.datasets.clip import Clip
from deblurcli.datasets.layouts import LAYOUTS
from deblurcli.datasets.read import clips
from deblurcli.errors import InputError
from deblurcli.train.data import Source
from deblurcli.train.material import HELD_OUT_INTERVAL, is_held_out

MAX_READERS = 16
"""Threads that decode pictures at the same time."""
_CPU = torch.device("cpu")

_Pieces = tuple[Tensor, Tensor]
"""Blurred windows and sharp middles: count x T x 3 x side x side, count x 3 x side x side."""


class RecordedPairs:
    """The material of stages that learn from pairs; names are in memory, and the pictures that were read last.

    Args:
        found: the clips to learn from.
        name: of the dataset, for the card of the weights.
    """

    def __init__(self, found: Sequence[Clip], name: str) -> None:
        self.clips, self.name = found, name
        self.pairs = Pairs([pair for clip in found for pair in clip.pairs], name)
        self._source = self.pairs
        self._readers = ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_READERS))
        self._shape = (1, 0)
        self._expected: tuple[object, list[Future[_Pieces]]] | None = None

    def __str__(self) -> str:
        return str(self.pairs)

    def split(self, least: int = 1) -> tuple[RecordedPairs, RecordedPairs]:
        """Training and validation pairs: one clip in sixteen is held out, by its name, or the last pairs of few clips.

        ``least``: pairs of a clip that are held out at least, where it has more.

        Raises InputError: there is one pair alone.
        """
        held = [clip for clip in self.clips if is_held_out(clip.name)]
        learnt = [clip for clip in self.clips if not is_held_out(clip.name)]
        if not held or not learnt:
            held, learnt = [], []
            for clip in self.clips:
                # All but as many as the widest window sees of the rest, so that neighbours are not shared.
                at = len(clip.pairs) - max(len(clip.pairs) // HELD_OUT_INTERVAL, least)
                learnt += [Clip(clip.name, clip.pairs[:at])] * (at > 0)
                held += [Clip(clip.name, clip.pairs[max(at, 0) :])]
        if not learnt:  # every clip is a single pair
            learnt, held = held[:-1], held[-1:]
        if not learnt:
            count = f"one clip of {len(held[0].pairs)} pairs" if len(held[0].pairs) > 1 else "one pair"
            raise InputError(f"{self.name} has {count}", "give more, so that some can be held out")
        return RecordedPairs(learnt, self.name), RecordedPairs(held, self.name)

    def drawn(self, frames: int, size: int, device: torch.device) -> Source:
        """(count, rng) -> blurred and sharp pieces, count x frames x 3 x size x size, every sharp one the middle's.

        A network learns the middle alone; sharp neighbours are not read. What it returns raises InputError: a file
        cannot be read, or is smaller than the pieces.
        """
        self._shape, self._source = (frames, size), self.pairs

        def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
            key = _key(rng)
            if self._expected is None or self._expected[0] != key:
                self.expect(count, rng)
            pieces = [each.result() for each in self._expected[1]] if self._expected else []
            self._expected = None
            blurred, sharp = (torch.cat(parts).to(device) for parts in zip(*pieces, strict=True))
            return blurred, sharp[:, None].expand(-1, frames, -1, -1, -1)

        return draw

    def sharp_windows(self, frames: int, size: int, device: torch.device) -> Source:
        """(count, rng) -> the blurred middle, count x 3 x size x size, and the sharp frames around it,
        count x frames x 3 x size x size; otherwise as :meth:`drawn`.
        """
        windows = self.drawn(frames, size, device)
        self._source = Pairs([(sharp, blurred) for blurred, sharp in self.pairs.pairs], self.name)

        def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
            sharp, blurred = windows(count, rng)
            return blurred[:, frames // 2], sharp

        return draw

    def expect(self, count: int, rng: np.random.Generator) -> None:
        """Begin to read what a draw with this generator will ask for."""
        key, (frames, size) = _key(rng), self._shape
        seeds = rng.integers(1 << 62, size=count)

        def read(seed: int) -> _Pieces:
            blurred, sharp, _ = self._source.draw(np.random.default_rng(seed), size, frames, _CPU)
            return blurred, sharp

        self._expected = key, [self._readers.submit(read, int(seed)) for seed in seeds]


def _key(rng: np.random.Generator) -> object:
    """The state of a generator, as far as it tells one from another."""
    return rng.bit_generator.state["state"]["state"]


def recorded_pairs(folder: Path, layout: str) -> RecordedPairs:
    """The training part of a dataset. Raises as :func:`deblurcli.datasets.read.clips`."""
    split = "train" if LAYOUTS[layout].parts else "all"
    return RecordedPairs(list(clips(folder, layout, split)), str(folder))
