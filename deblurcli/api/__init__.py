"""What the commands do, for Python: every option of the command line is a keyword here, under the same name.

Files: :func:`deblur_video`, :func:`deblur_image`, :func:`take_frames` (``deblur frames``), :func:`take_still`
(``deblur still``), :func:`measure`, :func:`compare`, :func:`inspect`, :func:`make_pairs` (``deblur synth``),
:func:`train_network` (``deblur train``) and :func:`train_chain` (``deblur train chain``). Datasets: :func:`evaluate`.
Pictures in memory: :func:`load` and :func:`adapt`. Weights: :func:`pull_weights`, :func:`import_weights`.

All raise the errors of :mod:`deblurcli.errors`, each with its cure. A keyword that is None was not given: the method,
the stage or the file decides. ``worker`` keeps networks from call to call (:class:`Worker`), and then ``device``,
``dtype``, ``tile`` and ``offline`` are its own; ``console`` says where progress and messages go, which is nowhere if
not given.
"""

from __future__ import annotations

from deblurcli.api.learning import make_pairs, train_chain, train_network
from deblurcli.api.measuring import compare, evaluate, inspect, measure
from deblurcli.api.moments import take_frames, take_still
from deblurcli.api.restoring import adapt, deblur_image, deblur_video, load
from deblurcli.api.supplies import doctor, import_weights, pull_weights

__all__ = [
    "adapt", "compare", "deblur_image", "deblur_video", "doctor", "evaluate", "import_weights", "inspect", "load",
    "make_pairs", "measure", "pull_weights", "take_frames", "take_still", "train_chain", "train_network",
]  # fmt: skip
