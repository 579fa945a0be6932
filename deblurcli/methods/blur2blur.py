"""The method blur2blur: frames get blur that the network knows, by a translator of their camera's blur.

Blur2Blur (Pham et al., CVPR 2024). A translator, trained for the camera beforehand (``deblur train blur2blur``) or
learnt from the video itself, gives each frame the blur that the deblurring network was trained on; the network then
restores that. Nobody has to know a sharp version of a blurred frame.

What differs from the paper:

- Without a translator, a small one is learnt from the video alone: from its blurred pieces, and from its sharp ones
  with known blur put on. Both come from the same places, where the paper parts scenes. It starts from no change.
- A guard goes by pieces that represent all of the video's blur, as the translator and the network restore them, and
  settles half-way from no change to the best translator that it has seen, or on none (``guard = off``: on the last
  one). The paper has no guard.
- It first learns from pairs, known blur with the video's own noise and without, and then from the critic as well.
- The moving average of the translator's weights is the result.
- The network may adapt to the translated frames (``then``); the paper's stays as it is.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adaptation.content_features import ContentFeatures, content_features
from deblurcli.adaptation.flow import fit_flow
from deblurcli.adaptation.frame_noise import NOISE_PIECES, QUIET, SIDE, NoiseBlocks, noise_between
from deblurcli.adaptation.group import surveyed
from deblurcli.adaptation.guard import MIN_GAIN, Diverged, Guard, require_finite_weights
from deblurcli.adaptation.known_blur import KnownBlur, synthetic_blur
from deblurcli.adaptation.outcome import Outcome, Prepared
from deblurcli.adaptation.pairs import cut_at, restore_clips, restored_alone
from deblurcli.adaptation.strata import Restore, Strata, pseudo_pieces, real_pieces, settle
from deblurcli.adaptation.support import WINDOW, SupportPatch
from deblurcli.adaptation.survey import Survey
from deblurcli.adaptation.translated_frames import (
    WORDS,
    PreparedBehind,
    TranslatedFootage,
    Translator,
    translation_by,
)
from deblurcli.adaptation.translation import RECIPES, TRANSLATOR, Translation, new_critic, new_generator, translated
from deblurcli.adaptation.update import OUT_OF_MEMORY, adaptation_device, undone_without_memory, update_average
from deblurcli.adaptation.work import FIT_WORK, Clip, Work, expected_patches, look_work, strata_work, survey_work
from deblurcli.console import Reporter
from deblurcli.errors import is_out_of_memory
from deblurcli.media.footage import Footage
from deblurcli.methods import meta, none, tta
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.networks import NETWORKS
from deblurcli.networks.spec import NetworkSpec
from deblurcli.options.blur2blur import Blur2BlurOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.options.none import NoneOptions
from deblurcli.options.tta import TtaOptions
from deblurcli.restore.tiles import release_memory
from deblurcli.restore.worker import Placed, Worker

USUAL = 4
"""Moments of the video to keep at each place."""
SHARP, BLURRED = 0.25, 0.5
"""Where a piece lies between the sharpest and the blurriest one of its place, as shares of their scores' difference,
below which it counts as sharp, and above which as blurred."""
MIN_CONTRAST = 2.0
"""Least difference of these scores, in units of the self-shift score: half a decibel for each of its four shifts."""
MIN_PIECES = 2
"""Least pieces of each kind to learn from."""
LOOKS = 4
"""Times that the guard looks at the translator, evenly spread over its learning."""
AVERAGED = 0.99
"""Decay of the moving average of the translator's weights."""
TRANSLATION_WORK, TRANSLATED_WORK = 1.0, 0.15
"""An update of a translator, for a pixel of its pieces, and a pixel translated, in pixels restored by the bundled
network of single frames."""


def prepare(network: Placed, footages: Sequence[Footage], options: Blur2BlurOptions, worker: Worker) -> Prepared:
    """Place the translator, or learn one from the footage; then let another method adapt to what it makes of it.

    Raises:
        InputError: no footage can be read.
        WeightsError, OfflineError: the translator, or weights of the method that follows, are missing or refused.
    """
    translator: Translator | None
    if options.translator is not None:
        placed = worker.place(options.translator, "video", "translate")
        translator = Translator.placed(placed, worker.tile)
        outcome = translation_by(placed, "every frame")
        outcome.facts["options"] = asdict(options)
    else:
        translator, outcome = learnt(network, footages, options, worker)
    if translator is not None:
        footages = [TranslatedFootage(footage, translator) for footage in footages]
    prepared = followed(network, footages, options, worker)
    outcome.then = prepared.outcome
    return PreparedBehind(translator, prepared, outcome)


