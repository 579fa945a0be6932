"""Videos of given pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from torch import Tensor


def write_video(path: Path, pictures: Iterable[Tensor]) -> Path:
    """Write pictures (3 x H x W in [0, 1], in order) without loss of their 8-bit values, at 25 frames/s."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.pix_fmt = "bgr0"
        for index, picture in enumerate(pictures):
            shown = np.ascontiguousarray((picture * 255).round().byte().permute(1, 2, 0).numpy())
            if not index:
                stream.height, stream.width = shown.shape[:2]
            output.mux(stream.encode(av.VideoFrame.from_ndarray(shown, "rgb24")))
        output.mux(stream.encode(None))
    return path
