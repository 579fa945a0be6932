"""A table of what nobody announced: ``python -m tests.clients [--video|--exact|--image] [--all] [--every=N] [WORD]``.

Only rows whose names have all the words are judged, or every Nth of them; ``--all`` prints every finding, not one of a
kind.
"""

from __future__ import annotations

import sys
from collections import defaultdict

from tests.clients import exact, matrix, pictures
from tests.clients.judge import Verdict
from tests.clients.making import missing
from tests.clients.running import judge_row, running

PARTS = {
    "--video": (matrix.rows, judge_row),
    "--exact": (exact.rows, exact.judge_exact),
    "--image": (pictures.rows, pictures.judge_photo),
}
"""Part of the suite -> its rows, and what judges one."""


def table(verdicts: list[Verdict]) -> list[str]:
    """Findings by kind: how many rows, and one of them."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for verdict in verdicts:
        seen = {difference.kind: f"{verdict.name}: {difference}" for difference in reversed(verdict.unannounced)}
        seen |= {f"false alarm: {line.split(':')[0][:40]}": f"{verdict.name}: {line}" for line in verdict.false_alarms}
        seen |= {fault[:60]: f"{verdict.name}: {fault}" for fault in verdict.faults}
        for kind, example in seen.items():
            kinds[kind].append(example)
    by_count = sorted(kinds.items(), key=lambda item: -len(item[1]))
    return [f"{len(examples):4d}  {kind}\n        {examples[0]}" for kind, examples in by_count]


def main(words: list[str]) -> int:
    if packages := missing():
        print(f"not installed: {' '.join(packages)}")
        return 2
    parts = [PARTS[word] for word in words if word in PARTS] or list(PARTS.values())
    names = [word for word in words if not word.startswith("--")]
    step = next((int(word.removeprefix("--every=")) for word in words if word.startswith("--every=")), 1)
    verdicts: list[Verdict] = []
    for rows, judge in parts:
        chosen = [row for row in rows() if all(name in row.name for name in names)][::step]
        with running(judge, chosen) as futures:
            verdicts += [_told(futures[row].result(), "--all" in words) for row in chosen]
    made = [verdict for verdict in verdicts if not verdict.unmakeable]
    print(f"{len(made)} rows judged, {sum(v.right for v in made)} right")
    print("\n".join(table(made)))
    return int(any(not verdict.right for verdict in made))


def _told(verdict: Verdict, every: bool) -> Verdict:
    """The verdict, its findings printed as soon as they are known."""
    if verdict.unmakeable:
        print(f"not made: {verdict.name}: {verdict.unmakeable}", flush=True)
    elif every and not verdict.right:
        said = verdict.outcome.differences if verdict.outcome else []
        print("\n  ".join([verdict.name, *verdict.lines(), f"announced: {' | '.join(said)}"]), flush=True)
    return verdict


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
