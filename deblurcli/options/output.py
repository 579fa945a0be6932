"""What happens to outputs that exist."""

from __future__ import annotations

from dataclasses import dataclass

from deblurcli.options.option import Options, option, require


@dataclass(frozen=True)
class OutputOptions(Options):
    """What every command that restores files takes."""

    overwrite: bool = option(False, "Replace outputs that exist.", "Output")
    skip_existing: bool = option(False, "Leave outputs that exist as they are.", "Output")
    strict: bool = option(False, "Refuse an input that is damaged or incomplete.", "Output")

    def __post_init__(self) -> None:
        super().__post_init__()
        both = self.overwrite and self.skip_existing
        require(not both, "--overwrite and --skip-existing exclude each other", "give one")


@dataclass(frozen=True)
class PlannedOptions(OutputOptions):
    """What commands take whose runs can be planned."""

    dry_run: bool = option(False, "Say what would be done and how long it would take, and write nothing.", "Output")
