"""Test-time adaptation: a network learns, on the picture itself, to leave no blur that could be made strong again.

Clean Images are Hard to Reblur (Nah et al., ICLR 2022), section 3.3, eq. 6 and algorithm A. A reblurring module M_R has
learnt to bring back the blur that a deblurring network M_D leaves, and to change nothing in sharp pictures. So without
any sharp original, | M_R(L) - L | tells how much blur is left in L = M_D(B): M_D takes a few steps downhill, M_R stays
as it is, and L as the target is a constant. The colours of the unadapted result are kept by histogram matching.

What differs from the paper:

- It adapts to one picture; a video adapts once, to frames from all over it together, unless ``adapt_per = frame``. The
  paper's histogram matching is then learnt once as a curve for each channel (:mod:`deblurcli.adaptation.tone_curves`),
  the same for every frame: nothing flickers, and no frame must be restored twice.
- A step looks at no more pixels of a picture than ``tta_pixels``, the most detailed ones first; the paper looks at the
  whole picture.
- The rate is 8e-6, for smaller networks than the paper's, whose rate is 3e-6.
- Histograms are matched before the results are clamped to [0, 1].
- A result that is broken or not finite is undone, and the unadapted one used.
- Of a network with a part that restores each frame alone (``NetworkSpec.alone``), that part adapts, by its own result:
  the layers that join the frames stay as they were trained.
- The network runs in evaluation mode: running statistics of norms stay as they were trained.
"""

from __future__ import annotations

import copy
import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from deblurcli.adaptation.group import seen_in_each, shares
from deblurcli.adaptation.guard import Diverged, require_finite_weights
from deblurcli.adaptation.outcome import Outcome, Prepared, PreparedNetwork, own_curves
from deblurcli.adaptation.samples import Sample, Splitter, evenly, split
from deblurcli.adaptation.survey import counted
from deblurcli.adaptation.tone_curves import ToneCurves, matched
from deblurcli.adaptation.unfinished import Unfinished
from deblurcli.adaptation.update import adaptation_device, undone_without_memory, update
from deblurcli.adaptation.work import Clip, Work, survey_work
from deblurcli.console import Reporter
from deblurcli.media.footage import Footage, unit
from deblurcli.media.shots import CutDetector, windows
from deblurcli.networks import NETWORKS
from deblurcli.networks.spec import NetworkSpec, padded
from deblurcli.options.tta import TtaOptions
from deblurcli.restore.pipeline import ABSURD_CHANGE
from deblurcli.restore.tiles import MEMORY_BUDGET, Restorer
from deblurcli.restore.worker import Placed, Worker

PROBES = (64, 128)
"""Sides in pixels of the squares on which the memory of a step is tried out."""

MEMORY_RATIO = 1.5
"""Peak memory of a step, relative to what is kept for its gradients."""

PIECE_WORK, REBLURRED_WORK = 0.8, 1.0
"""A step for a pixel with its surroundings, and the reblurring of one that counts, in pixels updated."""

BROKEN = "the adapted network's result is broken"


def prepare(network: Placed, footages: Sequence[Footage], options: TtaOptions, worker: Worker) -> Prepared:
    """Adapt the network to some frames of the footage, or get ready to adapt it to each frame by itself.

    Raises:
        InputError: no footage can be read.
        WeightsError: no reblurring module.
        OfflineError: its weights would have to be fetched, but cannot be, or must not.
    """
    if not options.updates:
        return PreparedNetwork(network, worker.tile)
    reblur = worker.place(options.tta_reblur, "tta", "reblur-image")
    if another := trained_for(reblur, network):
        found = f"{reblur.name} was trained for what {another} leaves of blur, not {network.name}"
        worker.warn_once(f"{found}; deblur train module --deblurring FILE makes one for it, --tta-reblur takes it")
    adapter = Adapter(network, reblur, options, worker.tile)
    if options.adapt_per == "frame":
        return EachPicture(adapter, "the picture" if footages[0].total == 1 else "each frame")
    return adapted_to_all(adapter, footages, worker.console, worker.unfinished)


