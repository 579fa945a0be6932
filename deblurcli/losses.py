"""Training losses of the deblurring networks and of the critic.

Images are N x 3 x H x W in [0,1]; ``output`` may leave that range. Every loss is a scalar tensor, and is computed in
float32 under autocast as well. Losses of networks with several outputs take one tensor too, as a list of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Outputs = Tensor | Sequence[Tensor]


def picture_of(pictures: Outputs) -> Tensor:
    """The picture that a deblurring network restores: the first of the largest among its outputs."""
    return pictures if isinstance(pictures, Tensor) else max(pictures, key=lambda picture: picture.shape[-1])


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (output.float() - target.float()).abs().mean()


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """Charbonnier loss, a smooth L1: mean of sqrt(d^2 + 1e-6) (MPRNet paper, CVPR 2021, eq. 5)."""
    return ((output.float() - target.float()).square() + 1e-6).sqrt().mean()


def edge(output: Tensor, target: Tensor) -> Tensor:
    """Charbonnier loss between the Laplacians of both images (MPRNet paper, CVPR 2021, eq. 6)."""
    return charbonnier(laplacian(output.float()), laplacian(target.float()))


def fft_l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the real and imaginary parts of the full 2-D spectra, unnormalised.

    Source: multi-scale frequency reconstruction loss of the MIMO-UNet paper (ICCV 2021), eq. 7.
    """
    return torch.view_as_real(torch.fft.fft2(output.float() - target.float())).abs().mean()


def l1_fft(output: Tensor, target: Tensor) -> Tensor:
    """L1 plus half the mean absolute difference of the real and imaginary parts of the orthonormal half spectra.

    The project's default: as MIMO-UNet's loss at one scale, but independent of the size of the crop. With these weights
    both terms are about equally large.
    """
    difference = output.float() - target.float()
    spectrum = torch.view_as_real(torch.fft.rfft2(difference, norm="ortho"))
    return difference.abs().mean() + 0.5 * spectrum.abs().mean()


def psnr_loss(output: Tensor, target: Tensor) -> Tensor:
    """Negative PSNR in dB at peak 1, mean over the batch of 10 log10(MSE + 1e-8) (NAFNet, ECCV 2022)."""
    mse = (output.float() - target.float()).square().flatten(1).mean(1)
    return 10 / math.log(10) * (mse + 1e-8).log().mean()


def mprnet_loss(outputs: Outputs, target: Tensor) -> Tensor:
    """Sum over the outputs of Charbonnier + 0.05 edge loss (MPRNet paper, CVPR 2021, eq. 4)."""
    return _sum(charbonnier(output, target) + 0.05 * edge(output, target) for output in _listed(outputs))


def mimo_loss(outputs: Outputs, target: Tensor) -> Tensor:
    """Sum over scales of L1 + 0.1 fft_l1, the target resized to each output (MIMO-UNet paper, ICCV 2021, eq. 8)."""
    pairs = ((output, _resized(target, output)) for output in _listed(outputs))
    return _sum(l1(output, scaled) + 0.1 * fft_l1(output, scaled) for output, scaled in pairs)


def multiscale_l1(outputs: Outputs, target: Tensor) -> Tensor:
    """Sum over scales of L1, the target resized to each output (reblurring-loss paper, ICLR 2022, of SRN)."""
    return _sum(l1(output, _resized(target, output)) for output in _listed(outputs))


def mse(outputs: Outputs, target: Tensor) -> Tensor:
    """Sum over the outputs of the mean squared difference, the target resized to each."""
    return _sum((output.float() - _resized(target, output)).square().mean() for output in _listed(outputs))


def hard_pixels(differences: Tensor, share: float = 0.5) -> Tensor:
    """Which pixels have the largest absolute error, summed over the channels: N x C x H x W to N x 1 x H x W bool.

    ``share`` of every picture, but none that equals the smallest of them (CDVD-TSP code, CVPR 2020).
    """
    errors = differences.detach().abs().sum(1, keepdim=True)
    largest = errors.flatten(1).sort(1, descending=True).values
    return errors > largest[:, int(share * largest.shape[1]), None, None, None]


def l1_hem(outputs: Outputs, target: Tensor) -> Tensor:
    """L1 plus twice the L1 of hard pixels, of all outputs together (CDVD-TSP paper, CVPR 2020, section 3.4).

    Args:
        outputs: N x 3 x H x W each.
        target: N x 3 x H x W, wanted of every output; or N x K x 3 x H x W, one for each of K outputs.

    A pixel is hard where the error of all outputs is among the larger half. The authors add a tenth of all pixels,
    drawn at random; here every pixel that is not hard counts by the chance of being drawn, which is the mean of their
    loss, and equal for equal inputs.
    """
    listed = _listed(outputs)
    targets = target.unbind(1) if target.dim() == 5 else [target] * len(listed)
    pairs = zip(listed, targets, strict=True)
    differences = torch.cat([output.float() - wanted.float() for output, wanted in pairs], 1)
    pixels = differences.shape[-2] * differences.shape[-1]
    weight = torch.where(hard_pixels(differences), 1.0, int(0.1 * pixels) / pixels)
    errors = differences.abs()
    return errors.mean() + 2 * (weight * errors).mean()


