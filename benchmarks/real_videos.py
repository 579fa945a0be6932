"""Blurred clips with truth from real videos: frames between the frames, averaged in linear light.

A video is shrunk, so that its own blur, noise and compression shrink with it. Between two neighbouring frames views are
warped from both along the optical flow (DIS) and mixed; views are averaged while the shutter is open; the truth is the
frame in the middle. Nothing of :mod:`deblurcli.synth` is used: what makes the training data must not make the test as
well. Clips that are there with their truth are read as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from benchmarks.cameras import Clip, Frames, read

GAMMA = 2.2
OPENING = 0.8
"""Exposure in frame intervals."""
WIDTH = 448
"""Of the clips, in pixels, at most; a video is shrunk to half of its size at least."""
NOISE = 0.004
"""Standard deviation at full scale, of the blurred frames."""
MAX_VIEWS = 33


def shrunk(path: Path) -> Iterator[np.ndarray]:
    """Frames of a video, H x W x 3 bytes, sides multiples of 16."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            scale = min(0.5, WIDTH / picture.shape[1])
            width, height = (int(side * scale) // 16 * 16 for side in (picture.shape[1], picture.shape[0]))
            yield cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """H x W x 2 in pixels, where each pixel of ``before`` is found in ``after``."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(search.calc(before, after, np.zeros((*before.shape, 2), np.float32)))


def rendered(path: Path, frames: int, first: int = 0) -> tuple[Frames, Frames]:
    """Blurred and sharp frames of a video from its frame ``first`` on, one for each of its frames."""
    pictures = list(islice(shrunk(path), first, first + frames + 2))
    if len(pictures) < 3:
        raise SystemExit(f"{path}: fewer than three frames from {first} on")
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    lights = [(picture / 255).astype(np.float32) ** GAMMA for picture in pictures]
    ahead, back = ([flow(*pair[::way]) for pair in pairwise(greys)] for way in (1, -1))
    height, width = greys[0].shape
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    rng = np.random.default_rng(first)

    def warped(light: np.ndarray, motion: np.ndarray) -> np.ndarray:
        found: np.ndarray = cv2.remap(light, grid + motion, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return found

    def view(time: float) -> np.ndarray:
        """At a time in frames: what both neighbours say, the nearer one more."""
        at = min(int(time), len(lights) - 2)
        share = time - at
        before, after = warped(lights[at], share * back[at]), warped(lights[at + 1], (1 - share) * ahead[at])
        return (1 - share) * before + share * after

    def shown(light: np.ndarray, noise: float) -> torch.Tensor:
        value = np.clip(light, 0, 1) ** (1 / GAMMA)
        value = value + rng.normal(0, noise, value.shape) if noise else value
        return torch.from_numpy(np.round(np.clip(value, 0, 1) * 255).astype(np.uint8)).permute(2, 0, 1).contiguous()

    blurred, sharp = [], []
    for frame in range(1, len(pictures) - 1):
        longest = OPENING * float(np.percentile(np.hypot(*ahead[frame].transpose(2, 0, 1)), 95))
        views = int(np.clip(longest, 5, MAX_VIEWS)) | 1
        times = frame + OPENING * np.linspace(-0.5, 0.5, views)
        blurred.append(shown(np.mean([view(float(time)) for time in times], 0), NOISE))
        sharp.append(shown(lights[frame], 0.0))
    return blurred, sharp


def clips(
    videos: Sequence[str], pairs: Sequence[Sequence[str]], frames: int, wanted: Callable[[int, Clip], bool]
) -> Iterator[tuple[Clip, Frames, Frames]]:
    """The clips that are ``wanted``, by their number; each is made when its turn comes.

    Args:
        videos: sharp videos to render clips from, FILE or FILE@FIRST, the number of the first frame.
        pairs: a blurred and a sharp file each.
    """
    for index, words in enumerate(videos):
        name, _, first = words.partition("@")
        clip = Clip("rendered from video", f"{Path(name).stem}, from frame {first or 0}", maker="video")
        if wanted(index, clip):
            yield clip, *rendered(Path(name), frames, int(first or 0))
    for index, (blurred, sharp) in enumerate(pairs, len(videos)):
        clip = Clip("with truth", Path(blurred).stem, maker="video")
        if wanted(index, clip):
            yield clip, read(blurred)[:frames], read(sharp)[:frames]