def stages(spec: NetworkSpec, options: Blur2BlurOptions, clip: Clip) -> dict[str, Work]:
    """What comes before restoring, and translating each frame; see :func:`deblurcli.methods.stages`."""
    found: dict[str, Work] = {}
    if options.translator is None:
        count, size = expected_patches(clip, options.patches, options.patch_size)
        found["surveying"] = survey_work(clip)
        if options.guard != "off":
            found["measuring the motion"] = Work((1 + FIT_WORK) * count * size**2) + strata_work(options.guard)
        learnt = (options.steps or 0) * 2 * options.batch * options.crop**2 * TRANSLATION_WORK
        clock = options.seconds if options.steps is None else 0.0
        found["learning to translate"] = Work(single=learnt, seconds=clock) + look_work(options.guard, LOOKS)
    if options.then != "none":
        chosen, following = {"meta": (MetaOptions(), meta), "tta": (TtaOptions(), tta)}[options.then]
        found["adapting"] = sum(following.stages(spec, chosen, clip).values(), Work())
    return found | {"restoring": Work(single=TRANSLATED_WORK * clip.frames * clip.pixels)}


def followed(network: Placed, footages: Sequence[Footage], options: Blur2BlurOptions, worker: Worker) -> Prepared:
    """The method that restores the translated frames, and may adapt to them: anew after an interrupt, since another
    run learns another translator."""
    worker.unfinished = None
    if options.then == "meta":
        return meta.prepare(network, footages, MetaOptions(seed=options.seed), worker)
    if options.then == "tta":
        return tta.prepare(network, footages, TtaOptions(), worker)
    return none.prepare(network, footages, NoneOptions(), worker)


def learnt(
    network: Placed, footages: Sequence[Footage], options: Blur2BlurOptions, worker: Worker
) -> tuple[Translator | None, Outcome]:
    """Survey the footage, which is looked through once, and learn a translator from it; several share one.

    Returns:
        The translator, None where it was undone, and what was done.
    """
    started = time.monotonic()
    found = surveyed(footages, options, worker.console, usual=USUAL)
    looked = time.monotonic()
    features = content_features(network.name, network.module.get_submodule(network.spec.alone))
    if features is None:
        other = worker.place("default", "image", "deblur")
        features = content_features(other.name, other.module)
    generator, outcome = learn(network, found, options, worker.console, features)
    outcome.seconds = time.monotonic() - looked
    outcome.facts["survey_seconds"] = round(looked - started, 2)
    if generator is None:
        return None, outcome
    spec = NETWORKS[TRANSLATOR]
    device = worker.device.limited_to(spec.dtypes)
    return Translator(device.place(generator), spec, device, worker.tile), outcome


def learn(
    network: Placed,
    found: Survey,
    options: Blur2BlurOptions,
    console: Reporter,
    features: ContentFeatures | None = None,
    known: KnownBlur = synthetic_blur,
) -> tuple[nn.Module | None, Outcome]:
    """Learn a translator from the pieces of a video (Blur2Blur, section 3.3, with the sharp ones as the set S).

    Args:
        network: restores translated pieces for the guard; it stays as it is.
        found: the patches to learn from, ``options.patches`` in all, and those that only judge the outcome.
        features: of the reconstruction loss.
        known: the blur that is put on sharp pieces.

    Returns:
        The translator, in eval mode, None where it was undone; and what was done.
    """
    losses: dict[str, list[float]] = {
        f"{name}_losses": [] for name in ("pairs", "critic", "adversarial", "reconstruction")
    }
    outcome = Outcome("blur2blur", reason="the guard found it better", losses=losses, words=WORDS)
    outcome.facts = {
        "gain": 0.0,
        "best_step": 0,
        "looks": [],
        "strata": {},
        "flow": {},
        "sharp_pieces": 0,
        "blurred_pieces": 0,
        "config": {},
        "features": "" if features is None else features.name,
        "precision": adaptation_device(network.device).precision,
        **found.facts(),
        "options": asdict(options),
    }
    generator = None
    with torch.random.fork_rng():
        try:
            with undone_without_memory():
                generator = _Learning(network, found, options, console, outcome, features, known).run()
        except Diverged as error:
            outcome.kept, outcome.reason = False, str(error)
    outcome.work = f"{max(map(len, losses.values()))} steps on {found}"
    if options.guard != "off":
        outcome.gain = f"about {outcome.facts['gain']:+.2f} dB, by what the guard sees"
    return generator, outcome


