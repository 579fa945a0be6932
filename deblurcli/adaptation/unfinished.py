"""An adaptation under way, put down from time to time, so that an interrupted run goes on from its latest steps."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deblurcli.adaptation.guard import Guard
from deblurcli.console import Reporter
from deblurcli.errors import InputError, OutputError, UsageError
from deblurcli.weights.state import load_state, part_of, save_state

SECONDS = 15.0
"""Between two times that it is put down: what is lost at most, beside what comes before the first step, which is done
again."""


class Unfinished:
    """All on which the steps that are left depend.

    Everything before the first step is a function of video, options and seed, and done again. Where memory ran out and
    pieces became smaller, nothing is put down any more.

    Args:
        path: the file; None: nothing is put down.
        modules: that the steps move.
        rng: what the steps draw from.
        traces: the losses of each step so far, by name.
        reduced: whether pieces became smaller, since memory ran out.
    """

    def __init__(
        self,
        path: Path | None,
        modules: Mapping[str, nn.Module],
        rng: np.random.Generator | None,
        traces: Mapping[str, list[float]],
        reduced: Callable[[], bool],
        console: Reporter,
    ) -> None:
        self.path, self.modules, self.rng, self.traces, self.reduced = path, modules, rng, traces, reduced
        self.console, self.saved = console, time.monotonic()

    def taken_up(self, optimiser: torch.optim.Optimizer, guard: Guard | None) -> int:
        """How many steps an earlier run has taken; everything then is as it was after them. 0: none are known."""
        if self.path is None or not self.path.exists():
            return 0
        modules = {name: copy.deepcopy(module.state_dict()) for name, module in self.modules.items()}
        before = copy.deepcopy(optimiser.state_dict())
        try:
            facts, tensors = load_state(self.path, self.modules, {"optimiser": optimiser})
            steps, traces = int(facts["steps"]), {name: list(facts["traces"][name]) for name in self.traces}
            if self.rng is not None:
                self.rng.bit_generator.state = facts["rng"]
            if guard is not None:
                guard.restore(facts["guard"], {name: part_of(tensors, name) for name in ("best", "latest")})
            torch.set_rng_state(tensors["torch"])
        except (InputError, UsageError, KeyError, TypeError, ValueError):
            for name, module in self.modules.items():
                module.load_state_dict(modules[name])
            optimiser.load_state_dict(before)
            self.console.warn("what was kept of the adaptation is damaged, its steps are taken anew")
            return 0
        for name, trace in self.traces.items():
            trace[:] = traces[name]
        self.console.note(f"going on after {steps} steps of adapting")
        return steps

    def put_down(self, steps: int, optimiser: torch.optim.Optimizer, guard: Guard | None) -> None:
        """After so many steps, where the time for it has come. What cannot be written is said once."""
        if self.path is None or time.monotonic() - self.saved < SECONDS:
            return
        if self.reduced():
            self.path.unlink(missing_ok=True)
            self.path = None
            return
        others = {"torch": torch.get_rng_state()}
        facts: dict[str, Any] = {"steps": steps, "traces": dict(self.traces)}
        if self.rng is not None:
            facts["rng"] = self.rng.bit_generator.state
        if guard is not None:
            facts["guard"], tensors = guard.state()
            others |= {f"{name}/{key}": value for name, state in tensors.items() for key, value in state.items()}
        try:
            save_state(self.path, self.modules, {"optimiser": optimiser}, facts, others)
        except OutputError as error:
            self.console.warn(f"the adaptation under way cannot be kept: {error}")
            self.path = None
        self.saved = time.monotonic()
