"""Damaged by a seed: what a file promised, and what a decoder complained of, does not pass in silence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fuzz import fuzz

MAX_SILENT = 2
"""Cases of 1,200: where the end of one picture and the begin of the next are wiped, what is left may fit together."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [7, 11])
def test_no_damage_passes_in_silence(tmp_path: Path, seed: int) -> None:
    verdicts = fuzz(tmp_path, seed, mutations=1000, truncations=200, written=4)
    total = sum(verdicts.values(), Counter())
    silent = {word: number for word, number in total.items() if "silent" in word}
    missing = sum(number for word, number in silent.items() if word.endswith(" missing"))
    assert missing == sum(silent.values()) and missing <= MAX_SILENT, verdicts
    # A damaged input is never taken for an output that cannot be written.
    assert not [word for word in total if "OutputError" in word], verdicts
    assert total["mutated: said"] > 600 and total["truncated: said"] + total["truncated: refused (InputError)"] > 190
