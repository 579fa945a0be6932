"""Make docs/images/before-after.jpg: a frame of the example clip, as it is and as `deblur video` restores it.

    python examples/make_before_after.py examples/coffee-shake.mp4 docs/images/before-after.jpg

The same piece of the same frame is shown twice, enlarged, with nothing else done to it.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from deblurcli import deblur_video

Pixels = NDArray[np.uint8]

FRAME = 12
"""Index of the frame, the blurriest of the clip (`deblur inspect`)."""
TOP, LEFT, HEIGHT, WIDTH = 40, 112, 180, 240
"""The piece of the frame that is shown, in pixels."""
ENLARGED = 3
GAP = 12
"""Width of the white line between the two pieces, in pixels of the picture."""


def frame(video: Path, index: int) -> Pixels:
    """Frame ``index`` of a video, H x W x 3 RGB."""
    with av.open(str(video)) as container:
        shown = next(itertools.islice(container.decode(video=0), index, None))
        return np.asarray(shown.to_ndarray(format="rgb24"), np.uint8)


def enlarged(pixels: Pixels, label: str) -> Pixels:
    """The chosen piece of a frame, enlarged, with a label in its lower left corner."""
    piece = pixels[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
    size = (ENLARGED * WIDTH, ENLARGED * HEIGHT)
    large = cv2.resize(piece, size, interpolation=cv2.INTER_CUBIC)
    at, font = (16, size[1] - 20), cv2.FONT_HERSHEY_SIMPLEX
    for colour, thickness in ((0, 6), (255, 2)):
        cv2.putText(large, label, at, font, 1.0, (colour,) * 3, thickness, cv2.LINE_AA)
    return np.asarray(large, np.uint8)


def main(clip: Path, picture: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        restored = Path(folder) / clip.name
        deblur_video(clip, restored)
        before, after = frame(clip, FRAME), frame(restored, FRAME)
    line = np.full((ENLARGED * HEIGHT, GAP, 3), 255, np.uint8)
    both = np.concatenate([enlarged(before, "before"), line, enlarged(after, "after")], axis=1)
    cv2.imwrite(str(picture), cv2.cvtColor(both, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
