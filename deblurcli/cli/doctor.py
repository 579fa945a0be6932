"""`deblur doctor`."""

from __future__ import annotations

import json
from dataclasses import dataclass

from deblurcli.cli.session import Format, Session
from deblurcli.options.option import Options, option
from deblurcli.texts import aligned, by_name


@dataclass(frozen=True)
class Measured(Options):
    """What is measured besides what is found."""

    speed: bool = option(
        False, "Measure how fast the networks are, and keep it, so that plans need not measure.", "Result"
    )


def doctor(session: Session, *, measured: Measured, format: Format) -> None:
    """Show what will be used on this machine, and why.

    With --speed, the networks that the commands use by themselves are timed for a few seconds. What is found is kept in
    the cache for the plans of `deblur video`, and for the choice of how convolutions are computed: run it when the
    machine has nothing else to do.
    """
    from deblurcli.jobs.doctor import findings, speeds

    rows = findings()
    if measured.speed:
        rows += speeds(session.console)
    if format.form == "json":
        session.console.result(json.dumps(by_name(rows)))
        return
    for line in aligned(rows):
        session.console.result(line)
