"""The weights that an adaptation starts from."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from deblurcli.errors import UsageError
from deblurcli.options.meta import MetaOptions
from deblurcli.options.reblur2deblur import Reblur2DeblurOptions
from deblurcli.restore.worker import Placed, Worker
from deblurcli.weights import registry

LEARNT = "network"
"""The model of blur that is learnt; the others are fitted to a video."""


def initial_weights(network: Placed, options: MetaOptions | Reblur2DeblurOptions, worker: Worker) -> Placed | None:
    """The weights to adapt from, of the network or of its part that adapts; None where they are the network's own.

    Weights that were meta-learned with another model of blur (their card says which: a fitted one, or a reblurring
    network) are never chosen by themselves; a user who names them is warned.

    Returns:
        a module of the form of the network's part that adapts.

    Raises:
        WeightsError: no such weights.
        UsageError: they are another network's.
    """
    chosen, model = options.initial or "own", options.reblurring if isinstance(options, MetaOptions) else "flow"
    if chosen == "auto":
        entry = registry.installed().weights.get(network.name)
        # A file of the user's may have the name of registered weights.
        own = entry is not None and entry.sha256 == network.sha256
        chosen = entry.adapt_from.get(model, "") if own and entry is not None else ""
    if chosen in ("", "own"):
        return None
    initial = worker.place(chosen, "meta", "deblur")
    part = network.module.get_submodule(network.spec.alone)
    if not _alike(initial.module, part):
        if not _alike(initial.module, network.module):
            found = f"--initial {chosen} is no {network.network}, nor its part that adapts"
            raise UsageError(found, "give others, or own")
        initial = replace(initial, module=initial.module.get_submodule(network.spec.alone))
    learnt_with = initial.loaded.card.get("reblurring")
    if learnt_with is not None and (learnt_with == LEARNT) != (model == LEARNT):
        worker.warn_once(
            f"--initial {chosen} was learnt to adapt with --reblurring {learnt_with}, here it is {model}; weights that"
            " fit one may be worse than none with the other"
        )
    return initial


def _alike(one: nn.Module, other: nn.Module) -> bool:
    shapes = ({key: value.shape for key, value in module.state_dict().items()} for module in (one, other))
    return next(shapes) == next(shapes)
