"""The networks: pure modules, and the literal table of what is known about each."""

from deblurcli.networks.critic import PatchCritic
from deblurcli.networks.plain_unet import PlainUNet
from deblurcli.networks.spec import NetworkSpec
from deblurcli.networks.videoadapt import VideoAdapt

NETWORKS: dict[str, NetworkSpec] = {
    "plain-unet": NetworkSpec(
        PlainUNet,
        "deblur",
        multiple_of=8,
        min_size=16,
        overlap=48,
        config={"width": 128, "deep_width": 192, "blocks": [3, 5, 4], "fold": 4},
    ),
    "videoadapt": NetworkSpec(
        VideoAdapt, "reblur", window=5, multiple_of=32, min_size=32, tileable=False, loss="charbonnier"
    ),
    "videoadapt-small": NetworkSpec(
        VideoAdapt,
        "reblur",
        window=5,
        multiple_of=32,
        min_size=32,
        tileable=False,
        loss="charbonnier",
        config={"n_feats": 16},
    ),
    "patch-critic": NetworkSpec(PatchCritic, "critic", min_size=32, tileable=False),
}

__all__ = ["NETWORKS", "NetworkSpec"]
