"""Work on a graphics card beside the training that is queued there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Side:
    """A stream of its own on a card; on any other device, no difference.

    Blur is made by many small steps that wait for each other. In the stream of the training they would wait for the
    gradients of the batch before, too.
    """

    def __init__(self, where: torch.device) -> None:
        self.where = where
        self.stream = torch.cuda.Stream(where) if where.type == "cuda" else None
        self._taken: torch.cuda.Event | None = None

    @contextmanager
    def work(self) -> Iterator[None]:
        """What is queued inside runs beside the training, after the last :meth:`taken`; the training waits for it.

        Memory that is given back here is used again here alone.
        """
        if self.stream is None:
            yield
            return
        if self._taken:
            self.stream.wait_event(self._taken)
        with torch.cuda.stream(self.stream):
            yield
        torch.cuda.current_stream(self.where).wait_stream(self.stream)

    def taken(self) -> None:
        """The training has queued all that it reads of what was made here."""
        if self.stream is not None:
            self._taken = torch.cuda.current_stream(self.where).record_event()
