"""No adaptation: the network restores every video as it was trained to.

What differs from a paper: nothing, there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

from deblurcli.adaptation.outcome import PreparedNetwork
from deblurcli.adaptation.work import Clip, Work
from deblurcli.media.footage import Footage
from deblurcli.networks.spec import NetworkSpec
from deblurcli.options.none import NoneOptions
from deblurcli.restore.worker import Placed, Worker


def stages(spec: NetworkSpec, options: NoneOptions, clip: Clip) -> dict[str, Work]:
    """Nothing comes before restoring, see :func:`deblurcli.methods.stages`."""
    return {}


def prepare(network: Placed, footages: Sequence[Footage], options: NoneOptions, worker: Worker) -> PreparedNetwork:
    """The network as it is. No footage is looked at."""
    return PreparedNetwork(network, worker.tile)
