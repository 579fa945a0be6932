"""Clips out of blurred videos, for training without sharp pictures: consecutive frames, in crops where they move."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.console import Reporter
from deblurcli.errors import InputError
from deblurcli.media.frames import Frame
from deblurcli.media.inputs import VIDEO_SUFFIXES, expand, is_sequence
from deblurcli.media.shots import CutDetector
from deblurcli.media.videos import open_video
from deblurcli.synth.motion import optical_flow
from deblurcli.train.data import Source
from deblurcli.train.material import is_held_out

MAX_FRAMES = 900
"""Frames of a video that are looked at."""
COARSE_SIDE = 256
"""Smaller side of the frames in which motion is looked for, in pixels, at least; smaller frames are not reduced."""
MOVING = 0.9
"""The quantile of the motion within a frame that is taken for the motion of what moves there."""
MIN_MOTION = 1.0
"""Motion, in pixels a frame, below which there is no blur to learn from."""
CUT = -1.0
"""In the place of the motion from one shot to the next."""
PLACES = 4
"""Random places in a frame, of which a clip is cut out of the one that moves most."""
HELD_OUT_SHARE = 8
"""One clip of a video in so many, the last ones, is kept for validation where no video is."""


@dataclass(frozen=True)
class Film:
    """A video to cut clips out of."""

    path: Path
    starts: tuple[int, ...]
    """Indices of the frames that clips may begin with: they move, and no cut lies within."""
    frames: int
    """Frames of a clip."""

    def clips(self, count: int, size: int, rng: np.random.Generator) -> Iterator[Tensor]:
        """``count`` clips at random moments, in one pass over the video: frames x 3 x size x size each, uint8.

        Raises InputError: the video cannot be read.
        """
        wanted = sorted(int(self.starts[i]) for i in rng.integers(len(self.starts), size=count))
        around: deque[Frame] = deque(maxlen=self.frames)
        with open_video(self.path) as reader:
            for index, frame in enumerate(islice(reader.frames(), wanted[-1] + self.frames)):
                around.append(frame)
                while wanted and wanted[0] + self.frames - 1 == index:
                    wanted.pop(0)
                    yield moving_crop(torch.stack([pixels(each) for each in around]), size, rng)


def read_films(videos: Sequence[Path], frames: int, size: int, console: Reporter) -> list[Film]:
    """The videos that clips of ``frames`` frames and ``size`` pixels can be cut out of, in order of their paths.

    Args:
        videos: files, folders and patterns.
        console: is told which of several videos cannot be used, and why.

    Raises:
        InputError: a video cannot be read, or none can be used.
    """
    paths = expand(videos, VIDEO_SUFFIXES, sequences=True)
    if empty := next((path for path in paths if path.is_dir() and not is_sequence(path)), None):
        raise InputError(f"{empty} holds no videos", "give --videos FILE, or a FOLDER with videos in it")
    films: list[Film] = []
    refused: list[InputError] = []
    for number, path in enumerate(paths):
        console.progress("looking through the videos", number, len(paths))
        found = _looked_through(path, frames, size)
        if isinstance(found, Film):
            films.append(found)
        else:
            refused.append(found)
    if not films:
        others = f", and none of {len(paths)} videos can be used" if len(paths) > 1 else ""
        raise InputError(f"{refused[0].found}{others}", refused[0].cure)
    for reason in refused:
        console.warn(f"{reason.found}: it is left out")
    return films


def _looked_through(path: Path, frames: int, size: int) -> Film | InputError:
    """A video's moments to learn from, or why there are none. Raises InputError: it cannot be read."""
    with open_video(path) as reader:
        width, height = reader.info.video.width, reader.info.video.height
        if min(width, height) < size:
            found = f"{path.name} has {width}x{height} pixels, too few for crops of {size}"
            return InputError(found, "give smaller --crops, or larger videos")
        speeds = _speeds(pixels(frame) for frame in islice(reader.frames(), MAX_FRAMES))
    clips = range(len(speeds) - frames + 2)
    if not clips:
        found = f"{path.name} is too short: it has {len(speeds) + 1} frames"
        return InputError(found, f"give videos of at least {frames} frames for this network")
    whole = [at for at in clips if min(speeds[at : at + frames - 1]) != CUT]
    if not whole:
        return InputError(f"{path.name} has no shot of {frames} frames", "give videos with longer shots")
    middle = frames // 2
    # Blur comes from the motion on both sides of the middle frame. A frame that is there twice has none.
    starts = tuple(at for at in whole if min(speeds[at + middle - 1 : at + middle + 1]) >= MIN_MOTION)
    if not starts:
        found = f"{path.name} shows no motion, so there is no blur to learn from"
        return InputError(found, "give videos in which things move")
    return Film(path, starts, frames)


