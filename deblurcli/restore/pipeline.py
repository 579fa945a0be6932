"""The per-video loop: decode, infer and encode at the same time, in bounded queues."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol

import torch
from torch import Tensor

from deblurcli.media.reader import Frame
from deblurcli.report import Reporter
from deblurcli.restore.shots import CutDetector, windows

QUEUE_FRAMES = 4
"""Frames that may wait between two stages: enough to hide jitter, little enough to bound memory."""

ABSURD_CHANGE = 0.25
"""Mean absolute change of a frame, of the full scale, that no deblurring makes."""

_END = object()


class Network(Protocol):
    """What the loop needs of a restorer: a window of frames in, each 3 x H x W, the restored centre frame out."""

    @property
    def window(self) -> int: ...

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor: ...


@dataclass
class Restoration:
    """What the loop did."""

    frames: int = 0
    replaced: int = 0
    """Frames that came out broken, for which the input frame was written."""
    cuts: int = 0
    """Found between shots; looked for when the network takes several frames, which must be of one shot, or when every
    shot has its own network."""
    seconds: float = 0.0


class _Stopped(Exception):
    """Raised inside a stage when another stage has failed."""


class _Stage(threading.Thread):
    """A thread that runs one stage; the first failure of any stage stops all of them."""

    def __init__(self, work: Callable[[], None], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.work, self.stop = work, stop
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except _Stopped:
            pass
        except BaseException as error:
            self.error = error
            self.stop.set()


class _Pipe:
    """A bounded queue whose ends give up when the job is stopped."""

    def __init__(self, stop: threading.Event, size: int = QUEUE_FRAMES) -> None:
        self.queue: queue.Queue[Any] = queue.Queue(size)
        self.stop = stop

    def put(self, item: Any) -> None:
        while not self.stop.is_set():
            try:
                return self.queue.put(item, timeout=0.2)
            except queue.Full:
                continue
        raise _Stopped

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                item = self.queue.get(timeout=0.2)
            except queue.Empty:
                if self.stop.is_set():
                    raise _Stopped from None
                continue
            if item is _END:
                return
            yield item


def ahead(items: Iterable[Any]) -> Generator[Any, None, None]:
    """The same items, made on a thread of their own while the caller works on those before.

    Some at most wait. What goes wrong in making them is raised here.
    """
    stop = threading.Event()
    made = _Pipe(stop)

    def make() -> None:
        for item in items:
            made.put(item)
        made.put(_END)

    stage = _Stage(make, stop)
    stage.start()
    try:
        yield from made
    except _Stopped:
        pass
    finally:
        stop.set()
        stage.join()
    if stage.error is not None:
        raise stage.error


def restore_frame(network: Network, frames: list[Tensor]) -> tuple[Tensor, bool]:
    """The change to the centre frame (3 x H x W), and whether the result was broken and the change is therefore zero.

    A result that is not finite is computed again in float32 before it is given up.
    """
    centre = frames[len(frames) // 2]
    for precise in (False, True):
        change = network(frames, precise=precise) - centre
        if torch.isfinite(change).all():
            if float(change.abs().mean()) > ABSURD_CHANGE:
                break
            return change, False
    return torch.zeros_like(centre), True


def restore_video(
    items: Iterable[Any],
    write: Callable[[Any], None],
    network: Network,
    report: Reporter,
    *,
    next_shot: Callable[[], Network] | None = None,
    total: int | None = None,
) -> Restoration:
    """Restore every frame among ``items`` (frames and packets in file order) and hand all of them to ``write``.

    A network that takes several frames gets those of one shot: what lies behind a cut has no influence. With
    ``next_shot``, ``network`` is that of the first shot, and each later shot is restored by what ``next_shot`` returns
    when it begins.

    Decoding, inference and encoding run at the same time; a few frames at most wait between them. An exception in any
    stage stops the others within a second and is raised here.
    """
    done = Restoration()
    started = time.monotonic()
    stop = threading.Event()
    decoded, restored = _Pipe(stop), _Pipe(stop)
    is_cut = CutDetector() if network.window > 1 or next_shot is not None else None

    def decode() -> None:
        for item in items:
            if isinstance(item, Frame):
                # Cuts are looked for in what the survey has seen, so that both find the same.
                decoded.put((item, item.rgb(), is_cut is not None and is_cut(item.preview())))
            else:
                decoded.put((item, None, False))
        decoded.put(_END)

    def encode() -> None:
        for item, change in restored:
            write(item if change is None else item.with_change(change))

    stages = [_Stage(decode, stop), _Stage(encode, stop)]

    def frames() -> Iterator[tuple[Frame, Tensor, bool]]:
        for item, picture, cut in decoded:
            if picture is None:
                restored.put((item, None))  # a copied packet: not ours to change
            else:
                done.cuts += cut
                yield item, picture, cut

    try:
        for stage in stages:
            stage.start()
        for (frame, _, cut), around in windows(frames(), network.window, starts_shot=itemgetter(2)):
            if cut and next_shot is not None:
                network = next_shot()
            change, broken = restore_frame(network, [picture for _, picture, _ in around])
            done.frames += 1
            done.replaced += broken
            restored.put((frame, None if broken else change))
            rate = done.frames / (time.monotonic() - started)
            report.progress("restoring", done.frames, total, fps=round(rate, 2))
        restored.put(_END)
        stages[1].join()
    except _Stopped:
        pass
    finally:
        stop.set()
        for stage in stages:
            stage.join()
    for stage in stages:
        if stage.error is not None:
            raise stage.error
    done.seconds = time.monotonic() - started
    return done
