"""The networks: pure modules, and the literal table of what is known about each.

Names and shapes of the state dicts are the authors' own, so that their training results can be loaded; a network's file
says where they come from if not.
"""

from __future__ import annotations

from dataclasses import replace

from deblurcli.networks.blur_mixture import BlurMixture
from deblurcli.networks.cdvd_tsp import CDVDTSP
from deblurcli.networks.critic import PatchCritic, VGGCritic
from deblurcli.networks.dbn import DBN
from deblurcli.networks.deblurgan import DeblurGAN
from deblurcli.networks.dmphn import DMPHN
from deblurcli.networks.flownet_s import FlowNetS
from deblurcli.networks.flownet_small import FlowNetSmall
from deblurcli.networks.kernel_extractor import KernelExtractor
from deblurcli.networks.lpips import LPIPS
from deblurcli.networks.mimo_unet import MIMOUNet
from deblurcli.networks.mprnet import MPRNet
from deblurcli.networks.nafnet import NAFNet
from deblurcli.networks.plain_unet import PlainUNet
from deblurcli.networks.pwc_net import PWCNet
from deblurcli.networks.reblurring import ReblurringModule
from deblurcli.networks.residual_unet import ResidualUNet
from deblurcli.networks.restormer import Restormer
from deblurcli.networks.spec import NetworkSpec
from deblurcli.networks.srn import SRN
from deblurcli.networks.video_unet import VideoUNet
from deblurcli.networks.videoadapt import VideoAdapt

_BASE = {"width": 128, "deep_width": 192, "blocks": [1, 6, 4], "fold": 4, "scales": 4}
_FUSION = {"frames": 3, "steps": [0.5, 1.0], "width": 128, "deep_width": 96, "blocks": [0, 3, 1], "base": _BASE}
_PLAIN = NetworkSpec(PlainUNet, "deblur", multiple_of=8, stride=64, min_size=16, overlap=160, config=_BASE, scales=True)
_VIDEOADAPT = NetworkSpec(
    VideoAdapt, "reblur", window=5, multiple_of=32, min_size=32, tileable=False, loss="charbonnier"
)
_MIMO = NetworkSpec(MIMOUNet, "deblur", multiple_of=4, min_size=4, overlap=48, loss="mimo", bytes_per_pixel=850)
_NAFNET = NetworkSpec(NAFNet, "deblur", multiple_of=16, min_size=16, overlap=48, loss="psnr")
_NAFNET_BLOCKS = {"encoders": [1, 1, 1, 28], "middle": 1, "decoders": [1, 1, 1, 1], "train_size": 256}
_RESTORMER = {"width": 48, "blocks": [4, 6, 6, 8], "refinement": 4, "heads": [1, 2, 4, 8], "expansion": 2.66}
_MPRNET = {"width": 96, "step": 48, "extra": 32, "blocks": 8, "reduction": 4}
_DEBLURGAN = {"blocks": 9, "dropout": True}
_L1 = NetworkSpec(DMPHN, "deblur", multiple_of=4, min_size=4, overlap=48, loss="l1")
_FLOW = NetworkSpec(PWCNet, "flow", window=2, overlap=64, loss="multiscale_epe", bytes_per_pixel=310)
_CRITIC = NetworkSpec(PatchCritic, "critic", min_size=32, tileable=False)
_KERNEL = NetworkSpec(
    KernelExtractor, "kernel", multiple_of=128, min_size=256, overlap=0, tileable=False, loss="charbonnier"
)
_LPIPS = NetworkSpec(LPIPS, "metric", tileable=False, dtypes=("fp32",))

