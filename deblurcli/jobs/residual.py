"""How well a restored video explains its input: of two files, and of a video that is about to be restored."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from operator import itemgetter
from pathlib import Path

from torch import Tensor

from deblurcli.adaptation.outcome import PreparedNetwork
from deblurcli.adaptation.residual import Explanation, Exposure, Residual, find_exposure
from deblurcli.console import Reporter
from deblurcli.errors import InputError
from deblurcli.jobs.side_by_side import side_by_side
from deblurcli.media.footage import VideoFootage
from deblurcli.media.inputs import is_picture
from deblurcli.media.shots import CutDetector, windows
from deblurcli.restore.pipeline import restore_frame
from deblurcli.restore.worker import Placed


def explain(
    restored: Path,
    blurred: Path,
    damage: list[str],
    exposure: Exposure | None = None,
    report: Reporter | None = None,
) -> Explanation:
    """Look how well a restored video explains its input, in one pass through both, or two where the exposure is looked
    for.

    Args:
        damage: gets what is wrong with the videos, a line each.
        exposure: of the input; the one under which the restored video explains it best where None.

    Raises:
        InputError: one cannot be read, or is an image, or they differ in size or number of frames.
    """
    for path in (restored, blurred):
        if is_picture(path):
            raise InputError(f"{path} is an image", "only videos can explain their input: give one")
    residual = Residual(exposure or _best_exposure(restored, blurred))
    is_cut, found = CutDetector(), {}
    for number, (mine, seen) in enumerate(side_by_side(restored, blurred, damage)):
        if explained := residual.add(mine, seen, is_cut(seen)):
            found[number - 1] = explained
        if report is not None:
            report.progress(f"reblurring {restored.name}", number + 1, None)
    return Explanation(residual, found)


def _best_exposure(restored: Path, blurred: Path) -> Exposure:
    is_cut = CutDetector()
    around = windows(side_by_side(restored, blurred, []), 3, lambda pair: is_cut(pair[1]))
    return find_exposure((partial(itemgetter(0), pair), [seen for _, seen in pairs]) for pair, pairs in around)


def exposure_before(network: Placed, footage: VideoFootage, tile: str) -> Exposure:
    """The exposure of a video that is about to be restored, found with what the unadapted network makes of a few
    moments: the same whatever the method, so that methods can be compared. One pass through the video.

    Raises:
        InputError: the video cannot be read.
    """
    restorer, is_cut = PreparedNetwork(network, tile), CutDetector()
    size, reach = max(restorer.window, 3), restorer.window // 2
    middle = size // 2

    def restored(around: list[Tensor]) -> Tensor:
        change, _ = restore_frame(restorer, around[middle - reach : middle + reach + 1])
        return (around[middle] + change).clamp(0, 1)

    with closing(footage.pictures()) as pictures:
        return find_exposure(
            (partial(restored, around), around[middle - 1 : middle + 2])
            for _, around in windows(pictures, size, is_cut)
        )
