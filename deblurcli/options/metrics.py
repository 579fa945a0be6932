"""What `deblur metrics` measures, and by which conventions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deblurcli.options.option import Options, compute_device, option, require

SSIM_MODES = ("channel", "luma", "uniform7", "volume3d")
LPIPS_TRUNKS = ("alex", "vgg")
NIQE_MODES = ("matlab", "nafnet")


@dataclass(frozen=True)
class MetricsOptions(Options):
    """The scores and their conventions."""

    ssim_mode: str = option(
        "channel", "SSIM of each channel, of the luma, in a flat 7x7 window, or as a volume.", choices=SSIM_MODES
    )
    align: bool = option(False, "Align to the reference first for PSNR and SSIM, as RealBlur's protocol.")
    lpips: str = option(
        "auto",
        "Network of LPIPS; auto: AlexNet, if its weights are on this machine.",
        metavar="auto|off|alex|vgg|FILE",
        complete="auto off alex vgg",
    )
    niqe: bool = option(False, "Measure NIQE, too, where there is a reference.")
    niqe_mode: str = option("matlab", "How NIQE halves pictures: as MATLAB or as NAFNet's program.", choices=NIQE_MODES)
    niqe_model: Path | None = option(
        None,
        "Another model of natural pictures: niqe-original, or a file such as niqe_pris_params.npz.",
        metavar="NAME|FILE",
        usual="the package's",
    )
    before: str | None = option(
        None,
        "The input of RESTORED, or one for each: measure it, too, and tell which of the two is better.",
        "Result",
        metavar="INPUT",
    )
    reblur: str | None = option(
        None,
        "The blurred input of RESTORED, or one for each: measure how well a restored video explains it.",
        "Result",
        metavar="INPUT",
    )
    tau: float | None = option(
        None,
        "Half of the exposure of the input in frame intervals.",
        above=0,
        most=2,
        usual="found on the restored video",
    )
    reblur_gamma: float | None = option(
        None, "With --tau: exponent of the camera's response.", least=1, most=5, usual="2.2"
    )
    per_frame: bool = option(False, "The scores of every frame, in CSV or JSON.", "Result")
    device: str = compute_device("Where to compute LPIPS")

    def __post_init__(self) -> None:
        super().__post_init__()
        plain = self.ssim_mode == "channel"
        require(not self.align or plain, "--align has an SSIM of its own", "leave --ssim-mode out")
        require(self.before != "", "--before is empty", "give the input")
        reblurred = self.reblur is not None
        require(self.reblur != "", "--reblur is empty", "give the blurred input")
        require(reblurred or self.tau is None, "--tau is of --reblur", "add --reblur INPUT")
        require(self.tau is not None or self.reblur_gamma is None, "--reblur-gamma is of --tau", "add --tau")
        require(bool(self.lpips), "--lpips is empty", f"give auto, off, {', '.join(LPIPS_TRUNKS)} or a file")
