"""What a job has to say when its file is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deblurcli.errors import UsageError


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
    plan: list[str] = field(default_factory=list)
    """What would be done, where nothing was."""
    summary: list[str] = field(default_factory=list)
    """What came of it in plain words, for people; the first two sentences are enough in a batch. Empty where the lines
    say it."""


def skipped(destination: Path) -> Result:
    """What is said of an output that exists and is left as it is. Raises UsageError: it is empty, so no result."""
    if destination.exists() and not destination.stat().st_size:
        raise UsageError(f"{destination} exists, but is empty", "remove it, and it is made")
    return Result(destination, lines=[f"{destination} exists, skipped"], facts={"skipped": True})
