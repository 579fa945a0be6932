"""The stage that learns from sharp pictures and blurred videos: restored frames must explain what the camera saw.

Reblur2Deblur (Chen et al., ICCP 2018), equation 1: L = L_S + alpha L_U. L_S is the network's own loss on blur made from
sharp pictures. L_U restores frames in a row of blurred footage that nobody has seen sharp, blurs the middle one along
the optical flow between them, and compares it with the input.

What differs from the paper:

- L_S is the network's own, where the paper has the mean squared error for both. It is usually much steeper; alpha is
  divided by how much less steep the mean squared error is, so that it means what it does in the paper.
- Crops that are blurred by a camera model of its own take the place of the original training set's pairs.
- Videos may be many, and clips are drawn from them all the time, where the paper fine-tunes on those it restores.
- ``tau`` is 0.5 unless given, light adds up before the camera's response, and pixels that another frame hides or that
  come from outside do not count, see :mod:`deblurcli.adaptation.reblurring_flow`.
- The flow network stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adaptation.balance import Balanced, Criterion
from deblurcli.adaptation.flow_estimate import flow_of
from deblurcli.adaptation.reblur_loss import FRAMES, ReblurLoss, restored_in_a_row
from deblurcli.adaptation.reblurring_flow import FlowReblurring
from deblurcli.networks.spec import outputs
from deblurcli.options.train import HybridTraining
from deblurcli.synth.light import Response
from deblurcli.train.recipe import Recipe, Setting, Trainee, chosen_loss, chosen_spec
from deblurcli.train.ring import CropRing, Ring
from deblurcli.train.stages.deblur import blurred_pairs, deblur_recipe
from deblurcli.train.validation import VALIDATION_SEED, Scores

CLIPS_PER_CROP = 8
"""Prepared crops for one prepared clip."""
GROUP, EVERY, FIRST = 8, 50, 8
"""Clips that are cut out of a video at a time, iterations between two of these groups, and groups at the start."""
EXAMPLES = 8
"""Pairs by which the steepness of L_S is found."""
HELD_OUT_GROUPS, HELD_OUT_GROUP = 4, 4
"""Groups of clips to validate by, each of one video, and the clips of one."""


class HybridRing:
    """Crops whose blur was made, and clips of videos that go with them: a ring of each.

    Args:
        pairs, clips: the rings.
        share: clips for each crop of a batch.
    """

    def __init__(self, pairs: Ring, clips: Ring, share: float) -> None:
        self.pairs, self.clips, self.share = pairs, clips, share
        self._seen: tuple[Tensor, Tensor] | None = None

    @property
    def seen(self) -> tuple[Tensor, Tensor]:
        """The clips of the last batch, N x T x 3 x size x size in [0, 1], and the frame in the middle of each."""
        assert self._seen is not None
        return self._seen

    def advance(self, iteration: int, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Bring both rings to their state at ``iteration``."""
        self.clips.advance(iteration, progress)
        self.pairs.advance(iteration, progress)

    def batch(self, iteration: int, count: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """``count`` crops, as the ring of pairs has them; the clips that go with them are then :attr:`seen`."""
        self._seen = self.clips.batch(iteration, max(1, round(self.share * count)), size, device)
        return self.pairs.batch(iteration, count, size, device)


def hybrid_recipe(options: HybridTraining, setting: Setting) -> Recipe:
    """Train a deblurring network, or the single-frame part of a video network along with the whole.

    The log also has how well restored frames of held-out clips explain the input, as PSNR, and how well the input
    itself would do.

    Raises: as :func:`deblur_recipe`, and
        InputError: a video cannot be read, or none can be learnt from.
        UsageError, WeightsError, OfflineError: there is no such flow.
    """
    spec, largest = chosen_spec(options, "deblur"), max(options.crops)
    flow = flow_of(options.flow, setting.worker)
    frames = FRAMES + (1 if spec.alone else spec.window) - 1
    from deblurcli.train.blurred_clips import blurred_clips, read_films, split

    films = read_films(options.videos, frames, largest, setting.worker.console)
    learnt, held = split(films)
    where = setting.worker.device.where
    response = Response(torch.tensor([options.reblur_gamma]), torch.zeros(1)).to(where)
    reblurring = FlowReblurring(tau=options.tau, response=response if options.reblur_gamma != 1 else None)
    reblur_loss, criterion = ReblurLoss(reblurring, flow), chosen_loss(options, spec)

    def unexplained(restored: Tensor, observed: Tensor) -> Tensor:
        with torch.autocast(where.type, enabled=False):
            return reblur_loss(restored, observed)

    def loss(net: nn.Module, blurred: Tensor, sharp: Tensor) -> Tensor:
        total = criterion(outputs(net, blurred), sharp)
        if not options.reblur_weight:
            return total
        clips, observed = ring.seen
        restored = restored_in_a_row(net, spec, clips, device, only_middle=True)
        return total + options.reblur_weight / scale * unexplained(restored, observed)

    recipe = deblur_recipe(options, setting, loss)
    device, validate = recipe.trainee.device, recipe.validate
    assert not isinstance(recipe.material, str)
    pairs = blurred_pairs(recipe.material, spec, largest, where)(EXAMPLES, np.random.default_rng(VALIDATION_SEED))
    scale = relative_steepness(criterion, recipe.trainee, pairs)
    seed, capacity = setting.peers.seed(options.seed), max(GROUP, options.ring // CLIPS_PER_CROP)
    clip_ring = CropRing(
        blurred_clips(learnt, largest), capacity=capacity, every=EVERY, seed=seed, group=GROUP, first=FIRST
    )
    ring = HybridRing(recipe.ring, clip_ring, options.clips / options.batch)
    rng, draw = np.random.default_rng(VALIDATION_SEED), blurred_clips(held, largest)
    groups = [tuple(t.to(where) for t in draw(HELD_OUT_GROUP, rng)) for _ in range(HELD_OUT_GROUPS)]

    def explained(restore: Callable[[Tensor], Tensor]) -> float:
        """PSNR in dB of the frames in the middle of held-out clips, made from what ``restore`` makes of the clips."""
        with torch.no_grad():
            errors = [float(unexplained(restore(clips), observed)) for clips, observed in groups]
        return -10 * math.log10(max(sum(errors) / len(errors), 1e-10))

    inner = slice((frames - FRAMES) // 2, (frames + FRAMES) // 2)
    unrestored = explained(lambda clips: clips[:, inner])

    def scores(net: nn.Module) -> Scores:
        restored = explained(lambda clips: restored_in_a_row(net, spec, clips, device))
        return validate(net) | {"validation_reblur_psnr": restored, "validation_input_reblur_psnr": unrestored}

    recipe.ring, recipe.validate = ring, scores
    recipe.origins |= {"flow": flow.name, "videos": ", ".join(film.path.name for film in films)}
    recipe.origins["reblur_factor"] = f"{options.reblur_weight / scale:.4g}"
    return recipe


@torch.no_grad()
def relative_steepness(criterion: Criterion, start: Trainee, pairs: tuple[Tensor, Tensor]) -> float:
    """How steep the mean squared error is at a network's results, as a multiple of the steepness of its own loss."""
    balanced, module = Balanced(criterion), start.module.eval()
    for blurred, sharp in zip(*(t.split(1) for t in pairs), strict=True):
        with start.device.autocast():
            found = outputs(module, blurred)
        balanced.look(found, sharp)
    return balanced.scale
