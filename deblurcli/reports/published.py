"""What papers report on the datasets: the figures that results of `deblur evaluate` stand beside.

Networks have the names of the registry where it has them. ``method`` is what was added to the network as published.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """One row of a paper's table; a score that it does not report is None."""

    layout: str
    network: str
    method: str
    psnr: float | None
    ssim: float | None
    lpips: float | None
    niqe: float | None
    source: str


_META = "meta-transferring (BMVC 2022), table 1"
_CLEAN = "Clean Images are Hard to Reblur (ICLR 2022), table 2"
_BLUR = "Blur2Blur (CVPR 2024), table 2"
_REBLUR = "Reblur2Deblur (ICCP 2018), table 2"
_OWN = "the network's own paper"


def _meta(network: str, *rows: tuple[float, float, float, float]) -> list[Published]:
    """PSNR and SSIM of the baseline and with meta-transferring on DVD, REDS and RealBlur-J."""
    found = []
    for layout, (psnr, ssim, adapted, adapted_ssim) in zip(("dvd", "reds", "realblur-j"), rows, strict=True):
        found.append(Published(layout, network, "baseline", psnr, ssim, None, None, _META))
        found.append(Published(layout, network, "meta", adapted, adapted_ssim, None, None, _META))
    return found


def _clean(layout: str, network: str, *rows: tuple[float, float, float, float]) -> list[Published]:
    """LPIPS, NIQE, PSNR and SSIM of the five rows that the table has for each network."""
    words = ("L1", "L1 + reblur n1", "L1 + reblur n1, TTA 5", "L1 + reblur n2", "L1 + reblur n2, TTA 5")
    return [
        Published(layout, network, word, psnr, ssim, lpips, niqe, _CLEAN)
        for word, (lpips, niqe, psnr, ssim) in zip(words, rows, strict=True)
    ]


def _blur(network: str, method: str, *rows: tuple[float, float]) -> list[Published]:
    """PSNR and SSIM on RB2V_Street, REDS and RSBlur."""
    layouts = ("rb2v", "reds", "rsblur")
    return [
        Published(layout, network, method, *row, None, None, _BLUR) for layout, row in zip(layouts, rows, strict=True)
    ]


