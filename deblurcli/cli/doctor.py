"""`deblur doctor`."""

from __future__ import annotations

from deblurcli.cli.session import Session
from deblurcli.console import aligned


def doctor(session: Session) -> None:
    """Show what will be used on this machine, and why."""
    from deblurcli.jobs.doctor import findings

    for line in aligned(findings()):
        session.console.result(line)
