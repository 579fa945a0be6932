"""How each paper, and each dataset's own program, measures: a figure means little without its convention.

PSNR is on RGB rounded to 8 bits and averaged over all frames in each of them; they differ in SSIM, in alignment and in
what is cut from the borders.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Convention:
    """What is done to a picture and its reference before they are compared, and with which SSIM."""

    source: str
    """Where it is from."""
    ssim: str = "channel"
    """A mode of :func:`deblurcli.metrics.fidelity.ssim`."""
    align: bool = False
    """Whether brightness and position are matched first (:mod:`deblurcli.metrics.registration`)."""
    border: int = 0
    """Pixels cut from each side."""


CONVENTIONS: dict[str, Convention] = {
    "package": Convention("deblur metrics without options"),
    # Its program mirrors DVD and REDS up to multiples of 32 and measures that, too; here the picture alone counts.
    "meta-transferring": Convention(
        "the program of the meta-transferring paper, BMVC 2022: SSIM of the luma", ssim="luma"
    ),
    "clean-images": Convention("Nah et al., ICLR 2022, appendix: SSIM of each channel, averaged"),
    # Its program measures at a short side of 256 pixels; here pictures stay as large as they are.
    "blur2blur": Convention("the program of Pham et al., CVPR 2024: SSIM of the colours as a volume", ssim="volume3d"),
    "realblur": Convention("the programs of Rim et al., ECCV 2020 and 2022: aligned, masked", align=True),
    "cdvd-tsp": Convention("the program of Pan, Bai & Tang, CVPR 2020: 4 pixels cut from each side", border=4),
    "nafnet": Convention("the program of Chen et al., ECCV 2022: SSIM of the colours as a volume", ssim="volume3d"),
}
