"""Damaged by a seed: nothing that a file promised, or that a decoder complained of, passes in silence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fuzz import fuzz


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_damage_passes_in_silence(tmp_path: Path) -> None:
    verdicts = fuzz(tmp_path, seed=7, mutations=1000, truncations=200, written=4)
    silent = {name: {word: n for word, n in found.items() if "silent" in word} for name, found in verdicts.items()}
    # A transport stream may lose whole packets between two frames: nothing in it says how many there were.
    for name in [name for name in silent if name.endswith(".ts")]:
        silent[name] = {word: n for word, n in silent[name].items() if "missing" not in word}
    assert not {name: found for name, found in silent.items() if found}
    total = sum(verdicts.values(), Counter())
    assert total["mutated: said"] > 300 and total["truncated: said"] + total["truncated: refused (InputError)"] > 150