def parted(patches: list[SupportPatch]) -> tuple[list[Tensor], list[Tensor]]:
    """The sharp and the blurred pieces (3 x S x S each) of some places, the blurred ones from the least blurred on.

    A piece is sharp or blurred beside others of its place: what a place shows decides its scores. One that looks alike
    at all times gives none.
    """
    sharp: list[Tensor] = []
    blurred: list[tuple[float, Tensor]] = []
    for patch in patches:
        if patch.contrast < MIN_CONTRAST or patch.blurriest is None:
            continue
        moments = [patch.clip(torch.device("cpu"))[0], patch.blurriest[None], *patch.usual]
        moments += [] if patch.turn is None else [patch.turn]
        pieces = torch.cat(moments)
        places = ((self_shift_score(pieces) - patch.score) / patch.contrast).tolist()
        sharp += [piece for piece, place in zip(pieces, places, strict=True) if place <= SHARP]
        blurred += [(place, piece) for piece, place in zip(pieces, places, strict=True) if place >= BLURRED]
    return sharp, [piece for _, piece in sorted(blurred, key=lambda each: each[0])]


def _part(pieces: list[Tensor], side: int, rng: np.random.Generator) -> Tensor:
    """A random part of a random piece: 3 x ``side`` x ``side``."""
    piece = pieces[int(rng.integers(len(pieces)))]
    y, x = rng.integers(piece.shape[-1] - side + 1, size=2).tolist()
    return cut_at(piece, y, x, side)


