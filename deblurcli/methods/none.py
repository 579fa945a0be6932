"""No adaptation: the network restores every video as it was trained to.

What differs from a paper: nothing, there is none.
"""

from __future__ import annotations

from deblurcli.adaptation.outcome import PreparedNetwork
from deblurcli.media.footage import Footage
from deblurcli.options.none import NoneOptions
from deblurcli.restore.worker import Placed, Worker


def prepare(network: Placed, footage: Footage, options: NoneOptions, worker: Worker) -> PreparedNetwork:
    """The network as it is. The footage is not looked at."""
    return PreparedNetwork(network, worker.tile)
