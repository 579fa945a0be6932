"""`deblur doctor`."""

from __future__ import annotations

from deblurcli.cli.session import Session


def doctor(session: Session) -> None:
    """Show what will be used on this machine, and why."""
    from deblurcli.jobs.doctor import findings

    rows = findings()
    width = max(len(what) for what, _ in rows)
    for what, found in rows:
        session.console.result(f"{what:{width}}  {found}")
