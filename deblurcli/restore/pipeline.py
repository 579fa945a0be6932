"""The per-video loop: decode, infer and encode at the same time, in bounded queues."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from statistics import fmean
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from deblurcli.console import Reporter
from deblurcli.media.ahead import END, QUEUE_FRAMES, Pipe, Stopped, Thread
from deblurcli.media.footage import unit
from deblurcli.media.frames import Frame
from deblurcli.media.shots import CutDetector, windows
from deblurcli.options.compute import LARGE, ROWS
from deblurcli.restore.fading import Fading, gain_of
from deblurcli.restore.lucky import LuckyFrames
from deblurcli.restore.tiles import RESTART, release_memory, relieve

ABSURD_CHANGE = 0.25
"""Mean absolute change of a frame, relative to full scale, that no deblurring makes."""


class WindowRestorer(Protocol):
    """A window of frames in, each 3 x H x W in [0, 1], the restored centre frame out."""

    @property
    def window(self) -> int:
        """Frames a call takes."""

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        """``precise``: compute in float32 whatever the device's precision."""


class VideoRestorer(WindowRestorer, Protocol):
    """One for consecutive frames, which may hand on to the next one what it made of a frame."""

    def restart(self) -> None:
        """Hand nothing on from the frames before to those that follow."""


@runtime_checkable
class SeveralRestorer(VideoRestorer, Protocol):
    """One that may restore several windows in one call, faster than one by one; what restores a video on a card."""

    def at_once(self, height: int, width: int) -> int:
        """How many windows of frames of this size go together; 1: each alone."""

    def several(self, windows: Sequence[list[Tensor]]) -> list[Tensor]:
        """The results of as many windows, in order."""


@dataclass
class Restoration:
    """What the loop did."""

    frames: int = 0
    """Frames that were restored, without those that had been before."""
    replaced: int = 0
    """Frames that came out broken, for which the input frame was written."""
    cuts: int = 0
    """Cuts between shots; looked for only where they matter."""
    seconds: float = 0.0
    lucky: int = 0
    """Frames that took detail from sharper ones."""
    gains: tuple[float, float] | None = None
    """The least and the largest gain of edges of a frame; None where sharp frames are not left alone."""


_Window = tuple[int, tuple[Frame, Tensor, bool], list[tuple[Frame, Tensor, bool]]]
"""The number of its centre, the centre (frame, picture, whether it begins a shot), and all of its frames."""


@dataclass
class _Restored:
    """A restored frame whose share of the change is not known yet."""

    number: int
    frame: Frame
    picture: Tensor | None
    """The frame as a picture; None: to be made again."""
    cut: bool
    change: Tensor
    broken: bool

    def seen(self) -> Tensor:
        """The frame as the picture that was restored."""
        return picture_of(self.frame) if self.picture is None else self.picture

    def waiting(self) -> _Restored:
        """The same in less memory: the change is rounded by a fiftieth of an 8-bit code value at most."""
        return replace(self, picture=None, change=self.change.half())

    def gaining(self, gain: Tensor | None) -> _Restored:
        """The same after it has waited, with more change."""
        change = self.change.float()
        return replace(self, change=change if gain is None else change.add_(gain))


def picture_of(frame: Frame, seen: Tensor | None = None) -> Tensor:
    """The picture that is restored: of a ``LARGE`` frame as bytes or, if 8 bits do not suffice, in half precision.

    ``seen``: its preview, where that was made already.
    """
    if frame.width * frame.height <= LARGE:
        return frame.rgb()
    preview = frame.preview() if seen is None else seen
    return preview if preview.dtype == torch.uint8 else preview.half()


def waiting_frames(height: int, width: int, device: torch.device) -> int:
    """How many frames may wait between two stages; 0: memory is what counts, and the stages take turns.

    A processor is kept busy by the network alone, a card is not.
    """
    if height * width <= LARGE:
        return QUEUE_FRAMES
    return 0 if device.type == "cpu" else 1


def change_to(frame: Tensor, restored: Tensor) -> Tensor:
    """What was changed: ``restored - frame``, for a frame that is no float32 in place of ``restored``."""
    if frame.dtype == torch.float32 or restored.data_ptr() == frame.data_ptr():
        return unit(restored) - unit(frame)
    for before, after in zip(frame.split(ROWS, 1), restored.split(ROWS, 1), strict=True):
        after.copy_(after.float() - unit(before))
    return restored


def mean_size(change: Tensor) -> float:
    """The mean of the absolute change; of a large frame's in parts, without a copy of it."""
    if change.dtype == torch.float32:
        return fmean(float(plane.abs().mean()) for plane in change)
    return sum(float(rows.float().abs().sum()) for rows in change.split(ROWS, 1)) / change.numel()


