"""`deblur doctor`."""

from __future__ import annotations

import typer

from deblurcli.cli.session import Log, Quiet, Verbose, begin


def doctor(ctx: typer.Context, quiet: Quiet = False, verbose: Verbose = False, log: Log = "") -> None:
    """Show what will be used on this machine, and why."""
    report = begin(ctx, quiet, verbose, log)
    from deblurcli import api

    rows = api.doctor()
    width = max(len(what) for what, _ in rows)
    for what, found in rows:
        report.result(f"{what:{width}}  {found}")
