"""Frames of one camera, blurred ones and sharp ones that belong to nothing: what Blur2Blur learns from.

Source: Blur2Blur (CVPR 2024), section 4.1: scenes of both kinds are disjoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice, pairwise
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from deblurcli.adaptation.frame_noise import noise_between
from deblurcli.adaptation.samples import evenly
from deblurcli.console import Reporter
from deblurcli.errors import InputError
from deblurcli.media.frames import Frame
from deblurcli.media.images import read_image
from deblurcli.media.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES, expand, is_picture
from deblurcli.media.videos import open_video
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.train.blurred_clips import pixels
from deblurcli.train.unpaired import CameraFrame, piece_of

MAX_FRAMES = 900
"""Frames of a video that are looked at."""
FRAMES_PER_VIDEO, MAX_KEPT = 90, 720
"""Frames that are kept, evenly over the time, of a video and of all files together."""
MAX_SIDE = 512
"""Largest sides, in pixels, of the piece that is kept of a frame."""
MIN_FRAMES = 2
"""Frames of each kind: one to learn from and one to validate by."""
BLURRED_SHARE = 0.6
"""Share of the scenes that give the blurred frames, where the same files are to give both."""


def read_frames(inputs: Sequence[Path], size: int, kind: str, console: Reporter) -> list[CameraFrame]:
    """Frames of videos and pictures, in the order of their paths; frames of any sizes go together.

    Args:
        inputs: files, folders and patterns.
        size: least side of a frame in pixels; smaller ones are left out, with a warning.
        kind: "blurry" or "sharp", as the option is called.

    Raises InputError: a file cannot be read, a folder has none, or fewer than ``MIN_FRAMES`` frames are left.
    """
    paths = expand(inputs, IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    if empty := next((path for path in paths if path.is_dir()), None):
        raise InputError(f"{empty} holds no videos or pictures", f"give others to --{kind}")
    found: list[CameraFrame] = []
    small = False
    last: tuple[Path, Tensor] | None = None
    for number, path in enumerate(paths):
        console.progress(f"reading {kind} frames", number, len(paths))
        if is_picture(path):
            frame = (read_image(path).rgb() * 255).round().byte()
            # Pictures of a folder follow each other.
            before = last[1] if last and last[0] == path.parent else None
            last = path.parent, frame
            kept, shape = [_kept(path.parent, before, frame, f"{path.name} {number}")], tuple(frame.shape)
        else:
            kept, shape = _video_frames(path)
        if kept and min(shape[-2:]) >= size:
            found += kept
        elif kept:
            small = True
            console.warn(f"{path.name} has {shape[-1]}x{shape[-2]} pixels, too few for crops of {size}: it is left out")
    if len(found) < MIN_FRAMES:
        count = "one frame" if found else "no frame"
        cure = "give smaller --crops, or larger frames" if small else f"give at least {MIN_FRAMES} to --{kind}"
        raise InputError(f"there is {count} of {size}x{size} pixels or more to learn from in --{kind}", cure)
    return evenly(found, MAX_KEPT, lambda frame: frame)


def camera_frames(
    blurry: Sequence[Path], sharp: Sequence[Path], size: int, console: Reporter
) -> tuple[list[CameraFrame], list[CameraFrame]]:
    """Blurred and sharp frames of a camera.

    Where the same files are to give both, the first ``BLURRED_SHARE`` of the scenes (videos, or folders of pictures)
    give the blurred frames, and the sharper half of the frames of the others are the sharp ones.

    Raises InputError: as :func:`read_frames`, or a file is given for both and others are not.
    """
    one, other = (
        {path.absolute() for path in expand(paths, IMAGE_SUFFIXES | VIDEO_SUFFIXES)} for paths in (blurry, sharp)
    )
    if one & other and one != other:
        raise InputError(f"{min(one & other)} is in --blurry and in --sharp", "give it to one of them")
    if one != other:
        found = read_frames(blurry, size, "blurry", console), read_frames(sharp, size, "sharp", console)
    else:
        found = _divided(read_frames(blurry, size, "blurry", console))
        console.note(
            f"--blurry and --sharp are the same: {len(found[0])} frames are blurry, {len(found[1])} sharp ones"
        )
    middle = [float(np.median([frame.score for frame in frames])) for frames in found]
    if middle[1] >= middle[0]:
        console.warn("the sharp frames are no sharper than the blurry ones, by their self-shift scores")
    return found


def _divided(frames: list[CameraFrame]) -> tuple[list[CameraFrame], list[CameraFrame]]:
    scenes = list(dict.fromkeys(frame.scene for frame in frames))
    if len(scenes) < 2:
        raise InputError(
            f"--blurry and --sharp are both {scenes[0]}, one scene", "give other files to one of them, or more scenes"
        )
    first = scenes[: min(max(1, round(BLURRED_SHARE * len(scenes))), len(scenes) - 1)]
    others = sorted((frame for frame in frames if frame.scene not in first), key=lambda frame: frame.score)
    return [frame for frame in frames if frame.scene in first], others[: max(1, len(others) // 2)]


def _video_frames(path: Path) -> tuple[list[CameraFrame], tuple[int, ...]]:
    """Frames of a video, evenly over its time, and their shape. Raises InputError."""
    shape: tuple[int, ...] = ()
    scene = path if path.suffix.lower() in VIDEO_SUFFIXES else path.parent  # of a pattern of pictures: their folder

    def kept(item: tuple[int, tuple[Frame | None, Frame]]) -> CameraFrame:
        nonlocal shape
        number, (before, frame) = item
        shape = tuple((picture := pixels(frame)).shape)
        return _kept(scene, None if before is None else pixels(before), picture, f"{path.name} {number}")

    with open_video(path) as reader:
        frames = islice(reader.frames(), MAX_FRAMES)
        found = evenly(enumerate(pairwise(chain([None], frames))), FRAMES_PER_VIDEO, kept)  # type: ignore[arg-type]
    return found, shape


def _kept(scene: Path, before: Tensor | None, frame: Tensor, name: str) -> CameraFrame:
    """A piece of a frame (3 x H x W uint8), at a place that hangs on its name alone, its score, and its noise."""
    rng = np.random.default_rng(crc32(name.encode()))
    size = min(frame.shape[-2], MAX_SIDE), min(frame.shape[-1], MAX_SIDE)
    piece, noise = piece_of(frame, size, rng).clone(), None
    score = float(self_shift_score(piece[None].float() / 255))
    if before is not None and before.shape == frame.shape:
        one, other = piece_of(torch.stack([before, frame]), size, rng).float() / 255
        noise = noise_between(one, other, rng)
    return CameraFrame(scene, piece, score, noise)
