"""Threads that work ahead: stages with bounded queues between them; the first failure stops all of them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

QUEUE_FRAMES = 4
"""Frames that may wait between two stages: enough to hide jitter, little enough to bound memory."""

END = object()


class Stopped(Exception):
    """Raised inside a stage when another stage has failed."""


class Thread(threading.Thread):
    """A thread that runs one stage; the first failure of any stage stops all of them."""

    def __init__(self, work: Callable[[], None], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.work, self.stop = work, stop
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except Stopped:
            pass
        except BaseException as error:
            self.error = error
            self.stop.set()


class Pipe:
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
        raise Stopped

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                item = self.queue.get(timeout=0.2)
            except queue.Empty:
                if self.stop.is_set():
                    raise Stopped from None
                continue
            if item is END:
                return
            yield item


def ahead(items: Iterable[Any], waiting: int = QUEUE_FRAMES) -> Generator[Any, None, None]:
    """The same items, made on a thread of their own while the caller works on earlier ones.

    At most ``waiting`` of them wait. An error in making them is raised here.
    """
    stop = threading.Event()
    made = Pipe(stop, waiting)

    def make() -> None:
        for item in items:
            made.put(item)
        made.put(END)

    stage = Thread(make, stop)
    stage.start()
    try:
        yield from made
    except Stopped:
        pass
    finally:
        stop.set()
        stage.join()
    if stage.error is not None:
        raise stage.error
