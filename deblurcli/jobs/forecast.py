"""How long a video will take, told before the work begins: amounts of work times the measured speed of the network.

All work is counted in pixels: those that the network restores, and those that an update learns from. Both are measured
on the machine (:mod:`deblurcli.restore.speed`). The constants below say how many such pixels the other parts of a
method are worth; ``python -m benchmarks forecast`` measures them, and how far the sums are off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deblurcli.adaptation.budget import affordable_within
from deblurcli.adaptation.samples import split
from deblurcli.adaptation.survey import HELD_OUT
from deblurcli.adaptation.update import GUARD_LOOKS, STEPS_BETWEEN
from deblurcli.methods.blur2blur import LOOKS
from deblurcli.methods.meta import side_of
from deblurcli.networks import NETWORKS
from deblurcli.networks.spec import NetworkSpec
from deblurcli.options.blur2blur import Blur2BlurOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.options.reblur2deblur import Reblur2DeblurOptions
from deblurcli.options.tta import TtaOptions

FRAME_WORK = 0.12
"""Decoding and encoding a pixel, in pixels restored by the bundled network of single frames."""
SURVEY_WORK = 2500
"""Surveying a frame: scoring its places, whatever its size. In pixels restored by that network."""
FIT_WORK = 1.85
"""Restoring the patches and fitting the video's blur to them, for a pixel of a patch. In pixels restored."""
STRATA_WORK, LOOK_WORK = 800_000, 250_000
"""Making the pieces that the guard goes by, and a look at them. In pixels restored."""
UPDATE_WORK = 1.07
"""An update of the meta method with the blur of its pair, for a pixel that it learns from. In pixels updated."""
TTA_WORK, TTA_REBLURRED_WORK = 0.8, 1.0
"""A step of test-time adaptation, for a pixel with its surroundings, and the reblurring of one that counts, in pixels
updated."""
LUCKY_TIME = 2.5e-7
"""Taking detail from sharper frames, in seconds a pixel: OpenCV's, which no precision of the networks changes."""
REBLURRING = NETWORKS["reblurring-module"]
REBLUR_WORK, RESIDUAL_WORK = 1.0, 1_000_000
"""A step of reblur2deblur, for each of the pixels that it restores and reblurs, in pixels updated; and the residual
before and after, in pixels restored."""
TRANSLATION_WORK, TRANSLATED_WORK = 2.4, 0.15
"""An update of a translator, for a pixel of its pieces, and a pixel translated, in pixels restored by the bundled
network of single frames."""


@dataclass(frozen=True)
class Speeds:
    """What is measured on the machine, in seconds a pixel."""

    restoring: float
    """The network that restores, restoring."""
    updating: float
    """The part of it that adapts, updated; 0 where nothing is."""
    single: float
    """Restoring by the bundled network of single frames, the measure of all that has nothing to do with the other."""


@dataclass(frozen=True)
class Clip:
    """What is restored."""

    frames: int
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return self.width * self.height

    def __str__(self) -> str:
        return f"{self.frames} frame{'s' * (self.frames != 1)} of {self.width}x{self.height}"


@dataclass(frozen=True)
class Forecast:
    """About how long it takes, in seconds."""

    adapting: float
    """The look through the video included; 0 where nothing adapts."""
    restoring: float

    @property
    def total(self) -> float:
        return self.adapting + self.restoring

    def __str__(self) -> str:
        adapting = f"{duration(self.adapting)} adapting, " if self.adapting else ""
        return f"about {adapting}{duration(self.restoring)}{' restoring' if adapting else ''}"


def forecast(
    clip: Clip, options: Any, spec: NetworkSpec, speeds: Speeds, *, adapted: bool = False, lucky: bool = False
) -> Forecast:
    """About how long a video takes.

    Args:
        options: the method's.
        spec: facts about the network that restores.
        adapted: the adaptation is there already, as an interrupted run has left it.
        lucky: frames take detail from sharper ones.
    """
    restoring = clip.frames * clip.pixels * (speeds.restoring + FRAME_WORK * speeds.single + LUCKY_TIME * lucky)
    if isinstance(options, Blur2BlurOptions):
        restoring += clip.frames * clip.pixels * TRANSLATED_WORK * speeds.single
    if isinstance(options, TtaOptions) and options.adapt_per == "frame" and options.updates:
        each = options.updates * _tta_pixels(clip, options, spec)[0] * speeds.updating
        return Forecast(0.0, restoring + clip.frames * (each + clip.pixels * speeds.restoring))
    return Forecast(0.0 if adapted else _adapting(clip, options, spec, speeds), restoring)


def updates(options: Any) -> bool:
    """Whether a method updates the network."""
    followed = isinstance(options, Blur2BlurOptions) and options.then != "none"
    return followed or bool(getattr(options, "updates", 0))


