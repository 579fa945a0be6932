"""The end of a run in plain words: whether the result is sharper, what was adapted or why not, what was kept.

For somebody who knows no paper. The numbers are in the lines of ``--verbose`` and in the run's record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from deblurcli.adaptation.outcome import Outcome
from deblurcli.metrics.edge_strength import MIN_PIXELS, edge_strength

MAX_FRAMES = 24
"""Frames that are compared with the input's, evenly spread."""
SAME = 0.01
"""Relative difference of the edges' strength below which neither version is called the sharper one."""
STANDARD = "the standard result was kept"


@dataclass
class Sharpness:
    """Whether restored frames are sharper than the input's: their mean edge strength.

    Args:
        total: expected number of frames; every one of a few is compared, else some evenly spread.
    """

    total: int | None = None
    seen: int = 0
    frames: int = 0
    before: float = 0.0
    after: float = 0.0

    def add(self, made: Callable[[], Tensor], change: Tensor) -> None:
        """Look at a frame as it was (3 x H x W in [0, 1] or bytes; made only where it is compared) and its change."""
        every = max((self.total or MAX_FRAMES) // MAX_FRAMES, 1)
        if self.seen % every == 0 and self.frames < MAX_FRAMES and min(change.shape[1:]) >= MIN_PIXELS:
            self.frames += 1
            picture = made()
            self.before += edge_strength(picture)
            self.after += edge_strength(picture, change)
        self.seen += 1

    @property
    def ratio(self) -> float | None:
        """Edge strength of the result, relative to the input's; None where the input has no edges."""
        return self.after / self.before if self.before > 0 else None

    @property
    def verdict(self) -> str:
        """``sharper``, ``softer`` or ``about as sharp``; empty where that cannot be told."""
        if self.ratio is None:
            return ""
        if abs(self.ratio - 1) < SAME:
            return "about as sharp"
        return "sharper" if self.ratio > 1 else "softer"

    def sentence(self) -> str:
        """Whether the result is sharper than the input; empty where that cannot be told."""
        than = "as" if self.verdict == "about as sharp" else "than"
        return f"The result is {self.verdict} {than} the input." if self.verdict else ""

    def facts(self) -> dict[str, Any]:
        """For the record."""
        if self.ratio is None:
            return {}
        return {"sharpness": {"verdict": self.verdict, "edge_strength": round(self.ratio, 4), "frames": self.frames}}


def adaptation_sentence(outcomes: Sequence[Outcome], what: str) -> str:
    """What was adapted, and whether it was kept.

    Args:
        outcomes: of the clip or, several, of its shots.
        what: the clip or the picture, for people.
    """
    if not outcomes:
        return "Nothing was adapted: the standard network restored it."
    if len(outcomes) == 1:
        return " ".join(_sentence(outcome, what) for outcome in _chain(outcomes[0]))
    kept = sum(outcome.kept for outcome in outcomes)
    if kept == len(outcomes):
        return f"The network was adapted to each of the {kept} shots."
    return f"Adapting was of use in {kept} of {len(outcomes)} shots; in the others {STANDARD}."


def lucky_sentence(count: int, total: int) -> str:
    """How many frames took detail from sharper ones; nothing where none did."""
    if not count:
        return ""
    which = "All frames" if count == total else f"{count} of {total} frames"
    return f"{which} took detail from sharper ones around {'it' if count == 1 else 'them'}."


def untouched_sentence(count: int, total: int) -> str:
    """How many frames were sharp already, and left as they are."""
    if not count:
        return "No frame was so sharp that it was left as it is."
    which = "All frames were" if count == total else f"{count} of {total} frames {'was' if count == 1 else 'were'}"
    return f"{which} sharp already and left as {'it is' if count == 1 and total > 1 else 'they are'}."


def kept_sentence(kinds: Sequence[str], differences: Sequence[str]) -> str:
    """What was kept besides the picture.

    Args:
        kinds: of the input's other streams.
        differences: what was not kept, which is told elsewhere.
    """
    if differences:
        return "Not everything could be kept or done as asked: see below."
    counts = [f"{count} {kind} stream{'s' * (count > 1)}" for kind, count in Counter(kinds).items()]
    return f"Everything but the picture is as it was: {', '.join(['times and tags', *counts])}."


def _chain(outcome: Outcome) -> list[Outcome]:
    return [outcome, *([] if outcome.then is None else _chain(outcome.then))]


def _sentence(outcome: Outcome, what: str) -> str:
    facts, judged = outcome.facts, bool(outcome.facts.get("looks"))
    if "translator" in facts:
        return f"Before it was restored, the blur of {what} was translated by {facts['translator']}."
    doing, done = "Adapting", f"The network was adapted to {what}"
    if outcome.method == "blur2blur":
        doing, done = "Translating its blur", f"A translator of its blur was learnt from {what}"
    if not outcome.kept:
        if judged:
            return f"{doing} did not help {what}; {STANDARD}."
        return f"{doing} was not possible: {outcome.reason}; {STANDARD}."
    failed, tried = facts.get("undone", 0), facts.get("adaptations", 1)
    if failed:
        return f"{done}, frame by frame; for {failed} of {tried} frames that failed, and {STANDARD}."
    if not judged:
        return f"{done}; whether that helped was not checked."
    return f"{done}, which helped on parts of it that were kept aside."
