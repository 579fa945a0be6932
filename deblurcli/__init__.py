"""Remove motion blur from one video at a time, by adapting networks to that video.

The public names are imported on first use, so that importing this package loads neither torch nor av.
"""

from typing import Any

from deblurcli.version import __version__

__all__ = ["__version__", "deblur_image", "deblur_video", "inspect", "measure"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from deblurcli import api

        return getattr(api, name)
    raise AttributeError(f"module 'deblurcli' has no attribute {name!r}")
