"""Large pictures: what is blurred twice as far takes one more coarse scale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import deblurcli
from deblurcli.device import pick_device
from deblurcli.media.images import read_image
from deblurcli.metrics.fidelity import psnr
from deblurcli.networks import NETWORKS, NetworkSpec
from deblurcli.networks.plain_unet import PlainUNet
from deblurcli.networks.spec import more_scales
from deblurcli.networks.video_unet import VideoUNet
from deblurcli.restore.tiles import Restorer
from deblurcli.synth.exposure import expose_paths
from deblurcli.weights.load import load_network

PHOTO = Path(deblurcli.__file__).parent / "bundled" / "photos" / "bridge.webp"


@pytest.mark.parametrize(
    ("size", "more"),
    [((720, 1280), 0), ((256, 448), 0), ((1080, 1920), 1), ((1440, 2560), 1), ((2160, 3840), 2), ((4320, 7680), 3)],
)
def test_the_number_of_scales_follows_the_smaller_side(size: tuple[int, int], more: int) -> None:
    assert more_scales(*size) == more_scales(*size[::-1]) == more
    assert more_scales(1, 1) == 0 and more_scales(40_000, 40_000) == 3


def test_more_scales_share_the_weights() -> None:
    network = PlainUNet(8, 8, (0, 1, 0), scales=2)
    torch.nn.init.normal_(network.tail.weight, 0, 0.05)
    larger, picture = network.at_scales(2), torch.rand(1, 3, 64, 64)
    assert (network.scales, larger.scales) == (2, 4)
    assert not torch.equal(network(picture), larger(picture))
    with torch.no_grad():
        network.tail.weight.zero_()
    torch.testing.assert_close(larger(picture), picture)
    assert PlainUNet(8, 8, (0, 1, 0), scales=1).at_scales(2).scales == 1, "it has learnt nothing of coarser scales"
    video = VideoUNet(width=8, deep_width=8, base={"width": 8, "deep_width": 8, "blocks": (0, 1, 0), "scales": 2})
    grown = video.at_scales(1)
    assert (video.base.scales, grown.base.scales) == (2, 3) and grown.fusion is video.fusion


def test_the_facts_grow_with_the_scales() -> None:
    spec = NETWORKS["plain-unet"]
    grown = spec.with_scales(2)
    assert (grown.multiple_of, grown.step, grown.overlap) == (4 * spec.multiple_of, 4 * spec.step, spec.overlap)


def blurred(picture: Tensor, length: float) -> Tensor:
    """The picture (1 x 3 x H x W) seen along a straight path of so many pixels."""
    along = torch.linspace(-length / 2, length / 2, 2)
    return expose_paths(picture, torch.stack([along, 0.4 * along], 1)[None], 25)


def test_an_enlarged_picture_gains_as_much_as_at_its_own_size() -> None:
    sharp = torch.from_numpy(read_image(PHOTO).samples).permute(2, 0, 1)[None].float() / 255
    device, loaded = pick_device("cpu"), load_network("plain-unet", role="deblur")
    own = blurred(sharp, 24), sharp
    enlarged = tuple(F.interpolate(t, scale_factor=2.5, mode="bicubic").clamp(0, 1) for t in own)
    assert more_scales(*own[0].shape[-2:]) == 0 and more_scales(*enlarged[0].shape[-2:]) == 1

    def gain(pair: tuple[Tensor, ...], spec: NetworkSpec) -> float:
        picture, wanted = (t[0] for t in pair)
        return psnr(Restorer(loaded.module, spec, device)([picture]), wanted) - psnr(picture, wanted)

    best = gain(own, loaded.spec)
    assert best > 0.8 and gain(enlarged, loaded.spec) > best - 0.2
    assert gain(enlarged, replace(loaded.spec, scales=False)) < best - 0.2, "the blur is long enough to tell"
