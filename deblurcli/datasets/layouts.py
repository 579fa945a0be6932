"""The datasets that are known by name: where their blurred and sharp pictures lie, and how they are parted.

A shape is the path of a picture without its suffix. ``{clip}`` and ``{frame}`` stand for the names of a video and of
its frame, ``{split}`` for the folder of a part of the dataset. What comes before a shape is the user's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """One dataset as its authors publish it."""

    dataset: str
    """Name, authors and place."""
    shapes: tuple[tuple[str, str], ...] = ()
    """Paths of a blurred picture and of its sharp partner; some datasets are around in two forms."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """The parts of the dataset by split: what stands for ``{split}``, or the file that lists the pairs of the part."""
    sides: Mapping[str, str] = field(default_factory=dict)
    """Instead of shapes: names of folders with blurred files, and of their neighbours with the sharp ones. Whatever is
    in them has a partner of its path there; both may have folders."""
    listed: str = ""
    """What holds the parts where no folder does: ``pairs`` (a text file for each, two paths a line) or ``records`` (one
    JSON file for all, a ``partition`` for each picture). In the folder that the shapes start from."""
    test_clips: frozenset[str] = frozenset()
    """The clips of the test part, where neither folder nor list tells; all others are for training."""
    sizes_vary: bool = False
    """Whether the pictures of a clip differ in size."""
    convention: str = "package"
    """How it is usually measured, one of :data:`deblurcli.metrics.conventions.CONVENTIONS`."""


_DVD_TEST = frozenset(
    {"720p_240fps_2", "IMG_0003", "IMG_0021", "IMG_0030", "IMG_0031"}
    | {"IMG_0032", "IMG_0033", "IMG_0037", "IMG_0039", "IMG_0049"}
)
"""The ten test videos, as the authors told them with their code (issue 2 of shuochsu/DeepVideoDeblurring)."""
_TWO = {"train": "train", "test": "test"}
_REALBLUR = "Rim, Lee, Won & Cho, ECCV 2020"
_J, _R = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref", "RealBlur-R_BM3D_ECC_IMCORR_centroid_itensity_ref"

SYNTH_SIDES = {"blurred": "sharp", "blur": "sharp"}
"""Folders that make pairs: those of ``deblur synth``, and GoPro's."""

LAYOUTS: dict[str, Layout] = {
    "gopro": Layout(
        "GoPro, linear blur (Nah, Kim & Lee, CVPR 2017)",
        (("{split}/{clip}/blur/{frame}", "{split}/{clip}/sharp/{frame}"),),
        _TWO,
        convention="clean-images",
    ),
    "gopro-gamma": Layout(
        "GoPro, blur with a camera response (Nah, Kim & Lee, CVPR 2017)",
        (("{split}/{clip}/blur_gamma/{frame}", "{split}/{clip}/sharp/{frame}"),),
        _TWO,
        convention="clean-images",
    ),
    "dvd": Layout(
        "DVD, quantitative set (Su et al., CVPR 2017)",
        (
            ("quantitative_datasets/{clip}/input/{frame}", "quantitative_datasets/{clip}/GT/{frame}"),
            ("{split}/{clip}/input/{frame}", "{split}/{clip}/GT/{frame}"),
        ),
        _TWO,
        test_clips=_DVD_TEST,
        convention="meta-transferring",
    ),
    # The truth of the part that the authors call test is not published: everybody tests on val.
    "reds": Layout(
        "REDS, motion blur (Nah et al., CVPRW 2019)",
        (("{split}/{split}_blur/{clip}/{frame}", "{split}/{split}_sharp/{clip}/{frame}"),),
        {"train": "train", "test": "val"},
        convention="meta-transferring",
    ),
    "realblur-j": Layout(
        f"RealBlur-J ({_REALBLUR})",
        ((f"{_J}/{{clip}}/blur/blur_{{frame}}", f"{_J}/{{clip}}/gt/gt_{{frame}}"),),
        {"train": "RealBlur_J_train_list.txt", "test": "RealBlur_J_test_list.txt"},
        listed="pairs",
        sizes_vary=True,
        convention="realblur",
    ),
    "realblur-r": Layout(
        f"RealBlur-R ({_REALBLUR})",
        ((f"{_R}/{{clip}}/blur/blur_{{frame}}", f"{_R}/{{clip}}/gt/gt_{{frame}}"),),
        {"train": "RealBlur_R_train_list.txt", "test": "RealBlur_R_test_list.txt"},
        listed="pairs",
        sizes_vary=True,
        convention="realblur",
    ),
    "rsblur": Layout(
        "RSBlur, real blur (Rim et al., ECCV 2022)",
        (("RSBlur/{clip}/{frame}/real_blur/real_blur", "RSBlur/{clip}/{frame}/gt/gt_sharp"),),
        {"train": "RSBlur_real_train.txt", "val": "RSBlur_real_val.txt", "test": "RSBlur_real_test.txt"},
        listed="pairs",
        convention="realblur",
    ),
    "bsd": Layout(
        "BSD (Zhong et al., ECCV 2020)",
        (("{split}/{clip}/Blur/RGB/{frame}", "{split}/{clip}/Sharp/RGB/{frame}"),),
        {"train": "train", "val": "valid", "test": "test"},
    ),
    # Seven sharp frames lie in an exposure; the fourth is its middle.
    "rb2v": Layout(
        "RB2V (Pham et al., CVPR 2023)",
        (("{clip}/blur/{frame}", "{clip}/sharp/{frame}_4"),),
        {"train": "metadata.json", "test": "metadata.json"},
        listed="records",
        convention="blur2blur",
    ),
    "synth": Layout("what deblur synth writes", sides=SYNTH_SIDES, sizes_vary=True),
    "pairs": Layout(
        "any two folders of equal file names", sides=SYNTH_SIDES | {"input": "target", "lq": "gt"}, sizes_vary=True
    ),
}
