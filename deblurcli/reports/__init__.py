"""What is shown of results: take dataclasses, give text or a picture."""

from __future__ import annotations
