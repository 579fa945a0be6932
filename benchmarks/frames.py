"""Whether two versions give the same results: hashes of frames, weights and pictures over clips, methods and threads.

    python -m benchmarks frames EVAL --checkout OLD --out old.json
    python -m benchmarks frames EVAL --checkout NEW --out new.json --compare old.json

It imports nothing of the program, so that it can judge any checkout; ``python benchmarks/frames.py`` works as well.

EVAL holds gopro_video/ and gopro_stills/. Besides the GoPro clips' first frames and the example, five clips are made
here: with cuts, with a variable frame rate, in 10 bits, of odd size, and of three frames. Videos are written without
loss; a hash covers every frame's time and samples.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from safetensors.numpy import load_file

GOPRO_FRAMES = 8


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Coloured noise of several scales, H x W x 3 in [0, 1]."""
    total = np.zeros((height, width, 3), np.float32)
    for side in (4, 16, 64, 256):
        coarse = rng.random((max(2, height // side), max(2, width // side), 3), np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * side**0.5
    return (total - total.min()) / np.ptp(total)


def shaken(rng: np.random.Generator, size: tuple[int, int], frames: int) -> Iterator[np.ndarray]:
    """Pictures (H x W x 3, 8 bits) of a texture that moves at changing speed, blurred by its motion."""
    width, height = size
    world = texture(rng, height + 128, width + 128)
    for t in range(frames):
        views = []
        for s in np.linspace(-0.5, 0.5, 9):
            u = t + s * (0.15 + np.sin(t * 0.9) ** 2)
            shift = np.array([[1, 0, -64 + 30 * np.sin(u / 2.2)], [0, 1, -64 + 24 * np.cos(u / 3.1)]], np.float32)
            views.append(cv2.warpAffine(world, shift, size, flags=cv2.INTER_LINEAR))
        yield (np.mean(views, 0) * 255).round().astype(np.uint8)


def encode(path: Path, pictures: list[np.ndarray], pix_fmt: str, pts: list[int] | None = None) -> Path:
    """A lossless clip; ``pts`` in thousandths of a second."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=Fraction(25), time_base=Fraction(1, 1000))
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = pts[number] if pts else 40 * number, Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def clips(folder: Path, data: Path, example: Path) -> dict[str, Path]:
    rng = np.random.default_rng(7)
    made = {"example": example}
    for name in ("blur11", "blur7"):
        with av.open(str(data / "gopro_video" / f"{name}.mkv")) as source:
            first = [f.to_ndarray(format="rgb24") for f, _ in zip(source.decode(video=0), range(GOPRO_FRAMES))]  # noqa: B905
        made[name] = encode(folder / f"{name}.mkv", first, "bgr0")
    cuts = [picture for n in (9, 12, 8) for picture in shaken(rng, (192, 160), n)]
    made["cuts"] = encode(folder / "cuts.mkv", cuts, "yuv420p")
    times = list(np.cumsum(rng.integers(20, 90, 20)).tolist())
    made["vfr"] = encode(folder / "vfr.mkv", list(shaken(rng, (192, 128), 20)), "yuv444p", times)
    made["ten-bit"] = encode(folder / "ten-bit.mkv", list(shaken(rng, (160, 128), 14)), "yuv420p10le")
    made["odd-size"] = encode(folder / "odd-size.mkv", list(shaken(rng, (211, 133), 14)), "yuv444p")
    made["three"] = encode(folder / "three.mkv", list(shaken(rng, (128, 96), 3)), "yuv422p")
    return made


def frames_hash(path: Path) -> str:
    found = hashlib.sha256()
    with av.open(str(path)) as source:
        for frame in source.decode(video=0):
            found.update(f"{frame.pts * frame.time_base} {frame.format.name}".encode())
            for plane in frame.planes:
                rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                deep = 2 if frame.format.components[0].bits > 8 else 1
                packed = 4 if frame.format.name in ("bgr0", "rgb0", "bgra") else 1
                found.update(rows[: plane.height, : plane.width * deep * packed].tobytes())
    return found.hexdigest()[:20]


def pixels(path: Path) -> bytes:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return picture.tobytes()


def weights_hash(path: Path) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        found.update(name.encode() + str(tensor.dtype).encode() + tensor.tobytes())
    return found.hexdigest()[:20]


def per_frame(checkout: Path) -> str:
    """The option that adapts to every frame alone, by its name in a checkout."""
    return "--adapt-per" if (checkout / "deblurcli" / "options" / "tta.py").exists() else "--tta-per"


def jobs(made: dict[str, Path], photos: Path, checkout: Path) -> Iterator[tuple[str, list[str], str]]:
    """Name, command line with {out}, and suffix of the output."""
    lossless = ["-o", "{out}", "--codec", "ffv1", "-q"]
    for clip, path in made.items():
        for method in ("none", "meta", "tta"):
            yield f"{clip} {method}", ["video", str(path), *lossless, "--method", method], ".mkv"
    variants = {
        "meta per shot": ("cuts", ["--adapt-per", "shot"]),
        "meta network": ("cuts", ["--reblurring", "network", "--guard", "off", "--steps", "4"]),
        "meta network paper's guard": ("vfr", ["--reblurring", "network", "--guard", "pairs", "--dropout"]),
        "meta own biases": ("vfr", ["--initial", "own", "--part", "biases", "--weighting", "contrast", "--batch", "2"]),
        "meta single frame": ("odd-size", ["--network", "plain-unet", "--guard", "off"]),
        "tta per frame": ("three", ["--method", "tta", per_frame(checkout), "frame"]),
    }
    for name, (clip, options) in variants.items():
        yield f"{clip} {name}", ["video", str(made[clip]), *lossless, *options], ".mkv"
    yield "image", ["image", str(photos / "plain.png"), "-o", "{out}", "-q"], ".png"
    yield "image tta", ["image", str(photos / "plain.png"), "-o", "{out}", "-q", "--tta-steps", "5"], ".png"
    short = ["--iterations", "3", "--ring", "24", "--crops", "64", "--batch", "2", "--seed", "5", "-q"]
    for stage, network in (
        ("deblur", "plain-unet"),
        ("joint", "plain-unet"),
        ("module", "reblurring-module"),
        ("fusion", "video-unet"),
        ("reblur", "blur-mixture"),
        ("meta", "plain-unet"),
    ):
        options = ["--from", "default"] if stage in ("fusion", "meta") else []
        command = ["train", stage, "--data", str(photos), "--out", "{out}", *short, *options]
        yield f"train {stage} {network}", command, ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkout", type=Path, default=Path())
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--compare", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="words that a job's name must all hold")
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])


def run(chosen: argparse.Namespace) -> list[Any]:
    found: dict[str, list] = json.loads(chosen.out.read_text()) if chosen.out.exists() else {}
    old = json.loads(chosen.compare.read_text()) if chosen.compare else {}
    checkout = chosen.checkout.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = clips(folder, chosen.data, checkout / "examples" / "coffee-shake.mp4")
        photos = folder / "photos"
        photos.mkdir()
        rng = np.random.default_rng(3)
        for number in range(6):
            cv2.imwrite(str(photos / f"photo{number}.png"), (texture(rng, 320, 400) * 255).astype(np.uint8))
        cv2.imwrite(str(photos / "plain.png"), next(iter(shaken(rng, (300, 200), 1))))
        for threads in chosen.threads:
            for job, command, suffix in jobs(made, photos, checkout):
                key = f"{job}, {threads} thread{'s' * (threads > 1)}"
                if key in found or not all(word in job for word in chosen.only):
                    continue
                out = folder / f"out-{len(found)}{suffix}"
                settings = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(checkout)}
                words = [word.replace("{out}", str(out)) for word in command]
                started = time.monotonic()
                done = subprocess.run(
                    [sys.executable, "-m", "deblurcli", *words],
                    env=settings,
                    cwd=checkout,
                    capture_output=True,
                    text=True,
                )
                seconds = round(time.monotonic() - started, 1)
                if not out.exists():
                    digest = f"exit {done.returncode}: {done.stderr[-200:]}"
                elif suffix == ".mkv":
                    digest = frames_hash(out)
                elif suffix:
                    digest = hashlib.sha256(pixels(out)).hexdigest()[:20]
                else:
                    digest = weights_hash(out / f"{job.split()[-1]}.safetensors")
                found[key] = [digest, seconds]
                verdict = "" if key not in old else "same" if old[key][0] == digest else f"DIFFERENT from {old[key][0]}"
                print(f"{key:44} {digest} {seconds:7.1f} s  {verdict}", flush=True)
                chosen.out.write_text(json.dumps(found, indent=1))
    return []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    run(parser.parse_args())
