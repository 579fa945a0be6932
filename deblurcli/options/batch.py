"""Which of many files are done, by how many processes, and what is written down about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deblurcli.options.option import Options, option, require

_PANEL = "Batch"


@dataclass(frozen=True)
class BatchOptions(Options):
    """What every command that restores files takes for batches of them."""

    files_from: Path | None = option(
        None,
        "Take the inputs of a list, too: one on each line, or NUL between them; - is stdin.",
        _PANEL,
        metavar="LIST|-",
    )
    shard: str | None = option(
        None,
        "Do share I of N, by a hash of the paths; auto: as the scheduler of the cluster counts its tasks.",
        _PANEL,
        metavar="I/N|auto[/N]",
    )
    workers: str = option(
        "1", "Processes that restore at the same time; auto: one for each graphics card.", _PANEL, metavar="N|auto"
    )
    cluster: str | None = option(
        None,
        "Restore on the machines of a Ray cluster; local: begin one here.",
        _PANEL,
        metavar="ADDRESS|local",
    )
    keep_going: bool = option(
        True, "Go on after a failure, or begin no further file.", _PANEL, flags=("--keep-going/--stop-on-error",)
    )
    report: Path | None = option(None, "Add a JSON line for each file: what came of it.", _PANEL)
    failed: Path | None = option(None, "Write the inputs that are not done, as --files-from takes them.", _PANEL)

    def __post_init__(self) -> None:
        if isinstance(self.workers, int):
            object.__setattr__(self, "workers", str(self.workers))
        super().__post_init__()
        fits = self.workers == "auto" or (self.workers.isdecimal() and int(self.workers) > 0)
        require(fits, f"--workers {self.workers} is not a number of processes", "give 1 or more, or auto")
