"""Restoring without adapting."""

from __future__ import annotations

from dataclasses import dataclass

from deblurcli.options.option import Options


@dataclass(frozen=True)
class NoneOptions(Options):
    """The method none has no options."""