PUBLISHED: tuple[Published, ...] = (
    *_meta("mimo-unet-plus", (29.43, 0.914, 29.70, 0.917), (26.43, 0.859, 26.73, 0.859), (27.63, 0.837, 28.11, 0.851)),
    *_meta("mprnet", (29.68, 0.918, 30.04, 0.921), (26.85, 0.864, 27.05, 0.864), (28.70, 0.873, 28.75, 0.876)),
    *_meta("restormer", (29.67, 0.916, 30.01, 0.921), (26.93, 0.867, 27.21, 0.867), (28.96, 0.879, 29.07, 0.885)),
    *_meta("cdvd-tsp", (30.86, 0.938, 30.97, 0.939), (27.17, 0.891, 27.52, 0.892), (28.69, 0.873, 29.15, 0.887)),
    *_clean(
        *("gopro", "residual-unet"),
        (0.1635, 5.996, 29.66, 0.8874),
        (0.1365, 5.629, 29.58, 0.8869),
        (0.1327, 5.599, 29.52, 0.8878),
        (0.1238, 5.124, 29.44, 0.8824),
        (0.1187, 5.000, 29.42, 0.8831),
    ),
    *_clean(
        *("gopro", "srn"),
        (0.1246, 5.252, 30.62, 0.9078),
        (0.1140, 5.136, 30.74, 0.9104),
        (0.1101, 5.079, 30.60, 0.9100),
        (0.1037, 4.887, 30.57, 0.9074),
        (0.0983, 4.730, 30.44, 0.9067),
    ),
    *_clean(
        *("gopro", "dhn"),
        (0.1179, 5.490, 31.53, 0.9207),
        (0.0975, 5.472, 31.53, 0.9217),
        (0.0940, 5.343, 31.32, 0.9208),
        (0.0837, 5.076, 31.34, 0.9177),
        (0.0805, 4.948, 31.28, 0.9174),
    ),
    *_clean(
        *("reds", "residual-unet"),
        (0.1486, 3.649, 30.80, 0.8772),
        (0.1435, 3.487, 30.76, 0.8776),
        (0.1403, 3.476, 30.64, 0.8781),
        (0.1252, 2.918, 30.46, 0.8717),
        (0.1226, 2.849, 30.25, 0.8701),
    ),
    *_clean(
        *("reds", "srn"),
        (0.1148, 3.392, 31.89, 0.8999),
        (0.1071, 3.305, 32.01, 0.9044),
        (0.1029, 3.278, 31.83, 0.9040),
        (0.0947, 2.875, 31.82, 0.9026),
        (0.0909, 2.798, 31.50, 0.9008),
    ),
    *_clean(
        *("reds", "dhn"),
        (0.0942, 3.288, 32.65, 0.9152),
        (0.0931, 3.248, 32.57, 0.9143),
        (0.0887, 3.220, 32.38, 0.9139),
        (0.0805, 2.830, 32.44, 0.9122),
        (0.0763, 2.761, 32.17, 0.9110),
    ),
    *_blur("nafnet", "trained on GoPro", (24.78, 0.714), (25.80, 0.880), (26.33, 0.790)),
    *_blur("nafnet", "synthetic data", (22.10, 0.644), (25.07, 0.853), (23.53, 0.659)),
    *_blur("nafnet", "Blur2Blur (GoPro)", (26.98, 0.812), (28.11, 0.893), (29.00, 0.857)),
    *_blur("nafnet", "trained on the source", (28.72, 0.883), (29.09, 0.927), (33.06, 0.888)),
    *_blur("restormer", "trained on GoPro", (23.34, 0.698), (25.43, 0.775), (25.98, 0.788)),
    *_blur("restormer", "synthetic data", (23.78, 0.655), (24.76, 0.753), (23.34, 0.651)),
    *_blur("restormer", "Blur2Blur (GoPro)", (25.97, 0.750), (27.55, 0.885), (28.89, 0.850)),
    *_blur("restormer", "trained on the source", (27.43, 0.849), (28.23, 0.916), (32.87, 0.874)),
    # The order of the columns is not clear in the paper's text; the prose around the table decides.
    Published("gopro", "dbn", "baseline", 25.36, 0.8380, None, None, _REBLUR),
    Published("gopro", "dbn", "reblur2deblur", 26.06, 0.8515, None, None, _REBLUR),
    Published("gopro", "deblurgan", "baseline", 27.30, 0.8954, None, None, _REBLUR),
    Published("gopro", "deblurgan", "reblur2deblur", 28.32, 0.9337, None, None, _REBLUR),
    Published("dvd", "dbn", "baseline", 29.15, 0.9218, None, None, _REBLUR),
    Published("dvd", "dbn", "reblur2deblur", 30.15, 0.9265, None, None, _REBLUR),
    Published("dvd", "deblurgan", "baseline", 30.16, 0.9364, None, None, _REBLUR),
    Published("dvd", "deblurgan", "reblur2deblur", 31.37, 0.9400, None, None, _REBLUR),
    Published("gopro", "mimo-unet", "baseline", 31.73, None, None, None, _OWN),
    Published("gopro", "mimo-unet-plus", "baseline", 32.45, None, None, None, _OWN),
    Published("gopro", "mprnet", "baseline", 32.66, None, None, None, _OWN),
    Published("gopro", "restormer", "baseline", 32.92, None, None, None, _OWN),
    Published("gopro", "nafnet-w32", "baseline", 32.87, None, None, None, _OWN),
    Published("gopro", "nafnet-w64", "baseline", 33.71, None, None, None, _OWN),
)


def published(layout: str) -> list[Published]:
    """The figures that are known of a dataset."""
    return [row for row in PUBLISHED if row.layout == layout]
