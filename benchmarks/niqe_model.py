"""Estimates NIQE's model of sharp photos, as it lies in the package.

    python benchmarks/niqe_model.py PHOTOS OUT.npz

PHOTOS is a folder of sharp photos; those in which anything was blurred on purpose count little, since only the sharper
blocks of each are taken. The same photos give the same file.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from deblurcli.media.images import IMAGE_SUFFIXES, read_image
from deblurcli.metrics.naturalness import pristine_model, write_model

CARD = {
    "model": "NIQE, pristine: mean and covariance of the 36 features of sharp blocks",
    "licence": "MIT",
    "data": "232 sharp photos under open licences (CC0, CC BY, CC BY-SA, BSD, MIT, LGPL), as for plain-unet",
    "command": "python benchmarks/niqe_model.py PHOTOS deblurcli/bundled/niqe.npz",
}


def photos(folder: Path) -> Iterator[Tensor]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            yield read_image(path).rgb()


if __name__ == "__main__":
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    write_model(out, pristine_model(photos(folder), CARD))
    print(f"{out}: {out.stat().st_size} bytes")
