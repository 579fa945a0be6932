"""The version, alone so that building a package needs nothing else."""

from __future__ import annotations

__version__ = "0.1.0"
