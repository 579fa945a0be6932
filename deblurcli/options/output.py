"""What happens to outputs that exist."""

from __future__ import annotations

from dataclasses import dataclass

from deblurcli.options.option import check, option, require


@dataclass(frozen=True)
class OutputOptions:
    """What every command that restores files takes."""

    overwrite: bool = option(False, help="Replace outputs that exist.", panel="Output")
    skip_existing: bool = option(False, help="Leave outputs that exist as they are.", panel="Output")

    def __post_init__(self) -> None:
        check(self)
        both = self.overwrite and self.skip_existing
        require(not both, "--overwrite and --skip-existing exclude each other", "give one")
