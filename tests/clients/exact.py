"""Lossless in, lossless out, nothing changed: every picture must be the same bit for bit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tests.clients.facts import frame_hashes
from tests.clients.judge import Verdict
from tests.clients.kinds import Difference
from tests.clients.making import Unmakeable, clips_folder, make
from tests.clients.matrix import CODECS, Clip
from tests.clients.product import restored
from tests.clients.running import network

YUV = " ".join(f"yuv{chroma}p{depth}" for chroma, depth in product(("420", "422", "444"), ("", "10le", "12le")))
YUVA = " ".join(f"yuva{chroma}p{depth}" for chroma, depth in product(("420", "422", "444"), ("", "10le")))
LOSSLESS: dict[str, str] = {
    "x264": "-c:v libx264 -qp 0",
    "x264rgb": "-c:v libx264rgb -qp 0",
    "x265": "-c:v libx265 -x265-params lossless=1:log-level=none",
    "vp9-lossless": "-c:v libvpx-vp9 -lossless 1 -cpu-used 8",
}
TABLE = f"""
# container | codec        | layouts                                                                    | options
mkv         | ffv1         | {YUV} gray gray10le gray12le gray16le gbrp gbrp10le gbrp12le bgr0          |
mkv         | ffv1         | {YUVA} yuva422p12le yuva444p12le bgra gbrap10le gbrap12le rgb48le rgba64le ya8 |
mkv nut     | x264         | yuv420p yuv422p yuv444p yuv420p10le yuv422p10le yuv444p10le gray gray10le  | --crf 0
mp4 mov     | x264         | yuv420p yuv422p yuv444p yuv420p10le yuv422p10le yuv444p10le gray           | --crf 0
mkv mp4     | x264rgb      | rgb24                                                                      | --crf 0
mkv mp4     | x265         | {YUV} gray gray10le gray12le gbrp gbrp10le gbrp12le                        | --crf 0
webm mkv    | vp9-lossless | {YUV} gbrp gbrp10le gbrp12le                                               | --crf 0
avi mkv nut | huffyuv      | yuv422p rgb24 bgra                                                         |
avi nut     | ffvhuff      | yuv420p yuv422p yuv444p yuv420p10le yuv422p10le yuv444p12le gray gbrp yuva444p |
avi nut mkv | utvideo      | yuv420p yuv422p yuv444p gbrp gbrap                                         |
avi nut mov | magicyuv     | yuv420p yuv422p yuv444p gray gbrp gbrap yuva444p                           |
mov         | qtrle        | rgb24 argb gray                                                            |
mov avi nut | png          | rgb24 rgba gray ya8 rgb48be rgba64be gray16be                              |
mov nut     | rawvideo     | yuv420p yuv422p10le yuv444p rgb24 argb gray uyvy422                        |
"""
CODECS |= LOSSLESS


@dataclass(frozen=True)
class Exact:
    """One lossless clip and the options that keep it so."""

    clip: Clip
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.clip.name


def rows() -> list[Exact]:
    return list(dict.fromkeys(_expanded()))


def _expanded() -> Iterator[Exact]:
    for line in TABLE.strip().splitlines():
        if not line.startswith("#"):
            suffixes, codecs, layouts, options = (cell.split() for cell in line.split("|"))
            for suffix, codec, layout in product(suffixes, codecs, layouts):
                yield Exact(Clip(suffix, codec, layout, ("plain",)), tuple(options))


def judge_exact(row: Exact) -> Verdict:
    """Compare every picture's hash, both files decoded into the layout that the clip was made in."""
    verdict = Verdict(row.name)
    try:
        source = make(row.clip, clips_folder())
    except Unmakeable as refusal:
        verdict.unmakeable = str(refusal)
        return verdict
    with tempfile.TemporaryDirectory(prefix="deblur-clients-") as folder:
        result = Path(folder) / f"exact.{row.clip.suffix}"
        verdict.outcome = restored("video", source, result, network(), *row.options)
        if verdict.outcome.code not in (0, 3):
            verdict.faults.append(f"exit {verdict.outcome.code}: {verdict.outcome.message}")
            return verdict
        old, new = (frame_hashes(path, row.clip.layout) for path in (source, result))
    if not old or len(old) != len(new):
        verdict.faults.append(f"{len(old)} pictures became {len(new)}")
    elif wrong := sum(a != b for a, b in zip(old, new, strict=True)):
        verdict.unannounced.append(Difference("samples", "bits", f"{len(old)} pictures", f"{wrong} with other bits"))
    return verdict
