"""The verdict on one file: which differences nobody announced, and which announcements are of nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.comparison import differences
from tests.clients.facts import facts
from tests.clients.kinds import SAME_KIND_OF_FILE, Difference
from tests.clients.others import boxes, decoding, exiftool, mediainfo
from tests.clients.product import Outcome


@dataclass
class Verdict:
    """What the judge found of one row."""

    name: str
    outcome: Outcome | None = None
    unmakeable: str = ""
    """Why this ``ffmpeg`` makes no such clip."""
    unannounced: list[Difference] = field(default_factory=list)
    announced: list[Difference] = field(default_factory=list)
    false_alarms: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """A refusal, a wrong exit code."""

    @property
    def right(self) -> bool:
        return not (self.unannounced or self.false_alarms or self.faults)

    def lines(self) -> list[str]:
        return [
            *(f"not announced: {difference}" for difference in self.unannounced),
            *(f"announced, but nothing differs: {line}" for line in self.false_alarms),
            *self.faults,
        ]


def judged(name: str, source: Path, result: Path, outcome: Outcome) -> Verdict:
    """Compare what was made with what it was made from."""
    verdict = Verdict(name, outcome)
    if outcome.code not in (0, 3):
        verdict.faults.append(f"exit {outcome.code}: {outcome.message}")
        return verdict
    if (outcome.code == 3) != bool(outcome.differences):
        verdict.faults.append(f"exit {outcome.code} with {len(outcome.differences)} announced differences")
    before, after = facts(source), facts(result)
    kinds = [SAME_KIND_OF_FILE.get(path.suffix[1:], path.suffix[1:]) for path in (source, result)]
    found = differences(before, after, kinds[0] == kinds[1])
    found += [*mediainfo(before, after, kinds[0] == kinds[1]), *decoding(before, after)]
    if kinds == ["iso", "iso"]:
        found += [*exiftool(before, after), *boxes(before, after)]
    return weighed(verdict, found)


def weighed(verdict: Verdict, found: list[Difference]) -> Verdict:
    """Hold what was found against what was announced."""
    said = verdict.outcome.differences if verdict.outcome else []
    for difference in found:
        if any(difference.announced_by(line) for line in said):
            verdict.announced.append(difference)
        elif not difference.tolerated:
            verdict.unannounced.append(difference)
    verdict.false_alarms += [line for line in said if not any(d.announced_by(line) for d in found)]
    return verdict
