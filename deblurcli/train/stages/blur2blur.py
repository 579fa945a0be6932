"""The stage of Blur2Blur: a translator from the blur of a camera to blur that a deblurring network knows, unpaired.

See :mod:`deblurcli.adaptation.translation` for the method, its source and what differs from the paper. Known blur is
synthesised on the camera's own sharp frames, or other pictures stand for it as they are. Crops are turned and mirrored;
their colours are left as they are.

Nobody has seen the blurred frames sharp. What goes with the gain on footage whose truth is known (``python -m
benchmarks translator_stop``) is how near held-out pictures with known blur and the camera's noise are restored to the
same without that noise: the score of the stage. The last weights are the best ones by it, so that the budget is the
stop. The log also has whether known blur without noise passes, how much the frames are changed, and how sharp the
restored ones are (self-shift score, lower is sharper), which goes the wrong way: noise counts as sharp.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adaptation.content_features import ContentFeatures, content_features
from deblurcli.adaptation.frame_noise import NOISE_PIECES, QUIET, SIDE, NoiseBlocks
from deblurcli.adaptation.known_blur import KnownBlur, synthetic_blur
from deblurcli.adaptation.translation import (
    CRITIC,
    RECIPES,
    Translation,
    change_nothing,
    new_critic,
    new_generator,
    translated,
)
from deblurcli.errors import UsageError
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.networks import NETWORKS
from deblurcli.networks.mimo_unet import MIMOUNet
from deblurcli.options.train import Blur2BlurTraining
from deblurcli.restore.worker import Placed, Worker
from deblurcli.train.companion import Companion
from deblurcli.train.recipe import Recipe, Setting, Trainee, chosen_spec, started, training_device
from deblurcli.train.ring import CropRing
from deblurcli.train.unpaired import CameraFrame, UnpairedRing, held_out, known_source, pieces
from deblurcli.train.validation import VALIDATION_SEED, Measure, Scores, mean_psnr
from deblurcli.weights import registry, store
from deblurcli.weights.load import is_name, opened

SAMPLES = "samples.png"
"""A row for each of some held-out crops: as it is, translated, restored from that, and restored without translation."""
MAX_SAMPLES = 4
JUDGED = 16
"""Pictures with known blur to validate by."""
SYNTH, AUTO = "synth", "auto"
VGG16 = "lpips-vgg"
"""What ``auto`` compares by where it has been fetched: half a gigabyte, which nobody asked for otherwise."""


def mean_self_shift(pictures: Tensor) -> float:
    """Mean over pictures (N x 3 x H x W in [0, 1]) and directions of the self-shift score in dB."""
    return float(self_shift_score(pictures.float()).mean() / 4)


LEAST_GAIN = 0.05
"""In dB, on held-out pairs: a translator that gains less is not worth its risk."""
CLEANER = 6.0
"""By how many dB known blur without noise must pass better than the noise would leave it: what a translator takes from
clean pictures is then less than half of the noise. Where shading was taken for noise, as of a camera that has none, its
pairs do not tell (``python -m benchmarks domains``, ``clean``)."""


def precise_psnr(output: Tensor, target: Tensor) -> float:
    """Where every picture counts up to 60 dB: a camera with little noise has more than 40."""
    return mean_psnr(output, target, 60.0)


PAIRS = Measure(
    precise_psnr,
    "validation_restored_pair_psnr",
    "validation_input_restored_pair_psnr",
    "held-out pairs with the camera's noise, restored,",
    "dB",
    "untranslated",
)
"""What goes with the gain on footage whose truth is known; how sharp restored frames are does not."""
SELF_SHIFT, INPUT_SELF_SHIFT = "validation_self_shift", "validation_input_self_shift"
KNOWN, INPUT_PAIR = "validation_known_psnr", "validation_input_pair_psnr"


def blur2blur_recipe(options: Blur2BlurTraining, setting: Setting) -> Recipe:
    """Train a translator and its critic, to one file each.

    Raises:
        InputError: no usable frames.
        UsageError: the network, ``--from`` or ``--perceptual`` do not fit the stage.
        WeightsError, OfflineError: weights to start from, to compare by or to restore with are missing.
    """
    spec, worker, recipe = chosen_spec(options, "translate"), setting.worker, RECIPES[options.recipe]
    device, size, seed = training_device(spec, worker.device), max(options.crops), setting.peers.seed(options.seed)
    from deblurcli.train.camera_frames import camera_frames

    blurry, sharp = camera_frames(options.blurry, options.data, size, worker.console)
    learnt, kept = held_out(blurry)
    if options.start:
        start = started(setting, options.network, options.start, options.seed)
    else:
        generator, config = new_generator(recipe, options.seed, options.width, options.blocks)
        start = Trainee(spec, device.place(generator), config, "random weights", device)
    judge = device.place(new_critic(recipe, options.seed))
    features = chosen_features(options.perceptual, worker)
    restorer = worker.place(options.deblurring or "default", "image", "deblur")
    if restorer.spec.window > 1:
        raise UsageError(f"{restorer.name} takes {restorer.spec.window} frames", "give a network of one frame")
    still = [frame.noise for frame in (*blurry, *sharp) if frame.noise is not None and len(frame.noise)]
    noise, futile = None, ""
    if recipe.noise_weight:
        drawn = noise_pieces(learnt)
        noise = NoiseBlocks.to_learn_from(still[::2], drawn)
        measured = (NoiseBlocks.measured(still[::2], each) for each in (drawn, noise_pieces(sharp)))
        futile = too_quiet(max(each.level for each in measured))
    translation = Translation(start.module, judge, recipe, features, device, noise=noise, rate=options.rate, seed=seed)
    critic = Companion(judge, translation.critic_optimiser, {"channels": recipe.critic_channels})

    frames, blur = chosen_known(options, sharp, size, worker)
    frames, judged = held_out(frames)
    known = judging_pairs(judged, NoiseBlocks.measured(still[1::2], noise_pieces(kept)), blur, size)
    source, every = known_source(frames, size, blur, device.where), 4 if device.where.type == "cpu" else 1
    ring = UnpairedRing(
        learnt, CropRing(source, capacity=options.ring, every=every, seed=seed, group=4, first=24), seed
    )

    def loss(net: nn.Module, blurry: Tensor, known: Tensor) -> Tensor:
        if translation.alone:
            return translation.pair_loss(known, ring.iteration)
        pictures = translation.pictures(blurry)
        critic.step(translation.critic_loss(blurry, known, pictures, ring.iteration), setting.peers)
        losses = list(translation.generator_losses(blurry, pictures).values())
        losses += [translation.pair_loss(known, ring.iteration)] if translation.paired else []
        return torch.stack(losses).sum()

    def pace(progress: float) -> float:
        ring.share = recipe.share_at(progress)
        return translation.pace(progress)

    return Recipe(
        start,
        optimiser=translation.optimiser,
        ring=ring,
        loss=loss,
        validate=validator(kept, known, size, restorer, start, options.out),
        material=f"{len(blurry)} blurred and {len(sharp)} sharp frames, unpaired",
        origins={
            "recipe": options.recipe,
            "known_blur": options.known,
            "features": features.name,
            "deblurring": restorer.loaded.origin,
        },
        companions={CRITIC: critic},
        measure=PAIRS,
        written=worth if noise is not None and not futile else Recipe.written,
        futile=futile,
        pace=pace,
        files=(SAMPLES,),
    )


def chosen_known(
    options: Blur2BlurTraining, sharp: Sequence[CameraFrame], size: int, worker: Worker
) -> tuple[Sequence[CameraFrame], KnownBlur]:
    """The frames that show known blur, and how it is put on them, by ``--known`` and ``--pairs``.

    Raises:
        InputError: there are no usable frames, or no pairs.
        WeightsError, OfflineError: no such kernel extractor.
    """
    if options.known == SYNTH:
        return sharp, synthetic_blur
    if options.pairs is not None:
        from deblurcli.train.kernel_blur import kernel_blur, known_pairs, pair_side

        extractor = worker.place(options.known, "image", "kernel")
        source = known_pairs(options.pairs, pair_side(extractor.spec, size), extractor.device.where)
        return sharp, kernel_blur(extractor, source)
    from deblurcli.train.camera_frames import read_frames

    return read_frames([Path(options.known)], size, "known", worker.console), lambda pictures, rng: pictures


def chosen_features(perceptual: str, worker: Worker) -> ContentFeatures:
    """The features of the reconstruction loss, by ``--perceptual``.

    Raises:
        UsageError: its layers are not known here.
        WeightsError, OfflineError: no such weights.
    """
    if perceptual == AUTO:
        here = store.listing()
        fetched = any(row.entry.name == VGG16 and row.state == "cached" for row in here)
        placed = worker.place(VGG16, "image", "metric") if fetched else worker.place("default", "image", "deblur")
    else:
        named = is_name(perceptual)
        network = registry.find(perceptual).network if named else opened([Path(perceptual)]).network
        placed = worker.place(perceptual, "image", NETWORKS[network].role)
    features = content_features(placed.name, placed.module)
    if features is None:
        raise UsageError(f"--perceptual {perceptual} has no features to compare by", "give lpips-vgg or plain-unet")
    return features


def noise_pieces(frames: Sequence[CameraFrame]) -> Tensor:
    """Pieces of frames, of which the smoothest show the camera's noise."""
    return pieces(frames, NOISE_PIECES, SIDE, np.random.default_rng(VALIDATION_SEED))


