"""Runs of training that stop on the way."""

from __future__ import annotations

from deblurcli.console import Reporter


class Stop(Exception):
    """The run stops here."""


class StopsAt(Reporter):
    """Says nothing, and stops the run when it tells of an iteration."""

    def __init__(self, iteration: int) -> None:
        super().__init__(quiet=True)
        self.iteration = iteration

    def progress(self, task: str, done: float, total: float | None, **facts: object) -> None:
        if facts.get("iteration") == self.iteration:
            raise Stop
