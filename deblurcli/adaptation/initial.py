"""The weights that an adaptation starts from."""

from __future__ import annotations

from deblurcli.errors import UsageError
from deblurcli.options.meta import MetaOptions
from deblurcli.options.reblur2deblur import Reblur2DeblurOptions
from deblurcli.restore.worker import Placed, Worker
from deblurcli.weights import registry


def initial_weights(network: Placed, options: MetaOptions | Reblur2DeblurOptions, worker: Worker) -> Placed | None:
    """The weights to adapt from, of the network or of its part that adapts; None where they are the network's own.

    Raises:
        WeightsError: no such weights.
        UsageError: they are another network's.
    """
    chosen = options.initial or "own"
    if chosen == "auto":
        entry = registry.installed().weights.get(network.name)
        # A file of the user's may have the name of registered weights.
        chosen = entry.adapt_from if entry is not None and entry.sha256 == network.sha256 else ""
    if chosen in ("", "own"):
        return None
    initial = worker.place(chosen, "meta", "deblur")
    part = network.module.get_submodule(network.spec.alone).state_dict()
    if {k: v.shape for k, v in part.items()} != {k: v.shape for k, v in initial.module.state_dict().items()}:
        raise UsageError(f"--initial {chosen} is no {network.network}, nor its part that adapts", "give others, or own")
    return initial
