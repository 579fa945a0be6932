"""The training loop that every stage shares: crops from the ring, a step, a moving average, validation, checkpoints."""

from __future__ import annotations

import copy
import csv
import io
import math
import time
from typing import Any

from deblurcli.adaptation.update import update_average
from deblurcli.errors import InputError, OutputError, UsageError
from deblurcli.files import OutputFile, reason
from deblurcli.optimiser import rate_at, set_share, step_if_finite, warmup_length
from deblurcli.options.recipes import OURS
from deblurcli.options.training import TrainOptions
from deblurcli.train.checkpoint import settings
from deblurcli.train.curve import draw_curve
from deblurcli.train.recipe import Recipe, Setting
from deblurcli.train.validation import Measure, Scores
from deblurcli.weights.save import save_network
from deblurcli.weights.state import load_state, save_state

STATE = "state.safetensors"
"""The file in a run folder that holds all that a resume needs."""

LOG_FIELDS = ["iteration", "minutes", "rate", "loss"]
"""First columns of the log; the scores follow."""

MAX_BROKEN_LOSSES = 50
"""Iterations in a row without a finite loss before training gives up."""


def crop_plan(progress: float, batch: int, sizes: tuple[int, ...]) -> tuple[int, int]:
    """Crops and their size at this point of training: the last size takes the last quarter; pixels stay equal."""
    step = 0 if len(sizes) == 1 or progress < 0.75 else len(sizes) - 1
    size = sizes[step]
    return max(1, round(batch * sizes[0] ** 2 / size**2)), size


def progress_of(facts: dict[str, Any], options: TrainOptions) -> float:
    """The share of its budget that a run has used; 1 or more when it is finished."""
    if options.iterations:
        return facts["iteration"] / options.iterations
    return facts["seconds"] / (60 * options.minutes)


