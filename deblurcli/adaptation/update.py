"""The inner loop that every adaptation runs: steps of an optimiser on pieces of one video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from deblurcli.adaptation.guard import Diverged, Guard, require_finite
from deblurcli.adaptation.outcome import Outcome, PreparedNetwork
from deblurcli.adaptation.unfinished import Unfinished
from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.errors import is_out_of_memory
from deblurcli.restore.tiles import release_memory
from deblurcli.restore.worker import Placed

GUARD_LOOKS, STEPS_BETWEEN = 3, 20
"""Times that a guard looks at the network, evenly spread over the steps, and the least steps between two looks."""

OUT_OF_MEMORY = "out of memory"

AVERAGED = 0.9
"""Decay of the moving average of the weights: single steps on single pieces swing about where they lead."""


def looks_within(steps: int) -> int:
    """How often a guard looks while so many steps are taken."""
    return max(1, min(GUARD_LOOKS, steps // STEPS_BETWEEN))


def update(
    optimiser: torch.optim.Optimizer,
    steps: int,
    losses: Callable[[int], Iterable[Tensor]],
    *,
    subject: str = "deblurring",
    task: str = "adapting",
    trace: list[float] | None = None,
    console: Reporter | None = None,
    smaller: Callable[[], bool] | None = None,
    guard: Guard | None = None,
    average: tuple[nn.Module, nn.Module] | None = None,
    unfinished: Unfinished | None = None,
) -> None:
    """Take ``steps`` steps down the sum of some losses.

    Args:
        losses: a step's number, from 0, to its losses (scalars). Each is computed when its turn comes, after the
            gradients of the one before are added up, so that only one is in memory.
        subject: the network that the losses are of, for messages.
        task: for the progress.
        trace: the sum of the losses of each step is appended to it.
        smaller: called when memory runs out. It makes the losses of every further step from smaller pieces, and the
            step is tried again; or it returns False, when there is nothing smaller. Without it the error is raised.
        guard: looks at its network up to :data:`GUARD_LOOKS` times, also after the last step, and ends the steps where
            it has become worse.
        average: a network, and the moving one whose weights it averages.
        unfinished: takes up what an interrupted run has left, and puts the steps down from time to time.

    Raises:
        Diverged: a loss or, where a guard looks, a weight is not finite; or memory has run out for good.
    """
    looks = looks_within(steps)
    first = 0 if unfinished is None else unfinished.taken_up(optimiser, guard)
    if console is not None and first < steps:
        console.progress(task, first, steps)  # a step may take long
    for step in range(first, steps):
        while (total := _summed_gradients(optimiser, losses(step), subject, smaller is not None)) is None:
            release_memory()
            if smaller is None or not smaller():
                raise Diverged(OUT_OF_MEMORY)
        optimiser.step()
        # Within an autocast around the loop, the next step would go on with the weights of this one.
        torch.clear_autocast_cache()
        if average is not None:
            update_average(*average, step, AVERAGED)
        if trace is not None:
            trace.append(total)
        if console is not None:
            console.progress(task, step + 1, steps)
        due = (step + 1) * looks // steps > step * looks // steps
        if guard is not None and due and not guard.look(step + 1):
            break
        if unfinished is not None:
            unfinished.put_down(step + 1, optimiser, guard)


def _summed_gradients(
    optimiser: torch.optim.Optimizer, losses: Iterable[Tensor], subject: str, retried: bool
) -> float | None:
    """The sum of the losses, whose gradients then lie in the parameters; None where memory ran out, if ``retried``."""
    optimiser.zero_grad()
    total = 0.0
    try:
        for loss in losses:
            require_finite(loss, subject)
            loss.backward()
            total += float(loss.detach())
    except (RuntimeError, MemoryError) as error:
        if retried and is_out_of_memory(error):
            optimiser.zero_grad()
            return None
        raise
    return total


@contextmanager
def undone_without_memory() -> Iterator[None]:
    """Raises :class:`Diverged` where memory runs out inside, after all that held it is gone."""
    failed = False
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        failed = True
    if failed:
        release_memory()
        raise Diverged(OUT_OF_MEMORY)


def undone(network: Placed, method: str, tile: str) -> PreparedNetwork:
    """The unadapted network, where memory has run out before a method could begin to learn, as in its survey."""
    release_memory()
    return PreparedNetwork(network, tile, Outcome(method, kept=False, reason=OUT_OF_MEMORY, work="a look at the video"))


def adaptation_device(device: Device) -> Device:
    """The device with the precision that a network adapts in: never float16, in which gradients underflow."""
    return device.limited_to(("fp32", "bf16"))


def set_dropout(network: nn.Module, active: bool) -> None:
    """Training mode where ``active``, else evaluation mode; norms never: the statistics they have stay as they are."""
    network.train(active)
    for module in network.modules():
        if isinstance(module, _NormBase):
            module.eval()


@torch.no_grad()
def update_average(average: nn.Module, current: nn.Module, iteration: int, decay: float = 0.999) -> None:
    """Move an exponential average of a network's weights towards the current ones; short memory at the start.

    The statistics of batch normalisation are averaged like the weights, and counters are copied: the average would
    otherwise normalise by the statistics of the start.
    """
    share = 1 - min(decay, (1 + iteration) / (10 + iteration))
    torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), share)
    for kept, buffer in zip(average.buffers(), current.buffers(), strict=True):
        if buffer.is_floating_point():
            kept.lerp_(buffer, share)
        else:
            kept.copy_(buffer)
