"""Blur-to-blur translation: a generator G turns the blur of an unknown camera into blur that a network knows.

Source: Pham, Pham, Tran, Nguyen, Nguyen, Hua & Pham, "Blur2Blur: Blur Conversion for Unsupervised Image Deblurring on
Unknown Domains" (CVPR 2024), section 3. Nothing is paired: ``blurry`` pictures of the camera, and ``known`` ones, which
are other pictures of it, sharp ones, with known blur put on. A critic D, one for three scales, tells G(blurry) from
known; a reconstruction loss on features keeps the content.

What differs from the paper, by recipe:

- ``paper``: equation 3 as a minimax has no slope for G where D is sure; G raises log D(G(y)) instead, as is usual.
  Equation 4 interpolates an unknown blurry picture with its own translation, as printed. The features are those of
  VGG16 where no VGG19 is given.
- ``authors``: the authors' code. Its gradient penalty is right for one picture a device; here it is for any number.
- ``ours``, so that it can be trained without a graphics card: G starts as the identity, from which it need not find its
  way back to a picture, is small, and first learns from pairs alone: known blur with the camera's own noise and traces
  of compression (:mod:`deblurcli.adaptation.frame_noise`), and without. Its optimiser is that of the other
  networks (:class:`deblurcli.optimiser.Muon`): Adam learns less in the same time. Then the critic joins, which alone
  changes nothing within minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.adaptation.content_features import ContentFeatures
from deblurcli.adaptation.frame_noise import NoiseBlocks
from deblurcli.device import Device
from deblurcli.networks import NETWORKS
from deblurcli.networks.critic import PatchCritic
from deblurcli.networks.mimo_unet import MIMOUNet
from deblurcli.networks.spec import outputs, padded
from deblurcli.optimiser import PEAK, Muon, set_share

TRANSLATOR = "blur-translator"
CRITIC = "patch-critic"
BETAS = (0.5, 0.999)
"""Adam's, in the authors' code; the paper says Adam alone."""
PAIRS_RATE = 40.0
"""Peak rate of the generator's optimiser where it learns from pairs, in units of Adam's."""
WARMUP = 0.1
"""Share of the pairs' time in which the rate rises to its peak: one that starts there may never begin to learn."""
PIXEL_LAYERS = ("feat_extract.0", "feat_extract.5", "ConvsOut")
"""Layers of the generator that see or give pixels."""
DETAIL = 3.0
"""By how much the detail that a new generator sees is amplified: it has a fraction of a picture's contrast."""


@dataclass(frozen=True)
class TranslationRecipe:
    """The constants of one way to train a translator."""

    adversarial: Literal["hinge", "log"]
    """Loss of critic and generator: of the authors' code, or of the paper's equation 3."""
    critic_weight: float
    """Weight of the adversarial part of the critic's loss, beside the penalty."""
    penalty_weight: float
    """lambda_grad of equation 7."""
    penalty_between: Literal["known", "blurry"]
    """What is mixed with G(blurry) where the critic's slope is looked at."""
    reconstruction_weight: float
    """lambda_rec of equation 6."""
    scales: Literal["mean", "sum"]
    """How the reconstruction loss of the three scales is put together (equation 5)."""
    start: Literal["identity", "normal"]
    """Weights of a new generator: nothing is changed, or N(0, 0.02)."""
    width: int
    """Channels of the generator at full size."""
    blocks: int
    """Its residual blocks in each of its six stages."""
    critic_channels: int
    constant: float
    """Share of the training at the full rate, before it falls linearly to 0."""
    sharpest: float
    """Share of the blurry pictures, the least blurred ones, that the training begins with."""
    noise_weight: float = 0.0
    """Weight of the mean absolute error on pairs with and without the camera's noise."""
    alone: float = 0.0
    """Share of the training in which there are these pairs alone, at the full rate; then at a tenth of it."""
    sharpest_until, all_from = 0.2, 0.5
    """Progress until which the share stays (200k of 1M iterations in the paper), and from which it is 1."""

    def share_at(self, progress: float) -> float:
        """The share of the blurry pictures, by rank, that are seen at this progress (0 to 1) of the training."""
        grown = (progress - self.sharpest_until) / (self.all_from - self.sharpest_until)
        return self.sharpest + (1 - self.sharpest) * min(max(grown, 0.0), 1.0)

    def rate_share(self, progress: float) -> float:
        """The share of the peak rate at this progress (0 to 1) of the training."""
        return 1.0 if progress < self.constant else max(0.0, (1 - progress) / (1 - self.constant))


