"""The network that a user names: fetched if it is missing, verified, and loaded."""

from __future__ import annotations

from deblurcli.console import Reporter
from deblurcli.networks.spec import Role
from deblurcli.weights import registry
from deblurcli.weights.load import LoadedNetwork, is_name, load_network, require_role
from deblurcli.weights.pull import ensure


def load_chosen(
    name: str, job: str, role: Role, *, offline: bool = False, report: Reporter | None = None
) -> LoadedNetwork:
    """Load a network by what a user gave for it.

    Args:
        name: a name in the registry, the path of a file, or ``default`` for what the registry's set ``job`` uses.
        role: what the network must do.
        offline: do not fetch weights that are missing. Otherwise they are fetched if their licence is free.

    Raises:
        WeightsError: see :func:`load_network`.
        OfflineError: they would have to be fetched, but cannot be.
    """
    chosen = registry.weights_of(job)[role].name if name == "default" else name
    if is_name(chosen):
        entry = registry.find(chosen)
        # Before anything is fetched.
        require_role(f"weights {chosen!r}", entry.network, role)
        ensure(entry, offline=offline, report=report or Reporter.silent())
    return load_network(chosen, role=role)
