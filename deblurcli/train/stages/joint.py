"""Joint training: a deblurring network M_D and a reblurring module M_R, which finds the blur that M_D leaves.

Source: "Clean images are hard to reblur" (ICLR 2022), section 3. B is a blurred picture, S the sharp one, L = M_D(B),
S^ = M_D(S) the pseudo-sharp one. In each iteration M_D lowers its own loss plus lambda |M_R(L) - M_R(S)| with M_R fixed
(equations 4 and 5), and M_R lowers |M_R(L) - B| + |M_R(S^) - S^| with L and S^ fixed (equations 1 to 3).

What differs from the paper:

- M_R looks at a corner of the crop, a quarter of its pixels: its 5 x 5 convolutions at full resolution cost twice as
  much per pixel as the whole default network, and three pictures go through it, two of them back as well. Crops are
  turned at random, so that any corner may be seen. S^ is restored there, for every second crop, which is enough for
  a module that has to leave it alone. So an iteration takes twice as long as one without M_R, not eight times.
- L and M_R(L) are computed once for both steps, which is exact: neither network has changed in between.
- Muon with a cosine schedule instead of Adam at 1e-4 in steps, as in the other stages; ``--recipe paper`` has the
  latter.
- M_D's loss is its network's own, which for the default one is L1 and as much again in frequency.
- The optional terms are LPIPS with VGG16 for the perceptual loss, whose layers the paper does not name, and a
  Wasserstein critic of patches. They look at the same corner.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deblurcli.errors import UsageError
from deblurcli.losses import l1, picture_of
from deblurcli.networks.spec import outputs
from deblurcli.optimiser import new_optimiser
from deblurcli.options.recipes import OURS
from deblurcli.options.train import JointTraining
from deblurcli.train.companion import CRITIC, Companion, adversarial_loss, new_critic
from deblurcli.train.recipe import Recipe, Setting, chosen_loss, chosen_spec, started
from deblurcli.train.stages.deblur import deblur_recipe
from deblurcli.train.validation import compared
from deblurcli.weights.load import load_network

REBLURRING = "reblurring-module"

REBLUR_RATE = OURS.rate
"""Peak rate of M_R in our recipe, whatever M_D's is: one may start from nothing while the other is fine-tuned."""


def corner(pictures: Tensor) -> Tensor:
    """The part of N x 3 x H x W crops that M_R looks at: N x 3 x H/2 x W/2."""
    height, width = pictures.shape[-2] // 2, pictures.shape[-1] // 2
    return pictures[..., :height, :width].contiguous(memory_format=torch.channels_last)


def reblur_loss(module: nn.Module, restored: Tensor, held: Tensor, reblurred: Tensor, sharp: Tensor) -> Tensor:
    """L_Reblur = |M_R(L) - M_R(S)| (equation 4) as a function of L alone: its graph does not lead through M_R.

    Args:
        module: M_R.
        restored: L with the graph that made it, N x 3 x h x w.
        held: L as a leaf.
        reblurred: M_R(``held``), whose graph stays for M_R's own loss.
        sharp: S.
    """
    # After M_R(L), since autocast would keep weights for it that were first used here, without gradients.
    with torch.no_grad():
        wanted = module(sharp)
    loss = l1(reblurred, wanted)
    (slope,) = torch.autograd.grad(loss, held, retain_graph=True)
    # Exact in value and gradient; M_R may change before this is differentiated.
    return loss.detach() + ((restored - held.detach()) * slope).sum()


def reblurring_loss(module: nn.Module, reblurred: Tensor, blurred: Tensor, sharp: Tensor | None) -> Tensor:
    """L_R = |M_R(L) - B| + |M_R(S^) - S^| (equations 1 to 3), M_R(L) given as ``reblurred``; N x 3 x h x w each.

    ``sharp``: the pseudo-sharp picture S^, or another one that is to be left alone; None: no second term.
    """
    loss = l1(reblurred, blurred)
    return loss if sharp is None else loss + l1(module(sharp), sharp)


def joint_recipe(options: JointTraining, setting: Setting) -> Recipe:
    """Train a single-frame deblurring network and a reblurring module with each other, to one file each.

    Without weight on the reblurring loss the deblurring network learns exactly as by itself (:func:`deblur_recipe`),
    and the module learns from what it leaves.

    Raises: as :func:`deblur_recipe`, and
        UsageError: the network takes several frames.
        WeightsError: no usable weights for the reblurring module, or none here for the perceptual loss.
    """
    spec = chosen_spec(options, "deblur")
    if spec.window > 1:
        raise UsageError(f"{options.network} takes {spec.window} frames", "give a network of one frame")
    criterion, peers = chosen_loss(options, spec), setting.peers
    module = started(setting, REBLURRING, options.reblur_start, options.seed, options.reblur_blocks)
    regime, rate = options.regime, REBLUR_RATE if options.recipe == "ours" else options.rate
    reblurrer = Companion(module.module, new_optimiser(module.module, regime, rate), module.config, regime.clip)
    origins, perceptual, critic = {"reblurring_start": module.origin, "deblurring": options.network}, None, None
    device = setting.worker.device
    if options.perceptual_weight:
        judge = load_network(options.perceptual, role="metric")
        perceptual, origins["perceptual"] = device.place(judge.module).requires_grad_(False), judge.origin
    if options.adversarial_weight:
        critic = new_critic(device)

    def loss(net: nn.Module, blurred: Tensor, sharp: Tensor) -> Tensor:
        pictures = outputs(net, blurred)
        total = criterion(pictures, sharp)
        blurred, sharp, restored = corner(blurred), corner(sharp), corner(picture_of(pictures))
        left_alone = sharp[::2] if options.left_alone == "real" else None
        if options.left_alone == "pseudo":
            with torch.no_grad():
                left_alone = net(sharp[::2])
        held = restored.detach().requires_grad_()
        reblurred = reblurrer.module(held)
        if options.reblur_weight:
            total = total + options.reblur_weight * reblur_loss(reblurrer.module, restored, held, reblurred, sharp)
        reblurrer.step(reblurring_loss(reblurrer.module, reblurred, blurred, left_alone), peers)
        if perceptual:
            with torch.autocast(device.where.type, enabled=False):  # in bfloat16 the distance is another
                total = total + options.perceptual_weight * perceptual(restored.float(), sharp).float().mean()
        if critic:
            total = total + options.adversarial_weight * adversarial_loss(critic, sharp, restored, peers)
        return total

    def scored(net: nn.Module, blurred: Tensor, sharp: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        restored = net(blurred)
        reblurred = reblurrer.module(restored)
        return compared(restored, blurred, sharp) | {"validation_reblur_psnr": (reblurred, blurred)}

    recipe = deblur_recipe(options, setting, loss, scored)
    recipe.origins.update(origins)
    recipe.companions[REBLURRING] = reblurrer
    if critic:
        recipe.companions[CRITIC] = critic
    return recipe
