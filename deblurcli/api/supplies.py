"""Weights, and what is on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from deblurcli.api.keywords import FilePath
from deblurcli.console import Reporter
from deblurcli.jobs.doctor import findings, speeds
from deblurcli.weights import registry
from deblurcli.weights.pull import import_files, pull


def pull_weights(name: str, *, accept_licence: bool = False, console: Reporter | None = None) -> Path:
    """Fetch weights into the cache and verify them; nothing is fetched that is there and whole.

    Raises:
        WeightsError: no such weights, a licence that was not accepted, or a file that is not the registry's.
        OfflineError: the connection is forbidden or fails.
    """
    return pull(registry.find(name), console or Reporter.silent(), accept_licence=accept_licence)


def import_weights(
    files: Iterable[FilePath],
    network: str,
    destination: FilePath | None = None,
    *,
    overwrite: bool = False,
    console: Reporter | None = None,
) -> Path:
    """Convert weights as their authors published them, into the cache or a file of one's own.

    Raises:
        WeightsError: the files are not the network's.
        UsageError, OutputError: the destination exists, or cannot be written.
    """
    target = None if destination is None else Path(destination)
    paths = [Path(file) for file in files]
    return import_files(paths, network, console or Reporter.silent(), target, overwrite=overwrite)


def doctor(*, speed: bool = False, console: Reporter | None = None) -> list[tuple[str, str]]:
    """What will be used on this machine, and why: rows of name and finding.

    ``speed``: the networks are timed, too, and what is found is kept for plans. Raises DeblurError: it cannot be.
    """
    return findings() + (speeds(console or Reporter.silent()) if speed else [])
