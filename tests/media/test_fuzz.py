"""Damaged by a seed: what a file promised, and what a decoder complained of, does not pass in silence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fuzz import fuzz

MAX_SILENT = 0.01
"""Share of the cases in which frames or packets may be missing unsaid."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_damage_passes_in_silence(tmp_path: Path) -> None:
    verdicts = fuzz(tmp_path, seed=7, mutations=1000, truncations=200, written=4)
    total = sum(verdicts.values(), Counter())
    silent = {word: number for word, number in total.items() if "silent" in word}
    # Where whole packets of a transport stream or clusters of Matroska vanish between two frames, nothing tells.
    missing = sum(number for word, number in silent.items() if word.endswith(" missing"))
    assert missing == sum(silent.values()), silent
    assert missing <= MAX_SILENT * 1200, verdicts
    assert total["mutated: said"] > 300 and total["truncated: said"] + total["truncated: refused (InputError)"] > 150
