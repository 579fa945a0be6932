"""What neighbouring frames are worth: the single-frame and the video network on synthetic clips of unseen material.

DATA is the folder of training material; only photos and videos that training keeps for validation are used, each as a
clip of N frames (20 if not given) that `deblur synth` makes: photos shaken by hand, videos with a longer exposure.
"""

from __future__ import annotations

import argparse
import tempfile
from fractions import Fraction
from itertools import islice
from pathlib import Path

from benchmarks.results import Table
from deblurcli.api import deblur_video, make_pairs, measure
from deblurcli.errors import DeblurError
from deblurcli.files import OutputFile
from deblurcli.media.clips import ClipWriter
from deblurcli.media.reader import VideoReader
from deblurcli.train.material import is_held_out

BLURS = (6, 10, 16, 24)
"""Mean lengths of the paths in an exposure, in pixels, of the photos in turn."""
PHOTOS = 11


def held_out(folder: Path) -> list[Path]:
    """Files of a folder that training does not see."""
    return [path for path in sorted(folder.iterdir()) if is_held_out(path.name)]


def excerpt(source: Path, destination: Path, frames: int) -> Path:
    """The beginning of a video, lossless."""
    with VideoReader(source) as reader, OutputFile(destination) as output, ClipWriter(output, Fraction(25)) as writer:
        for frame in islice(reader.frames(), frames):
            writer.write(frame.rgb())
    return destination


def clips(data: Path, work: Path, frames: int) -> list[tuple[str, Path, Path]]:
    """Name, blurred and sharp video of every clip."""
    made = []
    (work / "blurred").mkdir()
    photos = held_out(data / "photos")
    every = -(-len(photos) // PHOTOS)  # neighbours in the list are often of one scene
    for index, source in enumerate([*photos[::every], *held_out(data / "videos")]):
        blurred = work / "blurred" / f"{source.stem}.mkv"
        if source.parent.name == "videos":
            make_pairs(excerpt(source, work / f"{source.stem}.mkv", frames + 2), blurred, seed=index, shutter=1.4)
        else:
            try:
                make_pairs(source, blurred, seed=index, frames=frames, blur=BLURS[index % len(BLURS)])
            except DeblurError as error:
                print(f"left out: {error}")
                continue
        made.append((source.stem, blurred, work / "sharp" / blurred.name))
    return made


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--network", default="default")
    parser.add_argument("--single", default="plain-unet")
    parser.add_argument("--frames", type=int, default=20)


def run(options: argparse.Namespace) -> list[Table]:
    psnr = ("input (dB)", "single frame (dB)", "with neighbours (dB)", "gain (dB)")
    table = Table("clips", {"clip": ""} | dict.fromkeys((*psnr, "flicker: sharp", "restored"), ".2f"))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, blurred, sharp in clips(options.data, work, options.frames):
            found = [measure(blurred, sharp)]
            for network in (options.single, options.network):
                deblur_video(blurred, work / "out.mkv", network=network, method="none", codec="ffv1", overwrite=True)
                found.append(measure(work / "out.mkv", sharp))
            before, alone, together = (facts["psnr"] for facts in found)
            flicker = (found[2][key] for key in ("flicker_reference", "flicker"))
            table.add(name, before, alone, together, together - alone, *flicker)
    return [table]
