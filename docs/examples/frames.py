"""Consecutive frames, one after the other: from a camera, a decoder or a list."""

from collections.abc import Iterator

import av
import numpy as np
from numpy.typing import NDArray

import deblurcli


def frames(path: str) -> Iterator[NDArray[np.uint8]]:
    with av.open(path) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


network = deblurcli.load(command="video")  # looks at three frames to restore the middle one
for number, sharp in enumerate(network.frames(frames("in.mp4"))):
    print(number, sharp.shape)