def restore_frame(restorer: WindowRestorer, frames: list[Tensor], found: Tensor | None = None) -> tuple[Tensor, bool]:
    """The change to the centre frame (3 x H x W), and whether the result was broken and the change is therefore zero.

    A result that is not finite is computed again in float32 before it is given up. ``found``: the result, where it is
    there already.
    """
    centre = frames[len(frames) // 2]
    relieve(*centre.shape[-2:])
    for precise in (False, True):
        result = restorer(frames, precise=precise) if precise or found is None else found
        change = change_to(centre, result)
        del result
        relieve(*centre.shape[-2:])
        size = mean_size(change)
        if math.isfinite(size):
            if size > ABSURD_CHANGE:
                break
            return change, False
    return torch.zeros(centre.shape), True


def windows_for(
    restorer: VideoRestorer, items: Iterable[Any], starts_shot: Callable[[Any], bool]
) -> Iterator[tuple[Any, list[Any]]]:
    """:func:`deblurcli.media.shots.windows` for a restorer that begins anew where it does so in a video file, too."""
    marked = ((item, starts_shot(item)) for item in items)
    for anew, (centre, _), around in _chains(marked, restorer.window):
        if anew:
            restorer.restart()
        yield centre, [item for item, _ in around]


def _chains(items: Iterable[Any], size: int) -> Iterator[tuple[bool, Any, list[Any]]]:
    """Windows of items that end with whether they begin a shot; and whether nothing is handed on to the centre."""
    place = -1
    for centre, around in windows(items, size, itemgetter(-1)):
        place = 0 if centre[-1] else place + 1
        yield place % RESTART == 0, centre, around


def windows_at_once(restorer: WindowRestorer, frame: Frame) -> int:
    """How many windows it restores in one call."""
    return restorer.at_once(frame.height, frame.width) if isinstance(restorer, SeveralRestorer) else 1


def restore_video(
    items: Iterable[Any],
    write: Callable[[Any], None],
    restorers: Iterable[VideoRestorer],
    console: Reporter,
    *,
    per_shot: bool = False,
    before: int = 0,
    total: int | None = None,
    watch: Callable[[Tensor, Tensor, bool], object] | None = None,
    beside: Callable[[Frame, Tensor], object] | None = None,
    changed: Callable[[Callable[[], Tensor], Tensor], object] | None = None,
    give_up: Callable[[], object] | None = None,
    lucky: LuckyFrames[_Restored] | None = None,
    fading: Fading[_Restored] | None = None,
    waiting: int = QUEUE_FRAMES,
) -> Restoration:
    """Restore every frame among ``items`` (frames and packets in file order) and hand all of them to ``write``.

    A network that takes several frames gets frames of one shot only: nothing behind a cut has any influence.

    Decoding, inference and encoding run at the same time; a few frames at most wait between them. An exception in any
    stage stops the others within a second and is raised here.

    Args:
        restorers: the first one restores the video or, with ``per_shot``, its first shot; the next one is taken when
            the next shot begins.
        before: frames at the beginning that have been restored before: they are looked at, but not written again.
        total: expected number of frames, for progress.
        waiting: frames that may wait between two stages; 0: they take turns, in this thread.
        watch: is shown every frame, restored and as it was (3 x H x W in [0, 1]), and told whether it begins a shot.
        beside: is given every frame after it was restored, and its picture, the tensor that the restorer was given.
        changed: is given what makes the picture of every frame that was restored, as it was, and its change.
        lucky: takes detail from sharper frames of the shot; None: every frame stays as it was restored.
        fading: leaves sharp frames as they are, and lets changes fade in and out; None: every frame gets its change.
        give_up: is called at the end, so that nobody waits in ``items`` or ``write`` for the end of a pipe any more.
    """
    following = iter(restorers)
    restorer = next(following)
    done = Restoration()
    started = time.monotonic()
    stop = threading.Event()
    decoded, restored = Pipe(stop, waiting), Pipe(stop, waiting)
    shots_matter = restorer.window > 1 or per_shot or watch is not None or lucky is not None or fading is not None
    is_cut = CutDetector() if shots_matter else None
    needed = max(0, before - sum(stage.reach for stage in (lucky, fading) if stage is not None))
    """The first frame whose result counts: of those before, others take of these, and fade in and out with them."""
    earliest = needed - RESTART + 1 if restorer.window > 1 else needed
    """The first frame with which restoring may begin, where nothing is handed on to it."""
    seen = earliest - restorer.window // 2
    """The first frame that a window needs."""
    first: int | None = None
    """The first frame that is restored, once it is known."""

    def made() -> Iterator[tuple[Any, Tensor | None, bool]]:
        number = 0
        for item in items:
            if isinstance(item, Frame):
                # Cuts are looked for in the previews, as in the survey, so that both find the same.
                preview = item.preview() if is_cut is not None else None
                cut = is_cut is not None and preview is not None and is_cut(preview)
                yield item, picture_of(item, preview) if number >= seen else None, cut
                number += 1
            else:
                yield item, None, False

    def decode() -> None:
        for each in made():
            decoded.put(each)
        decoded.put(END)

    def finished(item: Any, change: Tensor | None) -> None:
        write(item if change is None else item.with_change(change))

    def encode() -> None:
        for item, change in restored:
            finished(item, change)

    def encoded(item: Any, change: Tensor | None) -> None:
        if waiting:
            restored.put((item, change))
        else:
            finished(item, change)

    stages = [Thread(decode, stop), Thread(encode, stop)] if waiting else []

    def frames() -> Iterator[tuple[Frame, Any, bool]]:
        for item, picture, cut in decoded if waiting else made():
            if isinstance(item, Frame):
                done.cuts += cut
                yield item, picture, cut
            else:
                encoded(item, None)  # a copied packet: not ours to change

    def finish(latest: _Restored, share: float) -> None:
        """Hand a frame with its share of the change to what watches, and to the encoder."""
        if latest.number < before:
            return
        frame = latest.frame
        if share < 1:
            latest.change = latest.change * share
        done.frames += 1
        done.replaced += latest.broken
        if watch is not None:
            seen = unit(latest.seen())
            watch((seen + latest.change).clamp(0, 1), seen, latest.cut)
        if changed is not None:
            changed(latest.seen, latest.change)
            relieve(frame.height, frame.width)
        if latest.broken:
            encoded(replace(frame, replaced=True), None)
        elif not share:
            encoded(replace(frame, untouched=True), None)
        elif waiting:
            encoded(frame, latest.change)
        else:
            frame = frame.with_change(latest.change)
            latest.change = latest.change.new_empty(0)  # four times a frame's memory, which the encoder may have
            relieve(frame.height, frame.width)
            write(frame)
        relieve(frame.height, frame.width)

    def improve(latest: _Restored, gain: Tensor | None) -> None:
        """Add what a frame gains from sharper ones."""
        done.lucky += gain is not None and latest.number >= before
        fade(latest.gaining(gain))

    def fade(latest: _Restored) -> None:
        """Let a frame fade, if frames do, and hand on those whose share of the change is known."""
        if fading is None:
            finish(latest, 1.0)
            return
        gain = gain_of(latest.seen(), latest.change)
        least, most = done.gains or (gain, gain)
        done.gains = min(least, gain), max(most, gain)
        for earlier, part in fading.add(latest, gain, latest.cut):
            finish(earlier, part)

    held: list[_Window] = []
    """Windows that are restored in one call: on a processor there is one."""

    def restore() -> None:
        """Restore the windows that are held, and finish what has its share by then; none is held when this returns."""
        pictures = [[picture for _, picture, _ in around] for _, _, around in held]
        several = restorer.several(pictures) if len(held) > 1 and isinstance(restorer, SeveralRestorer) else None
        for place, (number, (frame, picture, cut), _) in enumerate(held):
            result = restore_frame(restorer, pictures[place], None if several is None else several.pop(0))
            if number >= before and beside is not None:
                beside(frame, picture)
            latest = _Restored(number, frame, picture, cut, *result)
            del result  # else its change would stay until the next one's
            take(latest, picture)
            rate = (number + 1 - (first or 0)) / (time.monotonic() - started)
            console.progress("restoring", number + 1, total, fps=round(rate, 2))
        held.clear()

    def take(latest: _Restored, picture: Tensor) -> None:
        if lucky is None:
            return fade(latest)
        whole = None if latest.broken else unit(picture) + latest.change
        for earlier, gain in lucky.add(latest.waiting(), whole, latest.cut):
            improve(earlier, gain)

    if waiting < QUEUE_FRAMES:
        release_memory()
    try:
        for stage in stages:
            stage.start()
        for number, (anew, centre, around) in enumerate(_chains(frames(), restorer.window)):
            if centre[-1] and per_shot:
                restore()
                restorer = next(following, restorer)
            if restorer.window > 1 and anew:
                restore()
                restorer.restart()
            if first is None and number >= earliest and (restorer.window == 1 or anew):
                first = number
            if first is None:
                console.progress("passing over finished frames", number + 1, before)
                continue
            held.append((number, centre, around))
            if len(held) >= windows_at_once(restorer, centre[0]):
                restore()
        restore()
        for earlier, gain in () if lucky is None else lucky.rest():
            improve(earlier, gain)
        for earlier, part in () if fading is None else fading.rest():
            finish(earlier, part)
        if stages:
            restored.put(END)
            stages[1].join()
    except Stopped:
        pass
    finally:
        stop.set()
        if give_up is not None:
            give_up()
        for stage in stages:
            stage.join()
    for stage in stages:
        if stage.error is not None:
            raise stage.error
    done.seconds = time.monotonic() - started
    return done
