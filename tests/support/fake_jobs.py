"""Jobs that note what they were asked for, in the place of those that restore."""

from __future__ import annotations

from types import SimpleNamespace

FIELDS = {
    "VideoJob": ["source", "destination", "options", "method", "compute", "together", "in_batch"],
    "ImageJob": ["source", "destination", "options", "tta", "compute", "in_batch"],
    "SynthJob": ["source", "destination", "options"],
}
"""A test compares them with the jobs' own."""


class Worker:
    def __init__(self, compute, console):
        self.compute, self.console = compute, console


def result(destination, differences=(), lines=(), facts=None):
    """What a job has to say."""
    said = {"differences": list(differences), "lines": list(lines), "facts": facts or {}, "plan": [], "summary": []}
    return SimpleNamespace(destination=destination, **said)
