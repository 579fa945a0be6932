"""Two versions of a video or picture, made visible: a page, a picture, or a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deblurcli.console import Reporter
from deblurcli.errors import UsageError
from deblurcli.files import OutputFile, check_destination
from deblurcli.jobs.result import Result
from deblurcli.jobs.side_by_side import Moment, moments_in_step
from deblurcli.media.canvas import resized, within
from deblurcli.media.clips import VIEWED, ViewClip
from deblurcli.media.excerpt import Excerpt
from deblurcli.media.images import FORMS, Image, encoded
from deblurcli.media.inputs import is_picture
from deblurcli.media.videos import describe
from deblurcli.metrics.change import ChangeMap
from deblurcli.metrics.naturalness import bundled_model, niqe
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.options.compare import CompareOptions
from deblurcli.reports.page import MAX_WIDTH, Comparison, KeyFrame, page
from deblurcli.reports.views import DRAWN, Crops, Pair, usual_side

PAGES = frozenset({".html", ".htm"})
"""Suffixes of a page."""
USUAL_RATE = Fraction(25)
"""Frames per second of a video whose rate is unknown."""

Both = tuple[Moment, Moment]


@dataclass
class _Look:
    """What one pass through both versions finds."""

    changes: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    sharpness: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    map: ChangeMap = field(default_factory=ChangeMap)


@dataclass(frozen=True)
class CompareJob:
    """Show what differs between two versions of a video or picture, in a file whose suffix says how.

    Args:
        before, after: two pictures, or two videos, of one size and length.
        destination: .html for a page, .mp4, .mkv or .mov for a video, a suffix of pictures for a picture.
        run: what :func:`deblurcli.reports.page.run_facts` says of the run that made ``after``; for a page.
        excerpt: the part of ``before`` that ``after`` shows.
    """

    before: Path
    after: Path
    destination: Path
    options: CompareOptions
    run: dict[str, Any] | None = None
    excerpt: Excerpt | None = None

    def make(self, console: Reporter) -> Result:
        """Do it: both are read twice, once to find the largest change, once to draw.

        Raises:
            UsageError: the destination exists, is an input, or is no name for what is to be made.
            InputError: a file cannot be read, or the two do not match.
            OutputError: the destination cannot be written.
        """
        suffix = self.destination.suffix.lower()
        self.require_drawable()
        with OutputFile(self.destination, inputs=[self.before, self.after], overwrite=self.options.overwrite) as output:
            damage: list[str] = []
            look = self._looked(console, damage)
            if suffix in PAGES:
                found, frames = self._compared(look, console)
                output.file.write(page(found, frames, self.run))
                lines = found.lines()
            elif suffix in VIEWED:
                rate = describe(self.before, self.options.fps).video.rate or USUAL_RATE
                crops = self._crops(look)
                with ViewClip(output) as clip:
                    for number, (one, other) in enumerate(self._pairs(), 1):
                        clip.write(self._drawn(one, other, crops), one.seconds, rate)
                        console.progress("drawing", number, len(look.changes))
                lines = [f"{clip.frames} frames"]
            else:
                at = self._moment(look)
                (one, other) = next(both for number, both in enumerate(self._pairs()) if number == at)
                drawn = Image(np.ascontiguousarray(self._drawn(one, other, self._crops(look))))
                output.file.write(encoded(drawn, self.destination.name)[0])
                lines = [f"frame {at}, {one.seconds:.2f} s"] if self._video else []
        facts = {"frames": len(look.changes)}
        return Result(self.destination, list(dict.fromkeys(damage)), lines, facts)

    def require_drawable(self, option: str = "-o") -> None:
        """Refuse, before any work, what could not be made or written. Raises UsageError and OutputError.

        ``option``: which names the destination, for the message.
        """
        suffix, options = self.destination.suffix.lower(), self.options
        if suffix not in {*PAGES, *VIEWED, *FORMS}:
            cure = "let it end in .html, .mp4 or .png" if self._video else "let it end in .html or .png"
            raise UsageError(f"{option} {self.destination} is not a name for a comparison", cure)
        if suffix in VIEWED and not self._video:
            raise UsageError(f"{self.destination.name} would be a video, {self.before.name} is a picture", "use .png")
        if options.view == "crops" and not options.crops:
            raise UsageError("--view crops with --crops 0", "give some crops")
        if options.at is not None and (suffix not in FORMS or not self._video):
            raise UsageError("--at is for a picture of videos", "leave it out, or let -o end in .png")
        check_destination(self.destination, [self.before, self.after], options.overwrite)

    @property
    def _video(self) -> bool:
        return not is_picture(self.before, self.after)

    def _pairs(self, damage: list[str] | None = None) -> Iterator[Both]:
        return moments_in_step(
            self.before, self.after, [] if damage is None else damage, self.excerpt, self.options.fps
        )

    def _looked(self, console: Reporter, damage: list[str]) -> _Look:
        """One pass through both: where and when they differ, and for a page how sharp each is."""
        found, page_wanted = _Look(), self.destination.suffix.lower() in PAGES
        total = describe(self.after).expected_frames if self._video else 1
        for number, both in enumerate(self._pairs(damage), 1):
            before, after = (moment.picture for moment in both)
            found.changes.append(found.map.add(before, after))
            found.seconds.append(both[0].seconds)
            for scores, picture in zip(found.sharpness, (before, after), strict=True) if page_wanted else ():
                scores.append(_sharpness(picture))
            console.progress("comparing", number, total)
        return found

    def _crops(self, look: _Look) -> Crops:
        height, width = look.map.height, look.map.width
        side = min(self.options.crop_size or usual_side(height, width), height, width)
        return Crops(look.map.places(self.options.crops, side), side)

    def _drawn(self, before: Moment, after: Moment, crops: Crops) -> np.ndarray:
        """The view of a pair. Where nothing differs there are no crops, and both are shown whole."""
        view = self.options.view if crops.places or self.options.view != "crops" else "side"
        moves = self.destination.suffix.lower() in VIEWED
        pair = Pair(before.picture, after.picture, before.seconds if moves else 0.0)
        return DRAWN[view](pair, self.options.names, crops)

    def _moment(self, look: _Look) -> int:
        """The frame that a picture shows. Raises UsageError: there is none at the time that was asked for."""
        at = self.options.at
        if at is None:
            return int(np.argmax(look.changes))
        if at > look.seconds[-1] and len(look.seconds) > 1:
            raise UsageError(
                f"--at {at:g} is behind the last frame, at {look.seconds[-1]:.2f} s", "give an earlier time"
            )
        return int(np.abs(np.subtract(look.seconds, at)).argmin())

    def _compared(self, look: _Look, console: Reporter) -> tuple[Comparison, list[KeyFrame]]:
        """What a page shows: everything that was found, and the key frames, which are read again."""
        crops, options = self._crops(look), self.options
        found = Comparison(
            options.names,
            [(path.name, self._about(path)) for path in (self.before, self.after)],
            self._video,
            (look.map.width, look.map.height),
            look.seconds,
            look.changes,
            look.sharpness,
            places=crops.places,
            side=crops.side,
        )
        wanted, model = key_frames(look.changes, options.frames), bundled_model()
        frames: list[KeyFrame] = []
        size = within(*found.size, MAX_WIDTH)
        for number, both in enumerate(self._pairs()):
            if number not in wanted:
                continue
            before, after = (moment.picture for moment in both)
            pieces = [
                tuple(piece.copy() for piece in two) for two in zip(crops.cut(before), crops.cut(after), strict=True)
            ]
            pair = Pair(resized(before, *size), resized(after, *size), both[0].seconds)
            frames.append(KeyFrame(number, pair, pieces))  # type: ignore[arg-type]
            for scores, picture in zip(found.niqe, (before, after), strict=True):
                scores.append(niqe(_unit(picture), model))
            console.progress("drawing", len(frames), len(wanted))
            if len(frames) == len(wanted):
                break
        return found, frames

    def _about(self, path: Path) -> str:
        """What kind of file it is, in a few words; nothing of a picture but what its name says."""
        if not self._video:
            return ""
        info = describe(path, self.options.fps)
        rate = f", {float(info.video.rate):.5g} frames/s" if info.video.rate else ""
        length = f", {float(info.duration):.2f} s" if info.duration else ""
        return f"{info.video.codec}, {info.video.width}x{info.video.height}{rate}{length}"


def key_frames(changes: Iterable[float], count: int) -> list[int]:
    """The frame of the largest change in each of ``count`` equal parts of a video, away from their ends."""
    values = np.asarray(list(changes))
    parts = np.array_split(np.arange(len(values)), min(count, len(values)))
    inner = [part[len(part) // 6 : len(part) - len(part) // 6] for part in parts]
    return [int(part[values[part].argmax()]) for part in inner]


def _unit(picture: np.ndarray) -> torch.Tensor:
    """Bytes, H x W x 3, to 3 x H x W in [0, 1]."""
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255


def _sharpness(picture: np.ndarray) -> float:
    return float(self_shift_score(_unit(picture)[None]))
