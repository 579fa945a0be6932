"""PSNR and the conventions of SSIM, against figures of the authors' programs and against scikit-image."""

import math

import numpy as np
import pytest
import torch
from parity import case
from scenes import scene
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from deblurcli.errors import InputError
from deblurcli.metrics import fidelity
from deblurcli.metrics.registration import aligned_fidelity
from deblurcli.options.metrics import SSIM_MODES

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def picture(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).permute(2, 0, 1).float() / 255


def pair(height: int, width: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A picture with flat parts, gradients, noise and clipped light, and a distorted copy; H x W x 3, 8 bits."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    light = 150 + 90 * np.sin(x / 7.0) * (y > height / 3) + 60 * (x > width / 2)
    one = light[..., None] + rng.normal(0, [2, 6, 20], (height, width, 3))
    other = np.roll(one, 1, 1) * 0.9 + 12 + rng.normal(0, 4, (height, width, 3))
    return tuple(np.clip(p.round(), 0, 255).astype(np.uint8) for p in (one, other))


@pytest.mark.parametrize(
    ("mode", "entry", "tolerance"),
    [
        ("channel", "skimage_gaussian_channel_axis_sigma1.5_no_sample_cov_range255", 1e-12),
        ("channel", "nafnet_calculate_ssim_ssim3d_False", 1e-12),
        ("luma", "paper000_calc_ssim (Gaussian 11x11 sigma 1.5, valid, ON LUMA: see note)", 1e-9),
        ("uniform7", "skimage_default_uniform7_channel_axis_range255", 1e-12),
        # Theirs is in float32, where the variances of code values lose four digits.
        ("volume3d", "nafnet_calculate_ssim_3d (11x11x11 Gaussian, replicate padding)", 2e-5),
        ("volume3d", "nafnet_calculate_ssim_3d_on_unit_range_floats", 1e-5),
    ],
)
def test_the_authors_figures(mode: str, entry: str, tolerance: float) -> None:
    facts, arrays = case("metrics")
    found = fidelity.ssim(picture(arrays["metric_a"]), picture(arrays["metric_b"]), mode)
    assert found == pytest.approx(facts["ssim"][entry], abs=tolerance)


def test_the_authors_crops() -> None:
    facts, arrays = case("metrics")
    one, two = (picture(arrays[f"metric_{k}"])[:, 4:-4, 4:-4] for k in "ab")
    assert fidelity.psnr(one, two) == pytest.approx(facts["psnr"]["cdvd_tsp_crop4"], abs=1e-9)
    wanted = facts["ssim"]["cdvd_tsp_crop4_gaussian_channel_mean"]
    assert fidelity.ssim(one, two) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("size", [(11, 11), (12, 40), (61, 47)])
def test_scikit_image_agrees(size: tuple[int, int]) -> None:
    one, two = pair(*size)
    a, b = picture(one), picture(two)
    assert fidelity.psnr(b, a) == pytest.approx(peak_signal_noise_ratio(one, two, data_range=255), abs=1e-9)
    wanted = structural_similarity(one, two, channel_axis=-1, data_range=255, **GAUSSIAN)
    assert fidelity.ssim(b, a) == pytest.approx(wanted, abs=1e-12)
    wanted = structural_similarity(one, two, channel_axis=-1, data_range=255)
    assert fidelity.ssim(b, a, "uniform7") == pytest.approx(wanted, abs=1e-12)
    luma = [p @ np.array([65.738, 129.057, 25.064]) / 256 + 16 for p in (one, two)]
    wanted = structural_similarity(*luma, data_range=255, **GAUSSIAN)
    assert fidelity.ssim(b, a, "luma") == pytest.approx(wanted, abs=1e-12)


def test_the_volume_is_a_convolution_in_three_dimensions() -> None:
    one, two = (torch.from_numpy(p).permute(2, 0, 1)[None, None].double() for p in pair(14, 17))
    x = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(x**2) / (2 * 1.5**2))
    line /= line.sum()
    kernel = (line[:, None, None] * line[:, None] * line)[None, None]

    def mean(values: Tensor) -> Tensor:
        return torch.nn.functional.conv3d(torch.nn.functional.pad(values, (5,) * 6, mode="replicate"), kernel)

    mu, nu = mean(one), mean(two)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    upper = (2 * mu * nu + c1) * (2 * (mean(one * two) - mu * nu) + c2)
    lower = (mu**2 + nu**2 + c1) * (mean(one**2) - mu**2 + mean(two**2) - nu**2 + c2)
    found = fidelity.ssim(one[0, 0] / 255, two[0, 0] / 255, "volume3d")
    assert found == pytest.approx(float((upper / lower).mean()), abs=1e-12)


@pytest.mark.parametrize("mode", SSIM_MODES)
def test_equal_pictures_and_opposite_ones(mode: str) -> None:
    one = picture(pair(30, 30)[0])
    assert fidelity.ssim(one, one, mode) == pytest.approx(1, abs=1e-12)
    assert fidelity.ssim(one, 1 - one, mode) < 0.2
    # Steady where nothing varies, and next to white, where float32 would lose the variance.
    white = torch.ones(3, 20, 20)
    assert fidelity.ssim(white, white, mode) == pytest.approx(1, abs=1e-12)


def test_what_no_window_fits_into_has_no_ssim() -> None:
    small = torch.rand(3, 10, 40)
    assert math.isnan(fidelity.ssim(small, small))
    assert math.isnan(fidelity.ssim(small, small, "luma"))
    assert fidelity.ssim(small, small, "uniform7") == pytest.approx(1)
    assert math.isnan(fidelity.ssim(small[:, :6], small[:, :6], "uniform7"))


def test_values_are_those_of_eight_bits() -> None:
    grey = torch.full((3, 16, 16), 0.5)
    assert fidelity.psnr(grey + 0.4 / 255, grey) == math.inf  # 127.5 and 127.9 are both 128
    assert fidelity.psnr(torch.full_like(grey, 1.7), torch.ones_like(grey)) == math.inf


def test_the_figures_of_the_realblur_protocol() -> None:
    facts, arrays = case("metrics")
    restored, reference = (picture(arrays[f"realblur_{kind}"]) for kind in ("pred", "gt"))
    assert fidelity.psnr(restored, reference) == pytest.approx(facts["realblur"]["unaligned_psnr"], abs=1e-6)
    psnr, ssim = aligned_fidelity(restored, reference)
    # The alignment depends a little on the version of OpenCV.
    assert psnr == pytest.approx(facts["realblur"]["psnr"], abs=0.01)
    assert ssim == pytest.approx(facts["realblur"]["ssim"], abs=1e-4)


def test_alignment_undoes_shift_and_exposure() -> None:
    wide = scene(7, 140, 180)
    sharp, moved = wide[:, 10:130, 10:170], wide[:, 13:133, 8:168] * 0.8
    assert fidelity.psnr(moved, sharp) < 20
    psnr, ssim = aligned_fidelity(moved, sharp)
    assert psnr > 40 and ssim > 0.99
    psnr, ssim = aligned_fidelity(sharp, sharp)
    assert psnr > 60 and ssim == pytest.approx(1, abs=1e-6)
    # What is wrong stays wrong.
    noisy = (sharp * 0.6 + 0.2 + 0.03 * torch.randn(sharp.shape, generator=torch.Generator().manual_seed(1))) / 0.8
    assert 20 < aligned_fidelity(noisy, sharp)[0] < 31


def test_what_cannot_be_aligned_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be aligned"):
        aligned_fidelity(torch.zeros(3, 40, 40), torch.rand(3, 40, 40))