class _Learning:
    """A translator that learns from one video: its pieces, its budget, and what the guard goes by."""

    def __init__(
        self,
        network: Placed,
        found: Survey,
        options: Blur2BlurOptions,
        console: Reporter,
        outcome: Outcome,
        features: ContentFeatures | None,
        known: KnownBlur,
    ) -> None:
        self.network, self.options, self.console, self.outcome = network, options, console, outcome
        self.features, self.known = features, known
        self.device = adaptation_device(network.device)
        self.support, self.held_out = found.parted(options.patches)
        self.sharp, self.blurred = parted(self.support)
        self.side, self.count = options.crop, options.batch
        self.rng = np.random.default_rng(options.seed)
        if found.size < self.side:
            raise Diverged(f"the video is smaller than the {self.side} pixels that a translator learns from")
        self.outcome.facts |= {"sharp_pieces": len(self.sharp), "blurred_pieces": len(self.blurred)}
        if min(len(self.sharp), len(self.blurred)) < MIN_PIECES:
            raise Diverged("hardly any moment is blurrier than the sharpest one of its place")

    def run(self) -> nn.Module:
        """The translator, or half of the best one that the guard saw. Raises Diverged: to be undone."""
        options, recipe = self.options, RECIPES["ours"]
        noise = self.noise()
        generator, self.outcome.facts["config"] = new_generator(recipe, options.seed)
        averaged, unadapted = copy.deepcopy(generator).eval(), copy.deepcopy(generator.state_dict())
        generator, averaged = (self.device.place(module) for module in (generator, averaged))
        critic = self.device.place(new_critic(recipe, options.seed))
        strata = guard = None
        if options.guard != "off":
            strata = self.strata()
            unadapted = {name: value.to(self.device.where) for name, value in unadapted.items()}
            guard = Guard(averaged, torch.no_grad()(strata.gain), unadapted, MIN_GAIN["strata"])
        translation = Translation(
            generator, critic, recipe, self.features, self.device, noise=noise, rate=options.rate, seed=options.seed
        )
        steps = self.learn(translation, averaged, guard)
        self.console.progress("checking the result", 0, None)
        require_finite_weights(averaged, "translating")
        settle(self.outcome, averaged, steps, guard, strata)
        return averaged.requires_grad_(False)

    def learn(self, translation: Translation, averaged: nn.Module, guard: Guard | None) -> int:
        """The updates, until the budget is spent; returns their number."""
        options, started, looks = self.options, time.monotonic(), 0
        while True:
            step = translation.steps
            spent = (time.monotonic() - started) / options.seconds if options.steps is None else step / options.steps
            if guard is not None and step and min(spent, 1) * LOOKS >= looks + 1:
                looks = int(min(spent, 1) * LOOKS)
                guard.look(step)
            if spent >= 1:
                return step
            self.update(translation, spent)
            update_average(averaged, translation.generator, step, AVERAGED)
            self.console.progress("learning to translate", int(spent * 100), 100, step=step + 1)

    def update(self, translation: Translation, progress: float) -> None:
        """One update; of fewer pieces from here on where memory runs out. Raises Diverged."""
        while True:
            try:
                found = translation.step(*self.batch(translation.recipe.share_at(progress)), progress)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            release_memory()
            if self.count == 1:
                raise Diverged(OUT_OF_MEMORY)
            self.outcome.facts["reduced_batch"] = self.count = self.count // 2
        for name, value in found.items():
            if not math.isfinite(value):
                raise Diverged(f"the {name} loss became {value}")
            self.outcome.losses[f"{name}_losses"].append(value)

    def batch(self, share: float) -> tuple[Tensor, Tensor]:
        """Blurred pieces, of the least blurred ``share``, and sharp ones with known blur: N x 3 x S x S each."""
        eligible = max(MIN_PIECES, math.ceil(share * len(self.blurred)))
        blurry, sharp = self.drawn(self.blurred[:eligible]), self.drawn(self.sharp)
        return blurry, self.known(sharp, self.rng).clamp(0, 1)

    def drawn(self, pieces: list[Tensor]) -> Tensor:
        """Random parts of random pieces, turned and mirrored at random: ``count`` x 3 x ``side`` x ``side``."""
        found = []
        for _ in range(self.count):
            part = _part(pieces, self.side, self.rng).rot90(int(self.rng.integers(4)), (-2, -1))
            found.append(part.flip(-1) if self.rng.integers(2) else part)
        return torch.stack(found).to(self.device.where)

    def noise(self) -> NoiseBlocks:
        """The video's noise. Raises Diverged: there is next to none."""
        rng, still = np.random.default_rng([self.options.seed, 7]), []
        for patch in self.support:
            for one, other in pairwise(patch.clip(torch.device("cpu"))[0]):
                if (noise := noise_between(one, other, rng)) is not None:
                    still.append(noise)
        pieces = torch.stack([_part(self.blurred, SIDE, rng) for _ in range(NOISE_PIECES)])
        if (level := NoiseBlocks.measured(still, pieces).level) >= QUIET:
            raise Diverged(f"its noise lies {level:.0f} dB below full scale, too little to learn from")
        return NoiseBlocks.to_learn_from(still, pieces)

    def strata(self) -> Strata:
        """What the guard goes by: pieces that the translator and then the network restore, or the network alone."""
        network, where = self.network, self.device.where

        def alone(window: Tensor) -> Tensor:
            return restored_alone(network.module, network.spec, window.to(where), self.device)

        blur = fit_flow(self.support + self.held_out, alone, self.console)
        self.outcome.facts["flow"] = blur.facts()
        judging = self.held_out or self.support
        targets = [alone(patch.clip(where)) for patch in judging]

        def restore_pairs(generator: nn.Module) -> Restore:
            return lambda clips: alone(self.translated(generator, clips))

        def restore_real(generator: nn.Module) -> Restore:
            return lambda clips: restore_clips(
                network.module, network.spec, self.translated(generator, clips), self.device
            )

        pairs = pseudo_pieces(blur, judging, targets, self.options.seed)
        with torch.no_grad():
            return Strata(pairs, real_pieces(blur), blur, restore_pairs, restore_real, nn.Identity())

    def translated(self, generator: nn.Module, clips: Tensor) -> Tensor:
        """Those frames of clips (N x 5 x 3 x S x S) translated that the network sees; the others as they are."""
        reach, middle, clips = self.network.spec.window // 2, WINDOW // 2, clips.clone()
        seen = clips[:, middle - reach : middle + reach + 1]
        clips[:, middle - reach : middle + reach + 1] = translated(
            generator, seen.flatten(0, 1), self.device
        ).unflatten(0, seen.shape[:2])
        return clips