def authors_mimo_loss(outputs: Outputs, target: Tensor) -> Tensor:
    """What the meta-transferring paper's code (BMVC 2022) trains MIMO-UNet with.

    As :func:`mimo_loss`, but with the magnitude of the 1-D spectra along the width.
    """
    differences = (output.float() - _resized(target, output).float() for output in _listed(outputs))
    return _sum(difference.abs().mean() + 0.1 * torch.fft.fft(difference).abs().mean() for difference in differences)


def multiscale_epe(outputs: Outputs, target: Tensor) -> Tensor:
    """Weighted sum over scales, fine to coarse, of the end-point errors of flow (FlowNet, ICCV 2015).

    Flow is N x 2 x h x w and ``target`` N x 2 x H x W, in the same unit. A scale's term is the length of the difference
    to the target, averaged to that scale, summed over the pixels; the mean over the batch is taken.
    """
    terms = []
    for output, weight in zip(_listed(outputs), (0.005, 0.01, 0.02, 0.08, 0.32), strict=False):
        wanted = F.adaptive_avg_pool2d(target.float(), (output.shape[-2], output.shape[-1]))
        terms.append(weight * (output.float() - wanted).norm(dim=1).sum() / len(output))
    return _sum(terms)


def robust_epe(outputs: Outputs, target: Tensor) -> Tensor:
    """Sum over scales, fine to coarse, of the mean root of the end-point errors of flow, each with half the weight.

    Shapes as for :func:`multiscale_epe`. The root, smooth below a 20th of a pixel, makes a tenth of a pixel of a short
    motion count as much as many pixels of a long one (as the robust loss of PWC-Net, CVPR 2018, eq. 4).
    """
    terms = []
    for scale, output in enumerate(_listed(outputs)):
        wanted = F.adaptive_avg_pool2d(target.float(), (output.shape[-2], output.shape[-1]))
        squared = (output.float() - wanted).square().sum(1)
        terms.append(0.5**scale * (squared + 0.05**2).pow(0.25).mean())
    return _sum(terms)


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Wasserstein loss of the critic from its scores of any shape: -mean(real) + mean(fake)."""
    return fake.float().mean() - real.float().mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Adversarial loss of the reblurring network from the critic's scores: -mean(fake)."""
    return -fake.float().mean()


@torch.no_grad()
def clamp_parameters(module: nn.Module, bound: float = 0.01) -> None:
    """Clamp every parameter to [-bound, bound], which keeps a Wasserstein critic Lipschitz; after each critic step."""
    for parameter in module.parameters():
        parameter.clamp_(-bound, bound)


def laplacian(image: Tensor) -> Tensor:
    """The detail that one level of a Gaussian pyramid loses; same shape as ``image``, N x C x H x W."""
    small = _blur(image)[..., ::2, ::2]
    back = torch.zeros_like(image)
    back[..., ::2, ::2] = 4 * small
    return image - _blur(back)


def _blur(image: Tensor) -> Tensor:
    from kornia.filters import filter2d  # a second to import, and nothing but training needs it

    taps = image.new_tensor([0.05, 0.25, 0.4, 0.25, 0.05])
    with torch.autocast(image.device.type, enabled=False):
        return filter2d(image, torch.outer(taps, taps)[None], "replicate")


def _listed(outputs: Outputs) -> Sequence[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else outputs


def _resized(target: Tensor, output: Tensor) -> Tensor:
    """The target at the output's scale."""
    if target.shape[-2:] == output.shape[-2:]:
        return target
    return F.interpolate(target, size=output.shape[-2:], mode="bilinear")


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()


LOSSES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "l1": l1,
    "l1_fft": l1_fft,
    "charbonnier": charbonnier,
    "edge": edge,
    "fft_l1": fft_l1,
    "psnr": psnr_loss,
    "mprnet": mprnet_loss,
    "mimo": mimo_loss,
    "multiscale_l1": multiscale_l1,
    "mse": mse,
    "authors_mimo": authors_mimo_loss,
    "l1_hem": l1_hem,
    "multiscale_epe": multiscale_epe,
    "robust_epe": robust_epe,
}
"""The losses a network may name as its own (``NetworkSpec.loss``), of all its outputs and the target."""
