"""The network that a user names: fetched if it is missing, verified, and loaded."""

from __future__ import annotations

from deblurcli.console import Reporter
from deblurcli.networks.spec import Role
from deblurcli.weights import registry
from deblurcli.weights.load import LoadedNetwork, is_name, load_network, require_role
from deblurcli.weights.pull import ensure
from deblurcli.weights.store import listing

BEST = ("nafnet-w64", "restormer", "nafnet-w32", "mprnet", "mimo-unet-plus")
"""Deblurring networks that others published, by the PSNR on GoPro that their authors state, the highest first."""


def resolved(chosen: str, job: str, role: Role) -> str:
    """What a user gave for a network as a name of the registry or the path of a file.

    ``default`` is what the registry's set ``job`` uses; ``best`` the first of :data:`BEST` that is on this machine, and
    the default where none is or ``role`` is another. Nothing is fetched. Raises WeightsError: there is no such set.
    """
    if chosen == "best":
        there = {row.entry.name for row in listing() if row.path is not None} if role == "deblur" else set()
        chosen = next((name for name in BEST if name in there), "default")
    return registry.weights_of(job)[role].name if chosen == "default" else chosen


def load_chosen(
    name: str, job: str, role: Role, *, offline: bool = False, report: Reporter | None = None
) -> LoadedNetwork:
    """Load a network by what a user gave for it.

    Args:
        name: a name in the registry, the path of a file, ``default`` or ``best``, see :func:`resolved`.
        role: what the network must do.
        offline: do not fetch weights that are missing. Otherwise they are fetched if their licence is free.

    Raises:
        WeightsError: see :func:`load_network`.
        OfflineError: they would have to be fetched, but cannot be.
    """
    chosen = resolved(name, job, role)
    if is_name(chosen):
        entry = registry.find(chosen)
        # Before anything is fetched.
        require_role(f"weights {chosen!r}", entry.network, role)
        ensure(entry, offline=offline, report=report or Reporter.silent())
    return load_network(chosen, role=role)
