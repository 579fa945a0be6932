"""The real command on real files: clips with something to restore, networks that a test can afford, digests."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import torch
from torch import Tensor

from deblurcli.cli.app import run
from deblurcli.networks import NETWORKS
from deblurcli.synth.pairs import shaken
from deblurcli.weights.save import save_network

QUICK = ["--patches", "2", "--patch-size", "64", "--tile", "off"]
"""Options of the meta method for clips of a few small frames."""
SMALL = {"width": 16, "deep_width": 16, "blocks": [1, 1, 1], "fold": 4, "scales": 3}
"""A plain U-Net that restores a frame in no time."""


def deblur(*words: object) -> int:
    """The exit code of a command line, run in this process."""
    return run([str(word) for word in words])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, str]:
    """Path inside the folder -> digest, of every file."""
    return {str(p.relative_to(folder)): digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def write_video(path: Path, pictures: Sequence[Tensor], pix_fmt: str = "bgr0") -> Path:
    """A lossless clip of 3 x H x W pictures in [0, 1] at 25 frames/s."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[1:], pix_fmt
        for picture in pictures:
            codes = (picture * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
            output.mux(stream.encode(av.VideoFrame.from_ndarray(codes, "rgb24")))
        output.mux(stream.encode(None))
    return path


def soft_picture(seed: int, height: int, width: int) -> Tensor:
    """3 x H x W: soft coloured shapes."""
    rough = torch.rand(1, 3, height // 8 + 1, width // 8 + 1, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(rough, size=(height, width), mode="bicubic")[0].clamp(0, 1)


def pan(seed: int, frames: int, height: int = 96, width: int = 128) -> list[Tensor]:
    """A pan over a picture of soft shapes."""
    wide = soft_picture(seed, height, width + 3 * frames)
    return [wide[:, :, 3 * at : 3 * at + width] for at in range(frames)]


def shaken_video(path: Path, frames: int = 9) -> Path:
    """Soft shapes shaken by hand, blurred as a camera would: the meta method finds something to learn."""
    picture = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(picture, size=(192, 224), mode="bicubic")[0].clamp(0, 1)
    return write_video(path, [blurred for blurred, _ in shaken(picture, frames, 25, 8, 0, 3.5, 0.0)])


def small_network(path: Path, change: float = 0.0) -> Path:
    """A file with a network that adds ``change`` to every sample; 0 changes nothing."""
    torch.manual_seed(0)
    network = NETWORKS["plain-unet"].build(**SMALL)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name == "tail.bias":
                parameter.fill_(change)
    save_network(path, network, network="plain-unet", config=SMALL, card={})
    return path


def command(*words: object, **environment: str) -> subprocess.Popen[str]:
    """Start ``deblur`` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "deblurcli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        preexec_fn=usual_signals if os.name == "posix" else None,
    )


def usual_signals() -> None:
    """A shell starts background jobs with these ignored, and children inherit that."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