def _speeds(pictures: Iterable[Tensor]) -> list[float]:
    """Between each picture (3 x H x W uint8) and the next, how fast things move in pixels; ``CUT`` at a cut."""
    is_cut, before = CutDetector(), None
    found: list[float] = []
    for picture in pictures:
        begins, seen = is_cut(picture), coarse(picture)
        if before is not None:
            found.append(CUT if begins else reduction(picture) * float(motion(before, seen).quantile(MOVING)))
        before = seen
    return found


def split(films: Sequence[Film]) -> tuple[list[Film], list[Film]]:
    """Films to learn from and to validate by: whole files by the hash of their names or, where that puts all on one
    side, the end of each film."""
    kept = [film for film in films if is_held_out(film.path.name)]
    if 0 < len(kept) < len(films):
        return [film for film in films if film not in kept], kept
    learnt, held = [], []
    for film in films:
        last = film.starts[-max(1, len(film.starts) // HELD_OUT_SHARE) :]
        first = tuple(at for at in film.starts if at + film.frames <= last[0])
        # A film too short to be divided is on both sides.
        learnt.append(replace(film, starts=first or film.starts))
        held.append(replace(film, starts=last))
    return learnt, held


def blurred_clips(films: Sequence[Film], size: int) -> Source:
    """A source of clips, all of a random film: (count, rng) -> clips, and the frame in the middle of each.

    The first are count x frames x 3 x size x size, the second count x 3 x size x size; float, in [0, 1].
    """

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        film = films[int(rng.integers(len(films)))]
        clips = torch.stack(list(film.clips(count, size, rng))).float().div_(255)
        return clips, clips[:, film.frames // 2]

    return draw


def moving_crop(frames: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Cut frames (T x 3 x H x W uint8) to ``size``: where they move most, among some random places."""
    height, width = frames.shape[-2:]
    middle = len(frames) // 2
    speed = motion(coarse(frames[middle - 1]), coarse(frames[middle]))
    factor = reduction(frames)

    def seen(corner: tuple[int, int]) -> float:
        y, x = (at // factor for at in corner)
        return float(speed[y : y + size // factor, x : x + size // factor].mean())

    corners = [(int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))) for _ in range(PLACES)]
    y, x = max(corners, key=seen)
    return frames[..., y : y + size, x : x + size].clone()


def pixels(frame: Frame) -> Tensor:
    """RGB, 3 x H x W uint8."""
    picture = frame.preview()
    return picture if picture.dtype == torch.uint8 else (picture * 255).round().byte()


def reduction(picture: Tensor) -> int:
    """The whole number by which a picture (... x H x W) is reduced to find its motion."""
    return max(1, min(picture.shape[-2:]) // COARSE_SIDE)


def coarse(picture: Tensor) -> Tensor:
    """A picture (3 x H x W uint8) in the size in which motion is found fast: 3 x h x w uint8."""
    factor = reduction(picture)
    return F.avg_pool2d(picture.float(), factor).round().byte() if factor > 1 else picture


def motion(first: Tensor, second: Tensor) -> Tensor:
    """How far each pixel of one picture of :func:`coarse` moves to another; h x w, in their pixels."""
    return optical_flow(first, second).norm(dim=0)