def too_quiet(level: float) -> str:
    """Why there is nothing to learn, where the camera's noise lies ``level`` dB below full scale; else nothing."""
    if level < QUIET:
        return ""
    return f"the camera's noise lies {level:.0f} dB below full scale, too little to learn from: do without a translator"


def judging_pairs(
    known: Sequence[CameraFrame], noise: NoiseBlocks, blur: KnownBlur, size: int
) -> tuple[Tensor, Tensor]:
    """Held-out pictures with known blur, with noise that is not learnt from, and without: 16 x 3 x S x S each."""
    rng = np.random.default_rng(VALIDATION_SEED)
    added = noise.draw(JUDGED, size, rng)
    clean = blur(pieces(known, JUDGED, size, rng), rng).clamp(0, 1).cpu()
    return (clean + added).clamp(0, 1), clean


def validator(
    frames: Sequence[CameraFrame],
    pairs: tuple[Tensor, Tensor],
    size: int,
    restorer: Placed,
    start: Trainee,
    out: Path,
) -> Callable[[nn.Module], Scores]:
    """A function that scores a translator on held-out frames and :func:`judging_pairs`, and writes the samples."""
    inputs = pieces(frames, max(len(frames), 2), size, np.random.default_rng(VALIDATION_SEED))

    @torch.no_grad()
    def restored(pictures: Tensor) -> Tensor:
        with restorer.device.autocast():
            batch = pictures.to(restorer.device.where).contiguous(memory_format=torch.channels_last)
            return torch.cat([restorer.module(part).float().clamp(0, 1).cpu() for part in batch.split(2)])

    untranslated, (noisy, clean) = restored(inputs), pairs
    wanted = restored(clean)
    nothing = {
        PAIRS.nothing: precise_psnr(restored(noisy), wanted),
        INPUT_PAIR: precise_psnr(noisy, clean),
        INPUT_SELF_SHIFT: mean_self_shift(untranslated),
    }

    def validate(module: nn.Module) -> Scores:
        def through(pictures: Tensor) -> Tensor:
            return torch.cat([translated(module, part, start.device).cpu() for part in pictures.split(2)])

        known, freed = through(inputs), through(noisy)
        results = restored(known)
        write_samples(out / SAMPLES, inputs, known, results, untranslated)
        return {
            PAIRS.name: precise_psnr(restored(freed), wanted),
            "validation_pair_psnr": precise_psnr(freed, clean),
            KNOWN: precise_psnr(through(clean), clean),
            "validation_change_psnr": precise_psnr(known, inputs),
            SELF_SHIFT: mean_self_shift(results),
            **nothing,
        }

    return validate


def worth(module: nn.Module, scores: Scores) -> tuple[nn.Module, str]:
    """A translator as it is written, and a warning where that changes nothing: it does not pay on held-out pairs."""
    gain = scores[PAIRS.name] - scores[PAIRS.nothing]
    cleaner = scores[KNOWN] - scores[INPUT_PAIR]
    if gain >= LEAST_GAIN and cleaner >= CLEANER:
        return module, ""
    harmless = copy.deepcopy(module)
    change_nothing(cast(MIMOUNet, harmless))
    found = f"the translator gains {gain:+.2f} dB on held-out pairs, {LEAST_GAIN} dB are asked for"
    if gain >= LEAST_GAIN:
        found = "the translator takes from clean pictures about what the camera's noise does"
    return harmless, f"{found}: what is written changes nothing; train longer, or do without one"


def write_samples(path: Path, *columns: Tensor) -> None:
    """Write pictures (N x 3 x H x W in [0, 1] each) as a grid, one column for each kind. Raises OutputError."""
    from deblurcli.media.images import Image, write_image

    shown = [torch.cat(list(column[:MAX_SAMPLES]), 1) for column in columns]
    grid = (torch.cat(shown, 2) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    write_image(path, Image(grid), overwrite=True)