RECIPES: dict[str, TranslationRecipe] = {
    "ours": TranslationRecipe(
        "hinge",
        0.5,
        0.005,
        "known",
        0.8,
        "mean",
        "identity",
        8,
        1,
        16,
        constant=0.5,
        sharpest=0.5,
        noise_weight=20.0,
        alone=0.8,
    ),
    # Section 4.1, "Implementation Details", and equations 3 to 7.
    "paper": TranslationRecipe(
        "log", 1.0, 0.005, "blurry", 0.8, "mean", "normal", 32, 8, 64, constant=0.5, sharpest=0.5
    ),
    # github.com/VinAIResearch/Blur2Blur, defaults of the code: 100 epochs, then 200 of decay; no curriculum in use.
    "authors": TranslationRecipe(
        "hinge", 0.5, 1e-4, "known", 0.8, "sum", "normal", 32, 8, 64, constant=1 / 3, sharpest=1.0
    ),
}
"""By the name that ``--recipe`` gives."""


def new_generator(recipe: TranslationRecipe, seed: int, width: int | None = None, blocks: int | None = None) -> Any:
    """A new translator of the recipe's size, or another one, and the configuration that it was built with."""
    config = {**(NETWORKS[TRANSLATOR].config or {}), "width": width or recipe.width, "blocks": blocks or recipe.blocks}
    torch.manual_seed(seed)
    generator = cast(MIMOUNet, NETWORKS[TRANSLATOR].build(**config))
    if recipe.start == "normal":
        start_normal(generator)
    else:
        start_as_identity(generator)
    return generator, config


def new_critic(recipe: TranslationRecipe, seed: int) -> PatchCritic:
    """A critic of the recipe's width, N(0, 0.02)."""
    torch.manual_seed(seed + 1)
    critic = PatchCritic(channels=recipe.critic_channels)
    start_normal(critic)
    return critic


def start_normal(module: nn.Module, deviation: float = 0.02) -> None:
    """Draw the weights of all convolutions from N(0, ``deviation``), biases 0, as pix2pix does."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, deviation)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def start_as_identity(generator: MIMOUNet) -> None:
    """Draw weights with which a generator changes nothing, and from which it soon learns to change fine detail.

    Source: He, Zhang, Ren & Sun, "Delving Deep into Rectifiers" (ICCV 2015), equation 10: signals keep their strength
    behind a ReLU. The first filters have no mean, so that all that follows sees detail, of which noise is a part, and
    not brightness, beside which it would be lost: with PyTorch's own start hundreds of steps learn nothing.
    """
    for layer in generator.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    with torch.no_grad():
        first = generator.get_parameter("feat_extract.0.main.0.weight")
        first.sub_(first.mean((2, 3), keepdim=True)).mul_(DETAIL)
        for last in (generator.feat_extract[-1], *generator.ConvsOut):  # they give what is added to the picture
            for parameter in last.parameters():
                parameter.zero_()


def critic_adversarial(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """The critic's loss from its scores: hinge, or the negative of equation 3 with D the sigmoid of a score."""
    if kind == "hinge":
        return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def generator_adversarial(kind: str, fake: Tensor) -> Tensor:
    """The generator's loss from the critic's scores of its pictures."""
    return -fake.float().mean() if kind == "hinge" else F.softplus(-fake.float()).mean()


