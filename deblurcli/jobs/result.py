"""What a job has to say when its file is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Result:
    """How one file was made."""

    destination: Path
    differences: list[str] = field(default_factory=list)
    """What is not as in the input besides the pixels, or was not done as asked for; not empty means exit code 3."""
    lines: list[str] = field(default_factory=list)
    """What was done, with numbers."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The same for machines."""
    summary: list[str] = field(default_factory=list)
    """What came of it in plain words, for people; the first two sentences are enough in a batch. Empty where the lines
    say it."""