NETWORKS: dict[str, NetworkSpec] = {
    "plain-unet": _PLAIN,
    # bytes_per_pixel: as one frame of the single-frame network, and the encodings of three
    "video-unet": replace(
        _PLAIN, build=VideoUNet, window=3, min_size=32, encodes=True, alone="base", bytes_per_pixel=250, config=_FUSION
    ),
    "blur-mixture": replace(_VIDEOADAPT, build=BlurMixture),
    "videoadapt": _VIDEOADAPT,
    "videoadapt-small": replace(_VIDEOADAPT, config={"n_feats": 16}),
    # The next six: overlap is the radius outside which less than a hundredth of a pixel's absolute gradient lies, under
    # random weights, but at least 48; bytes_per_pixel is measured at 256 x 256 pixels in channels-last order. NAFNet,
    # Restormer and MPRNet use means over the picture, learned on crops of 256 to 384 pixels: tiles are as large, and
    # closer to that than whole frames are, which their authors restore at once (``--tile off``).
    "mimo-unet": replace(_MIMO, config={"blocks": 8, "dropout": 0.0, "width": 32}),
    "mimo-unet-plus": replace(_MIMO, overlap=64, config={"blocks": 20, "dropout": 0.1, "width": 32}),
    "nafnet-w32": replace(_NAFNET, bytes_per_pixel=950, config={"width": 32, **_NAFNET_BLOCKS}),
    "nafnet-w64": replace(_NAFNET, bytes_per_pixel=1850, config={"width": 64, **_NAFNET_BLOCKS}),
    "restormer": replace(
        _L1,
        build=Restormer,
        multiple_of=8,
        min_size=8,
        overlap=64,
        dtypes=("fp32", "bf16"),
        bytes_per_pixel=6200,
        config=_RESTORMER,
    ),
    "mprnet": NetworkSpec(
        MPRNet, "deblur", multiple_of=8, min_size=8, overlap=48, loss="mprnet", bytes_per_pixel=3900, config=_MPRNET
    ),
    # From here to the critic, overlap is two standard deviations of the spread that uniform kernels would cause, and
    # bytes_per_pixel is measured at 320 x 256 pixels in channels-last order, per frame of the window. DMPHN is not
    # tiled: what a level sees depends on where the whole picture is cut; nor DeblurGAN: it normalises by the picture.
    "dmphn": replace(
        _L1, multiple_of=16, min_size=16, overlap=0, tileable=False, bytes_per_pixel=1400, config={"patches": True}
    ),
    "dhn": replace(_L1, bytes_per_pixel=900, config={"patches": False}),
    "srn": NetworkSpec(
        SRN, "deblur", multiple_of=16, min_size=16, overlap=208, loss="multiscale_l1", bytes_per_pixel=1100
    ),
    "residual-unet": replace(_L1, build=ResidualUNet, bytes_per_pixel=1200, config={"blocks": 8}),
    "dbn": NetworkSpec(DBN, "deblur", window=5, multiple_of=8, min_size=8, overlap=32, loss="mse", bytes_per_pixel=360),
    "cdvd-tsp": NetworkSpec(
        CDVDTSP, "deblur", window=5, multiple_of=4, min_size=4, overlap=64, loss="l1_hem", bytes_per_pixel=330
    ),
    "deblurgan": replace(
        _L1, build=DeblurGAN, min_size=8, overlap=0, tileable=False, bytes_per_pixel=1100, config=_DEBLURGAN
    ),
    "reblurring-module": NetworkSpec(
        ReblurringModule, "reblur-image", overlap=24, loss="l1", bytes_per_pixel=800, config={"blocks": 2}
    ),
    "blur-translator": replace(
        _MIMO, role="translate", loss="l1", bytes_per_pixel=450, config={"blocks": 2, "dropout": 0.0, "width": 16}
    ),
    "pwc-net": _FLOW,
    "flownet-s": replace(_FLOW, build=FlowNetS, bytes_per_pixel=320, config={"batch_norm": False}),
    "flownet-small": replace(_FLOW, build=FlowNetSmall, loss="robust_epe", bytes_per_pixel=400),
    "patch-critic": _CRITIC,
    "vgg19-critic": replace(_CRITIC, build=VGGCritic),
    "kernel-extractor": replace(_KERNEL, config={"width": 64, "variational": False}),
    "kernel-extractor-small": replace(_KERNEL, config={"width": 16, "variational": False}),
    "lpips-alex": replace(_LPIPS, min_size=31, config={"trunk": "alex"}),
    "lpips-vgg": replace(_LPIPS, min_size=16, config={"trunk": "vgg"}),
}

__all__ = ["NETWORKS", "NetworkSpec"]