class Run:
    """A training run: its networks and optimisers, how far it has come, and how all of that goes to disk and back."""

    def __init__(self, recipe: Recipe, options: TrainOptions, setting: Setting) -> None:
        self.recipe, self.options, self.setting, self.regime = recipe, options, setting, options.regime
        self.peers, self.console = setting.peers, setting.worker.console
        self.module = recipe.trainee.module
        self.peers.start_alike(self.module.state_dict().values())
        self.average = copy.deepcopy(self.module).requires_grad_(False)
        self.modules = {"module": self.module, "average": self.average}
        self.optimisers = {"optimiser": recipe.optimiser}
        for name, companion in recipe.companions.items():
            self.peers.start_alike(companion.module.state_dict().values())
            self.modules[name] = companion.module
            self.optimisers[f"{name} optimiser"] = companion.optimiser
        self.modules |= recipe.kept
        self.facts: dict[str, Any] = {"iteration": 0, "seconds": 0.0, "curve": [], "seed": options.seed}
        self.state, self.log = options.out / STATE, options.out / "log.csv"

    @property
    def progress(self) -> float:
        """:func:`progress_of` this run."""
        return progress_of(self.facts, self.options)

    def begin(self) -> None:
        """Go on where the run folder says, or score the starting network and begin a log."""
        try:
            self.options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.options.out} cannot be made: {reason(error)}", "give another --out") from error
        if self.state.exists():
            self.facts, _ = load_state(self.state, self.modules, self.optimisers)
            minutes = self.facts["seconds"] / 60
            self.console.note(f"resuming {self.state} at iteration {self.facts['iteration']}, {minutes:.1f} minutes")
        elif self.peers.leads:
            self._require_room()
        self.facts["options"] = settings(self.options)
        tell = self.console.progress
        self.recipe.ring.advance(self.facts["iteration"], lambda done, total: tell("preparing crops", done, total))
        if self.facts["iteration"] == 0 and self.peers.leads:
            self.log.unlink(missing_ok=True)
            scores = self._scored(math.nan, 0.0)
            self.console.note(f"starts at {_told(scores, self.recipe.measure)}")

    def _require_room(self) -> None:
        """Raise UsageError where a new run would replace a file, other than the log of a run that ended at once."""
        names = [
            "curve.png",
            *self.recipe.files,
            *(f"{name}.safetensors" for name in (self.options.network, *self.recipe.companions)),
        ]
        found = next((path for name in names if (path := self.options.out / name).exists()), None)
        if found is None and self.log.exists():
            own = self.log.read_bytes().startswith(",".join(LOG_FIELDS).encode())
            found = None if own else self.log
        if found is not None:
            raise UsageError(f"{found} exists, but there is no {STATE} to go on from", "give another --out, or move it")

    def step(self) -> tuple[float, float]:
        """One iteration of every network. Returns the loss and the rate."""
        recipe, device, iteration = self.recipe, self.recipe.trainee.device, self.facts["iteration"]
        # A budget of minutes is as many iterations as it has been worth so far.
        total = self.options.iterations or (iteration / self.progress if self.progress else math.inf)
        pace = recipe.pace or self.regime.share
        if recipe.pace is None and self.regime.optimiser == OURS.optimiser:
            share = rate_at(self.progress, iteration, 1.0, warmup_length(total))
        else:
            share = pace(self.progress)
        for optimiser in self.optimisers.values():
            set_share(optimiser, share)
        count, size = crop_plan(self.progress, self.options.batch, self.options.crops)
        blurred, sharp = recipe.ring.batch(iteration, count, size, device.where)
        with device.autocast():
            loss = recipe.loss(self.module, blurred, sharp)
        recipe.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        recipe.ring.advance(iteration + 1)  # while a graphics card is busy with the gradients
        self.peers.average_gradients(self.module)
        found = float(loss.detach())  # before the step, which need not be waited for
        step_if_finite(recipe.optimiser, self.module, self.regime.clip)
        if self.regime.averaged:
            update_average(self.average, self.module, iteration)
        self.facts["iteration"] += 1
        return found, share * self.options.rate

    def checkpoint(self, losses: list[float], rate: float) -> None:
        """Validate the average, and write log, curve, weights and state."""
        if not self.peers.leads:
            return
        recipe, out, facts = self.recipe, self.options.out, self.facts
        if not self.regime.averaged:
            self.average.load_state_dict(self.module.state_dict())
        mean_loss = sum(losses) / max(len(losses), 1)
        scores = self._scored(mean_loss, rate)
        draw_curve(self.log, out / "curve.png", recipe.measure)
        card = {
            "command": self.setting.command,
            "data": str(recipe.material),
            "start": recipe.trainee.origin,
            "recipe": self.options.recipe,
            "seed": self.options.seed,
            "licence": "MIT",
            **recipe.origins,
            "iterations": facts["iteration"],
            "minutes": round(facts["seconds"] / 60, 1),
            **{name: round(score, 3) for name, score in scores.items()},
            "curve": facts["curve"][:: max(1, len(facts["curve"]) // 24)],
        }
        written, warning = recipe.written(self.average, scores)
        if warning:
            self.console.warn(warning)
        exported = {self.options.network: (written, recipe.trainee.config)}
        exported |= {name: (companion.module, companion.config) for name, companion in recipe.companions.items()}
        for name, (module, config) in exported.items():
            save_network(out / f"{name}.safetensors", module, network=name, config=config, card=card)
        save_state(self.state, self.modules, self.optimisers, facts)
        self.console.note(
            f"iteration {facts['iteration']}: loss {mean_loss:.5f}, {recipe.measure.words}"
            f" {_told(scores, recipe.measure)}"
        )

    def _scored(self, loss: float, rate: float) -> Scores:
        """The scores of the average, which become a row of the log and a point of the curve."""
        self.average.eval()
        scores = self.recipe.validate(self.average)
        row = [self.facts["iteration"], round(self.facts["seconds"] / 60, 2), rate, loss, *scores.values()]
        self.facts["curve"].append([row[0], row[1], round(scores[self.recipe.measure.name], 3)])
        text = io.StringIO(self.log.read_text() if self.log.exists() else "")
        text.seek(0, io.SEEK_END)
        table = csv.writer(text, lineterminator="\n")
        if not text.tell():
            table.writerow([*LOG_FIELDS, *scores])
        table.writerow([f"{value:.6g}" for value in row])
        with OutputFile(self.log, overwrite=True) as log:
            log.file.write(text.getvalue().encode())
        return scores


def train(recipe: Recipe, options: TrainOptions, setting: Setting) -> dict[str, Any]:
    """Train until the budget is spent; returns the facts of the run: iteration, seconds, curve, seed, options.

    A budget of iterations makes runs reproducible; a budget of minutes lets the schedule follow the clock. State, log
    and the averaged weights are written to ``options.out`` every few minutes and at the end, an interrupt included; at
    once where the recipe says that there is nothing to learn.

    Raises:
        InputError: the loss is not finite any more, or the state in ``options.out`` is damaged.
        UsageError: that state belongs to another network.
        OutputError: a file cannot be written.
    """
    run, peers, console = Run(recipe, options, setting), setting.peers, setting.worker.console
    run.begin()
    if recipe.futile:
        console.warn(f"{recipe.futile}; the network is written as it starts")
        run.checkpoint([], 0.0)
        return run.facts
    losses: list[float] = []
    facts, saved, rate = run.facts, run.facts["seconds"], 0.0
    clock = time.monotonic()
    run.module.train()
    try:
        while run.progress < 1:
            loss, rate = run.step()
            losses.append(loss)
            if len(losses) > MAX_BROKEN_LOSSES and not any(map(math.isfinite, losses[-MAX_BROKEN_LOSSES:])):
                raise InputError(f"the loss has not been finite for {MAX_BROKEN_LOSSES} iterations", "lower --rate")
            now = time.monotonic()
            facts["seconds"] = peers.agree(facts["seconds"] + now - clock)
            clock = now
            console.progress(setting.task, run.progress, 1.0, iteration=facts["iteration"], loss=loss)
            if facts["seconds"] - saved > 60 * options.save_every:
                run.checkpoint(losses, rate)
                losses, saved, clock = [], facts["seconds"], time.monotonic()
                run.module.train()
    finally:
        # An interrupt keeps what was learnt: the same path as the planned end.
        if losses:
            run.checkpoint(losses, rate)
    return facts


def _told(scores: Scores, measure: Measure) -> str:
    return f"{scores[measure.name]:.2f} {measure.unit} ({measure.reference} {scores[measure.nothing]:.2f})"
