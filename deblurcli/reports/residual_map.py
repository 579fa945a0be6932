"""The map of a residual as a picture: where a restored video fails to explain its input."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from deblurcli.media.images import Image

COLOURS = {
    0.0: (0, 0, 0),
    4.0: (40, 20, 130),
    8.0: (170, 30, 120),
    16.0: (245, 120, 30),
    32.0: (255, 240, 150),
}
"""Root mean square of what is missed, in 8-bit code values -> RGB; straight in between, and the last one above.
Brighter is worse, so that the map can be read without its colours. The scale is fixed: maps can be compared."""
UNKNOWN = (90, 100, 90)
"""Where nothing counted: at the edges, where nothing moved, where something was hidden in every frame."""


def coloured(missed: Tensor) -> Image:
    """The picture of a map, H x W in code values, NaN where nothing counted."""
    values = missed.numpy()
    channels = zip(*COLOURS.values(), strict=True)
    planes = [np.interp(np.nan_to_num(values), list(COLOURS), channel) for channel in channels]
    picture = np.stack(planes, -1).round().astype(np.uint8)
    picture[np.isnan(values)] = UNKNOWN
    return Image(picture)