def stages(spec: NetworkSpec, options: TtaOptions, clip: Clip) -> dict[str, Work]:
    """What comes before restoring, and what restoring has more where each frame adapts; see
    :func:`deblurcli.methods.stages`."""
    if not options.updates:
        return {}
    around = counted = (0, 0, clip.height, clip.width)
    if spec.tileable:
        context = spec.overlap + NETWORKS["reblurring-module"].overlap
        pieces = split(clip.height, clip.width, lambda h, w: h * w <= options.tta_pixels, context, spec.step)
        around, counted = pieces[0]
    piece = around[2] * around[3]
    step = PIECE_WORK * piece + REBLURRED_WORK * counted[2] * counted[3]
    if options.adapt_per == "frame":
        return {"restoring": Work(clip.frames * clip.pixels, clip.frames * options.updates * step)}
    frames = min(clip.frames, options.tta_frames)
    return {
        "surveying": survey_work(clip),
        "adapting": Work(frames * 2 * piece, frames * options.updates * step),
    }


def trained_for(module: Placed, network: Placed) -> str:
    """The deblurring network that a reblurring module belongs to, by its card, where that is another one.

    Empty where the card says nothing, or names this network, one that it was trained or adapted from, or its part.
    """
    told = re.match(r"[\w.+-]+", str(module.loaded.card.get("deblurring", "")))
    origins = (str(network.loaded.card.get(key, "")) for key in ("start", "deblurring", "adapted_from"))
    kin = " ".join([network.name, network.network, *origins])
    return "" if told is None or re.search(rf"(?<![\w-]){re.escape(told[0])}(?![\w-])", kin) else told[0]


