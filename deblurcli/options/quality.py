"""How much time a result may take: a row of settings for each word of ``--quality``."""

from __future__ import annotations

from typing import Any

from deblurcli.options.option import option

USUAL_QUALITY = "balanced"
VIDEO_QUALITIES: dict[str, dict[str, Any]] = {
    "fast": {"method": "none", "network": "plain-unet"},
    "balanced": {"method": "meta", "network": "default"},
    "best": {"method": "meta", "network": "best", "patches": 24, "steps": "100"},
}
"""What the options of a video, and of its method, are where they are not given."""
IMAGE_QUALITIES: dict[str, dict[str, Any]] = {
    "fast": {"network": "default"},
    "balanced": {"network": "default"},
    "best": {"network": "best"},
}
"""The same of an image."""


def quality_option(words: str) -> Any:
    """The option that chooses a row; an option that is given counts more than the row."""
    return option(USUAL_QUALITY, words, "Method", choices=tuple(VIDEO_QUALITIES))


def fill(options: Any, rows: dict[str, dict[str, Any]]) -> None:
    """Set those fields of new options that are None to what the row of their quality says.

    An unknown quality is left to the check of its choices.
    """
    for name, value in rows.get(options.quality, rows[USUAL_QUALITY]).items():
        if getattr(options, name, "") is None:
            object.__setattr__(options, name, value)


def method_settings(quality: str, method: str) -> dict[str, Any]:
    """What the row says of the options of a method; nothing where it is not the row's method."""
    row = VIDEO_QUALITIES[quality]
    if method != row["method"]:
        return {}
    return {name: value for name, value in row.items() if name not in ("method", "network")}