def gradient_penalty(
    critic: nn.Module, one: Tensor, other: Tensor, mixture: Tensor, *, by_pixel: bool = False
) -> Tensor:
    """Mean over pictures of (length of the gradient of a picture's scores in the picture - 1)^2, equation 4.

    Args:
        critic: scores pictures one by one: none may depend on another picture of the batch.
        one, other: N x 3 x H x W; their mixture is looked at.
        mixture: N shares of ``one``.
        by_pixel: lengths are those of each pixel's three channels, and the mean is over the pixels, too.

    In float32: lengths of gradients overflow half precision. 1e-16 keeps the root's slope finite, as in the code.
    """
    with torch.autocast(one.device.type, enabled=False):
        share = mixture.to(one.device, torch.float32)[:, None, None, None]
        between = (share * one.float() + (1 - share) * other.float()).detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return ((slope + 1e-16).flatten(2 if by_pixel else 1).norm(dim=1) - 1).square().mean()


def at_scales(pictures: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Pictures (N x 3 x H x W) at the size of each of ``like``, bilinear."""
    return [
        pictures
        if pictures.shape[-2:] == each.shape[-2:]
        else F.interpolate(pictures, size=each.shape[-2:], mode="bilinear", align_corners=False)
        for each in like
    ]


class Translation:
    """A generator, a critic, and the step that trains both.

    Args:
        generator: gives pictures at several scales, coarse to fine (:func:`deblurcli.networks.spec.outputs`).
        critic: one for all scales; it scores each picture by itself.
        recipe: losses and their weights.
        features: of the reconstruction loss; without them there is none.
        device: where both are, and in which precision they compute.
        noise: of the camera, for pairs; without it there are none, and the critic is there from the beginning.
        rate: Adam's, of both; a generator that learns from pairs has ``PAIRS_RATE`` times as much of Muon's.
        seed: mixtures for the gradient penalty are drawn from it and the number of the step.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        recipe: TranslationRecipe,
        features: ContentFeatures | None,
        device: Device,
        *,
        noise: NoiseBlocks | None = None,
        rate: float = 2e-4,
        seed: int = 0,
    ) -> None:
        self.generator, self.critic, self.recipe, self.features = generator, critic, recipe, features
        self.device, self.noise, self.rate, self.seed, self.steps = device, noise, rate, seed, 0
        self.paired = noise is not None and recipe.noise_weight > 0
        self.alone = self.paired and recipe.alone > 0
        """Whether there are the pairs alone, now."""
        self.optimiser: torch.optim.Optimizer
        if self.paired:
            self.optimiser = Muon(generator, PAIRS_RATE * rate, weight_decay=0.0, aside=PIXEL_LAYERS)
        else:
            self.optimiser = torch.optim.Adam([{"params": list(generator.parameters()), PEAK: rate}], rate, BETAS)
        self.critic_optimiser = torch.optim.Adam(critic.parameters(), rate, BETAS)

    def step(self, blurry: Tensor, known: Tensor, progress: float = 0.0) -> dict[str, float]:
        """One step of the critic, then one of the generator (section 3.3). Returns the losses by name.

        Args:
            blurry: N x 3 x H x W in [0, 1] with unknown blur; H and W multiples of 16, at least 128.
            known: M x 3 x H x W with known blur.
            progress: 0 to 1, for the schedule of the rate.

        The losses: ``critic``, and of the generator ``adversarial``, ``reconstruction`` and ``pairs``, as far as there
        are such now. No step is taken along gradients that are not finite; the losses then tell.
        """
        self.pace(progress)
        found, losses = {}, {}
        if not self.alone:
            with self.device.autocast():
                pictures = self.pictures(blurry)
                judged = self.critic_loss(blurry, known, pictures, self.steps)
            descend(self.critic_optimiser, self.critic, judged)
            found["critic"] = float(judged.detach())
            with self.device.autocast():
                losses = self.generator_losses(blurry, pictures)
        if self.paired:
            with self.device.autocast():
                losses["pairs"] = self.pair_loss(known, self.steps)
        descend(self.optimiser, self.generator, torch.stack(list(losses.values())).sum())
        self.steps += 1
        return found | {name: float(loss.detach()) for name, loss in losses.items()}

    def pace(self, progress: float) -> float:
        """Set the rates of this progress (0 to 1); returns the generator's share of its peak rate."""
        recipe, alone = self.recipe, self.recipe.alone
        self.alone = self.paired and progress < alone
        if self.alone:
            come = progress / alone
            critics, share = 1.0, max(0.05, min(1.0, come / WARMUP, 2 * (1 - come)))
        elif self.paired:
            critics = recipe.rate_share((progress - alone) / max(1 - alone, 1e-6))
            share = 0.1 * critics
        else:
            critics = share = recipe.rate_share(progress)
        set_share(self.optimiser, share)
        for group in self.critic_optimiser.param_groups:
            group["lr"] = critics * self.rate
        return share

    def pictures(self, blurry: Tensor) -> list[Tensor]:
        """What the generator makes of N x 3 x H x W at each of its scales, coarse to fine."""
        found = outputs(self.generator, blurry)
        return [found] if isinstance(found, Tensor) else list(found)

    def pair_loss(self, known: Tensor, number: int) -> Tensor:
        """The weighted loss on known blur (N x 3 x S x S) with and without the camera's noise, in step ``number``."""
        assert self.noise is not None
        rng = np.random.default_rng([self.seed, 6, number])
        noise = self.noise.draw(len(known), known.shape[-1], rng).to(known.device)
        found = self.pictures((known + noise).clamp(0, 1))[-1]
        return self.recipe.noise_weight * (found.float() - known).abs().mean()

    def critic_loss(self, blurry: Tensor, known: Tensor, pictures: Sequence[Tensor], number: int) -> Tensor:
        """The critic's loss (equation 7), averaged over scales, with the penalty at full size.

        Args:
            pictures: what the generator makes of ``blurry``, coarse to fine; their graph is left alone.
            number: of the step.
        """
        recipe, fakes = self.recipe, [picture.detach() for picture in pictures]
        terms = [
            critic_adversarial(recipe.adversarial, self.critic(real), self.critic(fake))
            for real, fake in zip(at_scales(known, fakes), fakes, strict=True)
        ]
        total = recipe.critic_weight * torch.stack(terms).mean()
        if not recipe.penalty_weight:
            return total
        real = known if recipe.penalty_between == "known" else blurry
        count = min(len(real), len(fakes[-1]))
        draws = np.random.default_rng([self.seed, 5, number]).random(count, dtype=np.float32)
        penalty = gradient_penalty(self.critic, real[:count], fakes[-1][:count], torch.from_numpy(draws))
        return total + recipe.penalty_weight * penalty

    def generator_losses(self, blurry: Tensor, pictures: Sequence[Tensor]) -> dict[str, Tensor]:
        """The weighted terms of the generator's loss (equation 6), to be summed; the critic gets no gradient."""
        recipe = self.recipe
        self.critic.requires_grad_(False)
        try:
            terms = [generator_adversarial(recipe.adversarial, self.critic(picture)) for picture in pictures]
        finally:
            self.critic.requires_grad_(True)
        losses = {"adversarial": torch.stack(terms).mean()}
        if self.features and recipe.reconstruction_weight:
            wanted = at_scales(blurry, pictures)
            kept = [self.features.difference(*pair) for pair in zip(pictures, wanted, strict=True)]
            total = torch.stack(kept).mean() if recipe.scales == "mean" else torch.stack(kept).sum()
            losses["reconstruction"] = recipe.reconstruction_weight * total
        return losses


def descend(optimiser: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
    """Take a step of ``module`` alone down ``loss``; none where a gradient is not finite."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward(inputs=list(module.parameters()))
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    if torch.isfinite(torch.stack(torch._foreach_norm(gradients))).all():
        optimiser.step()


@torch.no_grad()
def translated(generator: nn.Module, pictures: Tensor, device: Device) -> Tensor:
    """What a translator makes of pictures (N x 3 x H x W in [0, 1], any size): the same shape, in [0, 1], float32.

    On ``device``, in its precision; the pictures are padded to what the network takes, and cropped again.
    """
    spec, (height, width) = NETWORKS[TRANSLATOR], pictures.shape[-2:]
    batch = padded(pictures, spec.multiple_of, spec.min_size).to(device.where)
    with device.autocast():
        found = generator(batch.contiguous(memory_format=torch.channels_last))
    return cast(Tensor, found)[..., :height, :width].float().clamp(0, 1)
