"""What `deblur metrics` measures, and by which conventions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deblurcli.options.option import check, option, require

SSIM_MODES = ("channel", "luma", "uniform7", "volume3d")
LPIPS_TRUNKS = ("alex", "vgg")
NIQE_MODES = ("matlab", "nafnet")


@dataclass(frozen=True)
class MetricsOptions:
    """The scores and their conventions."""

    ssim_mode: str = option(
        "channel",
        help="SSIM by another convention: of the luma; with a flat 7x7 window; as a volume of colours.",
        choices=SSIM_MODES,
    )
    align: bool = option(False, help="Align to the reference first for PSNR and SSIM, as RealBlur's protocol.")
    lpips: str = option(
        "auto",
        help="Network of LPIPS; auto: AlexNet, if its weights are on this machine.",
        metavar="auto|off|alex|vgg|FILE",
        complete="auto off alex vgg",
    )
    niqe: bool = option(False, help="Measure NIQE, too, where there is a reference.")
    niqe_mode: str = option(
        "matlab", help="How NIQE halves pictures: as MATLAB, or as the program of NAFNet.", choices=NIQE_MODES
    )
    niqe_model: Path | None = option(
        None,
        help="Another model of natural pictures, such as niqe_pris_params.npz.",
        metavar="FILE",
        usual="the package's",
    )
    per_frame: bool = option(False, help="The scores of every frame, in CSV or JSON.", panel="Result")
    device: str = option(
        "auto",
        help="Where to compute LPIPS: auto (the best present), cpu, cuda, cuda:N or mps.",
        panel="Network and device",
        metavar="DEVICE",
        complete="auto cpu cuda mps",
    )

    def __post_init__(self) -> None:
        check(self)
        plain = self.ssim_mode == "channel"
        require(not self.align or plain, "--align has an SSIM of its own", "leave --ssim-mode out")
        require(bool(self.lpips), "--lpips is empty", f"give auto, off, {', '.join(LPIPS_TRUNKS)} or a file")
