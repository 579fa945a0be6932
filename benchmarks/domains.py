"""What a translator of blur gains for cameras that no network was trained for, on scenes that it has not seen.

DATA is the folder of training material: the photos that training keeps for validation are filmed by each camera
(unknown_cameras.py), some still and others in motion, and a translator is trained on that, unpaired. Scored are other
photos, and more pictures where given. What is done is kept in a file, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest import mock

from benchmarks.cameras import Frames
from benchmarks.results import FOLDER, Table
from benchmarks.unknown_cameras import CAMERAS, LOOKED_AT, UnknownCamera, filmed
from deblurcli.adaptation.translation import RECIPES
from deblurcli.jobs.train import run as train
from deblurcli.media.footage import PictureFootage
from deblurcli.media.images import Image, read_image, write_image
from deblurcli.media.shots import windows
from deblurcli.methods import prepare
from deblurcli.metrics import fidelity
from deblurcli.options.blur2blur import Blur2BlurOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.options.none import NoneOptions
from deblurcli.options.train import Blur2BlurTraining
from deblurcli.restore.worker import Placed, Worker
from deblurcli.train.material import is_held_out
from deblurcli.version import __version__

SCORED = ("budgie", "cvh3d", "plasma")
"""Beginnings of the names of the photos that are scored; translators learn from the others."""
FILMED, CLIP, LOOKED = 12, 9, (2, 4, 6)
"""Frames of a scene to learn from, frames of a clip to score, and those of it that are scored."""
RATE = 2e-4


@dataclass(frozen=True)
class Row:
    """A way to restore the clips."""

    changes: dict[str, Any] | None = None
    """Constants of the recipe of a translator; None: without one."""
    blurry: float = 0.6
    """Share of the scenes that are filmed in motion."""
    known: bool = True
    """Whether known blur is put on the sharp frames."""
    network: str = "plain-unet"
    meta: bool = False
    """Whether the network adapts to the clip."""


ROWS = {
    "network alone": Row(),
    "translator": Row({}),
    "its pairs alone": Row({"alone": 1.0}),
    "its critic alone": Row({"noise_weight": 0.0}),
    "without perceptual loss": Row({"reconstruction_weight": 0.0}),
    "without known blur": Row({}, known=False),
    **{f"translator, {n}:{10 - n}": Row({}, n / 10) for n in (5, 7, 8, 9)},
    "video-unet alone": Row(network="video-unet"),
    "translator, video-unet": Row({}, network="video-unet"),
    "meta alone": Row(network="video-unet", meta=True),
    "translator, then meta": Row({}, network="video-unet", meta=True),
}
"""What is compared; each is beside the same network alone."""


def group(name: str) -> str:
    """What photos of one place have in common."""
    return re.sub(r"[0-9]+\..*", "", name)


def scenes(data: Path, pictures: Path | None = None) -> tuple[list[Path], list[Path]]:
    """Photos to learn from, those of one place in a row, the places with most photos first; and those to score."""
    files = [file for file in sorted((data / "photos").iterdir()) if is_held_out(file.name)]
    scored = [file for file in files if file.name.startswith(SCORED)]
    others = [file for file in files if file not in scored]
    sizes = Counter(group(file.name) for file in others)
    scored += [] if pictures is None else sorted(pictures.glob("*_gt.png"))[::3]
    return sorted(others, key=lambda file: (-sizes[group(file.name)], file.name)), scored


def film(camera: UnknownCamera, photos: Sequence[Path], folder: Path, first: int, still: bool) -> list[Path]:
    """Film photos into a folder for each."""
    folders = []
    for number, photo in enumerate(photos):
        frames, _ = filmed(camera, read_image(photo).rgb(), FILMED, first + number, still)
        folders.append(folder / photo.stem)
        folders[-1].mkdir(parents=True)
        for frame, pixels in enumerate(frames):
            write_image(folders[-1] / f"{frame:02}.png", Image(pixels.permute(1, 2, 0).contiguous().numpy()))
    return folders


def trained(
    row: Row, camera: UnknownCamera, photos: Sequence[Path], minutes: float, folder: Path, save_every: float = 1e9
) -> Path:
    """Train a translator on what the camera films, unpaired; ``save_every``: minutes between validations."""
    count = round(row.blurry * len(photos))
    blurry = film(camera, photos[:count], folder / "blurry", 100, still=False)
    sharp = film(camera, photos[count:], folder / "sharp", 200, still=True)
    known = "synth" if row.known else f"{folder}/sharp/*/*.png"
    options = Blur2BlurTraining(
        data=tuple(sharp), blurry=tuple(blurry), out=folder / "run", minutes=minutes, known=known, rate=RATE,
        save_every=save_every,
    )  # fmt: skip
    with mock.patch.dict(RECIPES, ours=replace(RECIPES["ours"], **(row.changes or {}))):
        train("blur2blur", options, ComputeOptions())
    return folder / "run" / "blur-translator.safetensors"


def psnr(network: Placed, worker: Worker, row: Row, translator: Path | None, blurred: Frames, sharp: Frames) -> float:
    """Mean over the frames of a clip that are scored."""
    options: Any = MetaOptions() if row.meta else NoneOptions()
    if translator:
        options = Blur2BlurOptions(translator=str(translator), then="meta" if row.meta else "none")
    prepared = prepare(network, [PictureFootage(blurred)], options, worker)
    found = windows([frame / 255 for frame in blurred], prepared.window, lambda _: False)
    pairs = enumerate(zip(found, sharp, strict=True))
    return fmean(
        fidelity.psnr(prepared(window).clamp(0, 1), truth / 255) for at, ((_, window), truth) in pairs if at in LOOKED
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder of more sharp pictures to score, *_gt.png")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--cameras", nargs="+", choices=CAMERAS, default=list(CAMERAS), metavar="CAMERA")
    parser.add_argument("--minutes", type=float, default=3.0, help="training of a translator")
    parser.add_argument("--state", type=Path, default=FOLDER / "domains.jsonl", help="what is done so far")


def done(state: Path) -> Iterator[dict[str, Any]]:
    if state.exists():
        found = map(json.loads, state.read_text(encoding="utf-8").splitlines())
        yield from (row for row in found if row["version"] == __version__)


def run(args: argparse.Namespace) -> list[Table]:
    worker = Worker(ComputeOptions())
    learnt_from, scored = scenes(args.data, args.pictures)
    finished = {(row["camera"], row["row"]) for row in done(args.state)}
    args.state.parent.mkdir(parents=True, exist_ok=True)
    clips: dict[str, list[tuple[Frames, Frames]]] = {}
    made: dict[tuple[str, str], Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.rows:
            for camera in args.cameras:
                if (camera, name) in finished:
                    continue
                row, kind = ROWS[name], CAMERAS[camera]
                if camera not in clips:
                    taken = [filmed(kind, read_image(file).rgb(), CLIP, 300 + i) for i, file in enumerate(scored)]
                    clips[camera] = taken
                # Rows that differ in what comes behind the translator share it.
                key = (camera, str(replace(row, network="", meta=False)))
                if row.changes is not None and key not in made:
                    made[key] = trained(row, kind, learnt_from, args.minutes, Path(folder) / str(len(made)))
                network = worker.place(row.network, "video", "deblur")
                found = [psnr(network, worker, row, made.get(key), *clip) for clip in clips[camera]]
                entry = {"version": __version__, "camera": camera, "row": name, "psnr": found}
                with args.state.open("a", encoding="utf-8") as file:
                    print(json.dumps(entry), file=file, flush=True)
    return tables(list(done(args.state)), [file.stem for file in scored])


def tables(rows: list[dict[str, Any]], names: Sequence[str]) -> list[Table]:
    """The gain of every row over its network alone, and the clips of the translator one by one."""
    by = {(row["camera"], row["row"]): row["psnr"] for row in rows}
    cameras = [camera for camera in CAMERAS if (camera, "network alone") in by]

    def gains(camera: str, name: str) -> list[float] | None:
        before = "network alone" if ROWS[name].network == "plain-unet" else "video-unet alone"
        if (camera, name) not in by or (camera, before) not in by:
            return None
        return [after - alone for after, alone in zip(by[camera, name], by[camera, before], strict=True)]

    groups = {"mean of the first four": LOOKED_AT, "mean of the others": tuple(set(CAMERAS) - set(LOOKED_AT))}
    columns = {"row": "", **dict.fromkeys((*cameras, *groups), "+.2f"), "least clip": "+.2f"}
    means = Table("gain over the network alone (dB)", columns)
    for name in ROWS:
        if name in ("network alone", "video-unet alone"):
            continue
        found = {camera: each for camera in cameras if (each := gains(camera, name))}
        if found:
            cells = [fmean(found[camera]) if camera in found else None for camera in cameras]
            for group in groups.values():
                own = [fmean(found[camera]) for camera in group if camera in found]
                cells.append(fmean(own) if own else None)
            means.add(name, *cells, min(map(min, found.values())))
    clips = Table(
        "clips: the network alone, and behind a translator (dB)",
        {"clip": ""}
        | {f"{camera} {what}": form for camera in cameras for what, form in (("alone", ".2f"), ("gain", "+.2f"))},
    )
    for at, name in enumerate(names):
        line: list[float | None] = []
        for camera in cameras:
            gain = gains(camera, "translator")
            line += [by[camera, "network alone"][at], gain[at] if gain else None]
        clips.add(name[:40], *line)
    return [means, clips]
