"""Clips that benchmarks make for themselves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np


def encode(path: Path, views: Iterable[np.ndarray], **options: str) -> None:
    """Write RGB pictures (H x W x 3 bytes) as H.264 at 25 frames/s, with options of libx264."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options=options)
        stream.pix_fmt = "yuv420p"
        for index, view in enumerate(views):
            if not index:
                stream.height, stream.width = view.shape[:2]
            output.mux(stream.encode(av.VideoFrame.from_ndarray(view, "rgb24")))
        output.mux(stream.encode(None))


def drifting(path: Path, frames: int, size: tuple[int, int]) -> None:
    """A texture that drifts, width x height of ``size``, encoded to decode fast."""
    rng = np.random.default_rng(1)
    cells = max(130, size[1] // 8 + 20), max(200, size[0] // 8 + 40), 3
    texture = np.kron(rng.integers(0, 255, cells, dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    corners = ((index % 300, index // 2 % 300) for index in range(frames))
    views = (np.ascontiguousarray(texture[y : y + size[1], x : x + size[0]]) for x, y in corners)
    encode(path, views, preset="ultrafast")
