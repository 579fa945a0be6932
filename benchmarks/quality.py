"""PSNR, SSIM and flicker on the development sets: the blurred input and every method, by the tool's own commands.

    python benchmarks/quality.py EVAL [METHOD[:NETWORK] ...]

EVAL holds gopro_video/{blur7,blur11,sharp}.mkv, and gopro_stills/X.png with X_gt.png. Without methods: none with the
single-frame network, then none and meta with the default one.
"""

import sys
import tempfile
import time
from pathlib import Path

from stills import pairs

from deblurcli import deblur_image, deblur_video, measure


def line(name: str, row: str, facts: dict[str, float], seconds: float | None = None) -> None:
    took = f"{seconds:.0f} s" if seconds is not None else ""
    flicker = f"{facts['flicker']:.2f} / {facts['flicker_reference']:.2f}" if "flicker" in facts else ""
    print(f"| {name} | {row} | {facts['psnr']:.2f} | {facts['ssim']:.4f} | {flicker} | {took} |", flush=True)


def videos(folder: Path, work: Path, methods: list[str]) -> None:
    sharp = folder / "sharp.mkv"
    for name in ("blur11", "blur7", "sharp"):
        source = folder / f"{name}.mkv"
        if name != "sharp":
            line(name, "input", measure(source, sharp))
        for method in methods:
            started = time.monotonic()
            how, _, network = method.partition(":")
            options = {"method": how, "network": network or "default", "codec": "ffv1", "overwrite": True}
            deblur_video(source, work / "out.mkv", **options)
            line(name, method, measure(work / "out.mkv", sharp), time.monotonic() - started)


def stills(folder: Path, work: Path) -> None:
    before, after = [], []
    started = time.monotonic()
    for blurred, reference in pairs(folder):
        deblur_image(blurred, work / "out.png", overwrite=True)
        before.append(measure(blurred, reference))
        after.append(measure(work / "out.png", reference))
        print(f"{blurred.name}: {before[-1]['psnr']:.2f} -> {after[-1]['psnr']:.2f} dB", file=sys.stderr)

    def mean(rows: list[dict[str, float]]) -> dict[str, float]:
        return {key: sum(row[key] for row in rows) / len(rows) for key in ("psnr", "ssim")}

    line("stills", "input", mean(before))
    line("stills", "deblur image", mean(after), time.monotonic() - started)


if __name__ == "__main__":
    root, methods = Path(sys.argv[1]), sys.argv[2:] or ["none:plain-unet", "none", "meta"]
    print("| set | what | PSNR (dB) | SSIM | flicker / of the sharp clip | time |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        videos(root / "gopro_video", Path(work), methods)
        stills(root / "gopro_stills", Path(work))