def fast(clip: Clip, speeds: Speeds, *, lucky: bool = False) -> float:
    """Seconds of ``--quality fast``; ``lucky`` as for :func:`forecast`."""
    return clip.frames * clip.pixels * ((1 + FRAME_WORK) * speeds.single + LUCKY_TIME * lucky)


def _adapting(clip: Clip, options: Any, spec: NetworkSpec, speeds: Speeds) -> float:
    if isinstance(options, MetaOptions):
        return _survey(clip, speeds) + _meta(clip, options, spec, speeds)
    if isinstance(options, Reblur2DeblurOptions):
        return _survey(clip, speeds) + _reblur2deblur(clip, options, spec, speeds)
    if isinstance(options, TtaOptions) and options.updates:
        updated, restored = _tta_pixels(clip, options, spec)
        each = options.updates * updated * speeds.updating + 2 * restored * speeds.restoring
        return _survey(clip, speeds) + min(clip.frames, options.tta_frames) * each
    if isinstance(options, Blur2BlurOptions):
        then = {"meta": MetaOptions(), "tta": TtaOptions()}.get(options.then)
        learning = 0.0
        if options.translator is None:
            learning = _survey(clip, speeds) + _translator(clip, options, speeds)
        return learning + (_adapting(clip, then, spec, speeds) if then is not None else 0.0)
    return 0.0


def _survey(clip: Clip, speeds: Speeds) -> float:
    """The look through the video."""
    return clip.frames * (SURVEY_WORK + clip.pixels * FRAME_WORK / 4) * speeds.single


def _patches(clip: Clip, asked: int, size: int) -> tuple[int, int]:
    """How many patches a survey finds, with those that only judge, and their side."""
    return asked + HELD_OUT, max(32, min(size, clip.height // 32 * 32, clip.width // 32 * 32))


def _guarded(guard: str | None, looks: int) -> float:
    """The guard, in pixels restored."""
    return 0 if guard == "off" else STRATA_WORK + looks * LOOK_WORK


def _looks(steps: int) -> int:
    """How often a guard looks while so many steps are taken."""
    return max(1, min(GUARD_LOOKS, steps // STEPS_BETWEEN))


def _meta(clip: Clip, options: MetaOptions, spec: NetworkSpec, speeds: Speeds) -> float:
    count, size = _patches(clip, options.patches, options.patch_size)
    side = side_of(options, size)
    steps = affordable_within(clip.frames * clip.pixels, count * size**2, options, side, alone=bool(spec.alone))
    restored = FIT_WORK * count * size**2 + _guarded(options.guard, _looks(steps))
    phases = 2 if options.learnt else 1
    return phases * steps * options.batch * side**2 * UPDATE_WORK * speeds.updating + restored * speeds.restoring


def _reblur2deblur(clip: Clip, options: Reblur2DeblurOptions, spec: NetworkSpec, speeds: Speeds) -> float:
    count, size = _patches(clip, options.patches, options.patch_size)
    side = min(options.crop, size)
    # A supervised pair, and the frames in a row that explain one of the video.
    learnt = options.updates * options.batch * (1 + options.reblur_frames) * side**2
    restored = FIT_WORK * count * size**2 + _guarded(options.guard, _looks(options.updates)) + RESIDUAL_WORK
    return learnt * REBLUR_WORK * speeds.updating + restored * speeds.restoring


def _tta_pixels(clip: Clip, options: TtaOptions, spec: NetworkSpec) -> tuple[float, int]:
    """What a step is worth for a frame, in pixels updated, and the pixels of its piece with their surroundings."""
    around, counted = (0, 0, clip.height, clip.width), (0, 0, clip.height, clip.width)
    if spec.tileable:
        context = spec.overlap + REBLURRING.overlap
        pieces = split(clip.height, clip.width, lambda h, w: h * w <= options.tta_pixels, context, spec.step)
        around, counted = pieces[0]
    pixels = around[2] * around[3]
    return TTA_WORK * pixels + TTA_REBLURRED_WORK * counted[2] * counted[3], pixels


def _translator(clip: Clip, options: Blur2BlurOptions, speeds: Speeds) -> float:
    """Learning a translator from the video: its time, or its steps; the guard in any case."""
    count, size = _patches(clip, options.patches, options.patch_size)
    guard = (FIT_WORK * count * size**2 + _guarded(options.guard, LOOKS)) * speeds.restoring
    if options.steps is None:
        return options.seconds + guard
    learnt = options.steps * 2 * options.batch * options.crop**2
    return learnt * TRANSLATION_WORK * speeds.single + guard


def duration(seconds: float) -> str:
    """A time for people: 3 s, 40 s, 2 min, 1 h 5 min."""
    if seconds < 9.5:
        return f"{max(1, round(seconds))} s"
    if seconds < 100:
        return f"{5 * round(seconds / 5)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
