"""Sharp moments of training videos: five consecutive frames whose middle one is worth learning from."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.media.inputs import VIDEO_SUFFIXES, expand
from deblurcli.media.reader import VideoReader
from deblurcli.train.detail import detail

REDUCTION = 2
"""Factor by which frames are reduced, which removes most blocks and ringing of their compression."""
MAX_FRAMES = 120
"""Frames of a video that are looked at."""
FRAMES = 5
"""Frames in a moment: three blurred ones need one more on either side."""
MAX_MOMENTS = 10
"""Moments from one video."""
MIN_SIDE = 128
"""Smallest width and height of reduced frames, in pixels."""
CUT_DIFFERENCE = 0.15
"""Mean absolute difference between neighbours, of the full scale, above which there is a cut between them."""


def read_moments(folder: Path) -> dict[str, Tensor]:
    """Moments (5 x 3 x H x W uint8) from every video of a folder, under the name ``FILE#frame``.

    They come from the sharper half of the frames, evenly over time, away from cuts. Videos that are too small to crop
    from give none.

    Raises:
        InputError: a video that cannot be read.
    """
    moments: dict[str, Tensor] = {}
    for path in filter(Path.is_file, expand([folder], VIDEO_SUFFIXES)):
        moments |= {f"{path.name}#{index}": moment for index, moment in _sharp_moments(path).items()}
    return moments


def _sharp_moments(path: Path) -> dict[int, Tensor]:
    frames: list[Tensor] = []
    with VideoReader(path) as reader:
        if min(reader.info.video.width, reader.info.video.height) < MIN_SIDE * REDUCTION:
            return {}
        for frame in reader.frames():
            small = F.avg_pool2d(frame.rgb(), REDUCTION)
            frames.append((small * 255).round().byte())
            if len(frames) == MAX_FRAMES:
                break
    coarse = [frame[:, ::4, ::4].float() / 255 for frame in frames]
    steps = [float((a - b).abs().mean()) for a, b in pairwise(coarse)]
    sharpness = [detail(frame) for frame in frames]
    typical = sorted(sharpness)[len(frames) // 2] if frames else 0.0
    reach = FRAMES // 2
    good = [
        i
        for i in range(reach, len(frames) - reach)
        if sharpness[i] >= typical and 0 < max(steps[i - reach : i + reach]) < CUT_DIFFERENCE
    ]
    every = max(1, len(good) // MAX_MOMENTS)
    return {i: torch.stack(frames[i - reach : i + reach + 1]) for i in good[::every][:MAX_MOMENTS]}