class Adapter:
    """Adapts a copy of a deblurring network, again and again from the same weights.

    Args:
        network: the deblurring network, which stays as it is.
        reblur: the reblurring module.
        tile: ``auto`` (pieces as memory allows), ``off``, or the side in pixels of the largest piece.
    """

    def __init__(self, network: Placed, reblur: Placed, options: TtaOptions, tile: str = "auto") -> None:
        self.network, self.spec, self.options, self.tile = network, network.spec, options, tile
        self.device = adaptation_device(network.device)
        self.original = network.module.get_submodule(self.spec.alone)
        self.module = copy.deepcopy(network.module).eval()
        self.adapting = self.module.get_submodule(self.spec.alone)
        self.frames = 1 if self.spec.alone else self.spec.window
        self.reblur, self.reblur_reach = reblur.module, reblur.spec.overlap
        self.weights = {reblur.name: reblur.sha256}

    @cached_property
    def splitter(self) -> Splitter:
        """Cuts pictures into pieces that memory is enough for."""
        area = math.inf if self.tile in ("auto", "off") else int(self.tile) ** 2
        if self.tile == "auto" and self.spec.tileable:
            memory = min(self.device.free_memory() // 2, MEMORY_BUDGET)
            area = memory / (MEMORY_RATIO * self._kept_per_pixel())
        return Splitter(self.spec, self.spec.overlap + self.reblur_reach, self.options.tta_pixels, area)

    def _kept_per_pixel(self) -> float:
        """Bytes that a step keeps for its gradients, per pixel, whatever the network: tried out on two small pieces."""

        def kept(side: int) -> int:
            storages: dict[int, int] = {}

            def keep(tensor: Tensor) -> Tensor:
                storage = tensor.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
                return tensor

            shape = (self.frames, 3, side, side) if self.frames > 1 else (3, side, side)
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                self.loss(Sample(torch.zeros(shape), (0, 0, side, side)))
            return sum(storages.values())

        self.adapting.requires_grad_(True)
        small, large = (kept(side) for side in PROBES)
        self.adapting.requires_grad_(False)
        return max(large - small, 1) / (PROBES[1] ** 2 - PROBES[0] ** 2)

    def samples(self, frames: list[Tensor]) -> list[Sample]:
        """The pieces of the middle one of a window of frames (3 x H x W each), the most detailed ones first."""
        return self.splitter.samples(frames if self.frames > 1 else [frames[len(frames) // 2]])

    def restore(self, module: nn.Module, sample: Sample) -> Tensor:
        """Restore a sample with the network, or its submodule that adapts: 1 x 3 x h x w, not clamped."""
        h, w = sample.frames.shape[-2:]
        batch = padded(sample.frames[None], self.spec.multiple_of, self.spec.min_size).to(self.device.where)
        batch = batch.contiguous() if batch.dim() == 5 else batch.contiguous(memory_format=torch.channels_last)
        with self.device.autocast():
            return module(batch)[..., :h, :w]

    def loss(self, sample: Sample) -> Tensor:
        """The sum of | M_R(L) - L | over the counted pixels and channels of a sample (eq. 6, there the mean)."""
        restored = self.restore(self.adapting, sample)
        y, x, h, w = sample.counted
        top, left = max(0, y - self.reblur_reach), max(0, x - self.reblur_reach)
        seen = restored[..., top : y + h + self.reblur_reach, left : x + w + self.reblur_reach]
        with self.device.autocast():
            reblurred = self.reblur(seen.contiguous(memory_format=torch.channels_last))
        difference = reblurred.float() - seen.detach().float()
        return difference[..., y - top : y - top + h, x - left : x - left + w].abs().sum()

    def adapt(
        self, samples: list[Sample], together: int, console: Reporter | None = None, path: Path | None = None
    ) -> list[float]:
        """Take N steps of Adam from the original weights; ``module`` then has the new ones.

        Args:
            samples: gone through in turn, ``together`` in each step; only one is in memory.
            console: where progress goes.
            path: where the steps are put down from time to time, and taken up.

        Returns:
            The loss of each step, a mean over pixels and channels in [0, 1].

        Raises:
            Diverged: a loss or a weight is not finite, or memory has run out.
        """
        self.adapting.load_state_dict(self.original.state_dict())
        moving = list(self.adapting.requires_grad_(True).parameters())
        trace: list[float] = []

        def losses(step: int) -> Iterator[Tensor]:
            batch = [samples[(step * together + i) % len(samples)] for i in range(together)]
            values = 3 * sum(sample.pixels for sample in batch)
            for sample in batch:
                for piece in self.splitter.pieces(sample):
                    yield self.loss(piece) / values

        modules, told = {"adapting": self.adapting}, console or Reporter.silent()
        unfinished = Unfinished(path, modules, None, {"losses": trace}, lambda: bool(self.reduced()), told)
        try:
            update(
                torch.optim.Adam(moving, lr=self.options.rate),
                self.options.updates,
                losses,
                subject="reblurring",
                trace=trace,
                console=console,
                smaller=lambda: self.splitter.smaller(samples),
                unfinished=unfinished,
            )
        finally:
            self.adapting.requires_grad_(False)
        require_finite_weights(self.adapting, "deblurring")
        return trace

    def reduced(self) -> dict[str, int]:
        """For the record: to how many pixels memory has reduced the pieces, if it has."""
        reduced = self.splitter.reduced
        return {} if math.isinf(reduced) else {"reduced_pixels": int(reduced)}

    def outcome(self, what: str) -> Outcome:
        """An outcome to fill. ``what``: the pictures, for people."""
        facts = {"options": asdict(self.options), "what": what, "precision": self.device.precision}
        work = f"{self.options.updates} steps on {what}"
        return Outcome("tta", work=work, losses={"losses": []}, facts=facts, weights=self.weights)


def adapted_to_all(
    adapter: Adapter, footages: Sequence[Footage], console: Reporter, path: Path | None = None
) -> PreparedNetwork:
    """Adapt once, to at most ``tta_frames`` frames of the footage, evenly spread over it, all of them in each step.

    Several videos have an equal share of them each.

    A step goes by the mean loss over all of them, each frame with its most detailed piece. The adapted pieces as a
    whole are matched to the unadapted ones, and the change kept as tone curves for the frames restored later. The steps
    are put down in the file ``path`` from time to time, and taken up.

    Raises:
        InputError: no footage can be read.
    """
    network, count, names = adapter.network, 0, []
    chosen = shares(adapter.options.tta_frames, len(footages))

    def look(number: int, footage: Footage) -> list[Sample]:
        is_cut, frames = CutDetector(), counted(footage.pictures(), footage.total, console)
        shown = windows(frames, adapter.frames, lambda picture: adapter.frames > 1 and is_cut(picture))
        return evenly(shown, chosen[number], lambda window: adapter.samples(window[1])[0].copied())

    outcome, module, curves = adapter.outcome("no frames"), None, None
    started = time.monotonic()
    try:
        with undone_without_memory():
            seen = seen_in_each(footages, look, console)
            names = [footages[number].name for number, _ in seen]
            samples = [sample for _, of_one in seen for sample in of_one]
            count, started = len(samples), time.monotonic()
            if not samples:
                raise Diverged("there are no frames")
            outcome.losses["losses"] = adapter.adapt(samples, len(samples), console, path)
            after, before = (_results(adapter, which, samples) for which in (adapter.adapting, adapter.original))
            changes = [(new - old).abs().mean() for new, old in zip(after, before, strict=True)]
            if not float(torch.stack(changes).mean()) <= ABSURD_CHANGE:
                raise Diverged(BROKEN)
            own = own_curves(network)
            module, curves = adapter.module, ToneCurves.between(after, [own(p) if own else p for p in before])
            losses = outcome.losses["losses"]
            outcome.gain = f"mean reblurring loss {sum(losses) / len(losses):.5f}"
    except Diverged as error:
        outcome.kept, outcome.reason, outcome.losses["losses"] = False, str(error), []
    outcome.seconds = time.monotonic() - started
    what = f"{count} frames together"
    if len(footages) > 1:
        what = f"{count} frames of {len(names)} videos together"
        outcome.facts["videos"] = names
    outcome.work = f"{adapter.options.updates} steps on {what}"
    outcome.facts |= {"what": what, "adaptations": 1, "undone": int(not outcome.kept)} | adapter.reduced()
    return PreparedNetwork(network, adapter.tile, outcome, module, curves)


@torch.no_grad()
def _results(adapter: Adapter, module: nn.Module, samples: list[Sample]) -> list[Tensor]:
    """The counted pixels of each sample (3 x h x w) as a network, or its submodule that adapts, restores them."""
    pieces = [piece for sample in samples for piece in adapter.splitter.pieces(sample)]
    return [piece.cut(adapter.restore(module, piece))[0].float().cpu() for piece in pieces]


class EachPicture:
    """A :class:`deblurcli.adaptation.outcome.Prepared` that adapts its network to every picture alone, as in the paper.

    Each picture costs N steps and is restored twice: the unadapted result gives the histogram, and is the result where
    the adaptation fails. A window of frames is restored with the weights adapted to its middle one.

    Args:
        what: the pictures, for people.
    """

    def __init__(self, adapter: Adapter, what: str) -> None:
        network = adapter.network
        self.adapter, self.curves = adapter, own_curves(network)
        self.unadapted = PreparedNetwork(network, adapter.tile)
        # Not clamped before their histograms are matched.
        self.plain, self.adapted = (
            Restorer(module, network.spec, network.device, adapter.tile, clamped=False, warn=network.warn)
            for module in (network.module, adapter.module)
        )
        self.outcome = adapter.outcome(what)
        self.outcome.facts |= {"adaptations": 0, "undone": 0}

    @property
    def window(self) -> int:
        """Frames a call takes."""
        return self.plain.window

    def restart(self) -> None:
        """As Prepared."""
        for restorer in (self.unadapted, self.plain, self.adapted):
            restorer.restart()

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        """A window of frames to its restored middle one; each channel has the histogram of the unadapted result."""
        frames = [unit(frame) for frame in frames]
        if precise:  # a second try, since the unadapted result was broken
            return self.unadapted(frames, precise=True)
        plain = self.plain(frames)
        if self.curves is not None:
            plain = self.curves(plain)
        started = time.monotonic()
        losses, result = None, plain
        try:
            with undone_without_memory():
                samples = self.adapter.samples(frames)
                together = self.adapter.options.tta_pixels // max(sample.pixels for sample in samples)
                losses = self.adapter.adapt(samples, min(max(together, 1), len(samples)))
                self.adapted.kept.clear()  # encodings made with other weights
                result = self.adapted(frames)
                if not float((result - plain).abs().mean()) <= ABSURD_CHANGE:
                    raise Diverged(BROKEN)
        except Diverged as error:
            self._record(None, str(error), time.monotonic() - started)
            return self.unadapted(frames)
        result = matched(result, plain)
        self._record(losses, "", time.monotonic() - started)
        return result.clamp(0, 1)

    def _record(self, losses: list[float] | None, reason: str, seconds: float) -> None:
        """Count one more adaptation, undone where ``losses`` is None."""
        outcome, facts = self.outcome, self.outcome.facts
        outcome.seconds += seconds
        facts["adaptations"] += 1
        facts |= self.adapter.reduced()
        if losses is None:
            facts["undone"] += 1
            outcome.reason = reason
        else:
            kept = facts["adaptations"] - facts["undone"]
            means = outcome.losses["losses"] or [0.0] * len(losses)
            outcome.losses["losses"] = [mean + (loss - mean) / kept for mean, loss in zip(means, losses, strict=True)]
        outcome.kept = facts["undone"] < facts["adaptations"]
        if found := outcome.losses["losses"]:
            outcome.gain = f"mean reblurring loss {sum(found) / len(found):.5f}"
        if facts["undone"]:
            outcome.gain += f"; undone for {facts['undone']} of {facts['adaptations']}: {outcome.reason}"

    def state(self) -> dict[str, Tensor]:
        """The unadapted network's: the weights of no frame stand for the others."""
        return self.unadapted.state()
