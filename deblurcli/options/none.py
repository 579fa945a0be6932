"""Restoring without adapting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NoneOptions:
    """The method none has no options."""
