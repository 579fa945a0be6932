"""Shares of the inputs, for machines that know nothing of each other: each finds its own by the paths alone."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deblurcli.errors import UsageError

_SAID = "give --shard I/N, such as 1/4"


@dataclass(frozen=True)
class Shard:
    """One of several shares of the inputs, counted from 1."""

    index: int
    count: int

    def holds(self, below: Path) -> bool:
        """Whether an input is in this share. ``below``: its path below the folder that was given, or its name.

        A share depends on nothing but that path, so that it is the same on every machine, wherever the folder lies
        there, and files that come or go move no other file into another share.
        """
        digest = hashlib.sha256(os.fsencode(below.as_posix())).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class Scheduler:
    """The variables by which a scheduler tells a task which one it is, empty where it does not."""

    name: str
    index: str
    first: str = ""
    """The index of the first task; a number where it is always that one."""
    last: str = ""
    step: str = ""
    count: str = ""


SCHEDULERS = (
    Scheduler(
        "SLURM",
        "SLURM_ARRAY_TASK_ID",
        *("SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP", "SLURM_ARRAY_TASK_COUNT"),
    ),
    Scheduler("Kubernetes", "JOB_COMPLETION_INDEX", "0"),
    Scheduler("AWS Batch", "AWS_BATCH_JOB_ARRAY_INDEX", "0", count="AWS_BATCH_JOB_ARRAY_SIZE"),
    Scheduler("Google Batch", "BATCH_TASK_INDEX", "0", count="BATCH_TASK_COUNT"),
    Scheduler("Cloud Run", "CLOUD_RUN_TASK_INDEX", "0", count="CLOUD_RUN_TASK_COUNT"),
    Scheduler("SGE", "SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
    Scheduler("LSF", "LSB_JOBINDEX", "1", "LSB_JOBINDEX_END", "LSB_JOBINDEX_STEP"),
    Scheduler("PBS", "PBS_ARRAY_INDEX", "1"),
    Scheduler("Torque", "PBS_ARRAYID", "1"),
)
"""In the order in which they are asked."""


def shard_of(text: str, variables: Mapping[str, str]) -> Shard:
    """The share that ``--shard`` names. ``variables``: the environment, for ``auto`` and ``auto/N``.

    With ``auto/N`` a scheduler must have N tasks, if it tells how many there are: a task that is submitted again alone
    would otherwise take all files for its own.

    Raises:
        UsageError: it is no share, or the scheduler does not tell which.
    """
    word, slash, number = text.partition("/")
    told = _whole(number) if slash else None
    if slash and not told:
        raise UsageError(f"--shard {text} is not a share", _SAID)
    if word == "auto":
        return _found(told, variables)
    index = _whole(word)
    if index is None or told is None:
        raise UsageError(f"--shard {text} is not a share", _SAID)
    if not 1 <= index <= told:
        raise UsageError(f"--shard {text} is not one of 1/{told} to {told}/{told}", _SAID)
    return Shard(index, told)


def _found(told: int | None, variables: Mapping[str, str]) -> Shard:
    """The share of the task that a scheduler has started. Raises UsageError."""
    each = next((one for one in SCHEDULERS if _is_array(one, variables)), None)
    if each is None:
        names = ", ".join(one.index for one in SCHEDULERS)
        raise UsageError(f"--shard auto: none of the variables of schedulers is set ({names})", _SAID)
    index, count = _whole(variables[each.index]), _whole(variables.get(each.count, ""))
    first = _whole(variables.get(each.first, each.first))
    last, step = _whole(variables.get(each.last, "")), _whole(variables.get(each.step, "")) or 1
    here = f"{each.index} is {variables[each.index]}"
    if index is None or first is None:
        raise UsageError(f"--shard auto: {here}, but {each.first or 'the first of them'} is not told", _SAID)
    if last is not None:
        by_range = (last - first) // step + 1
        if count not in (None, by_range):
            raise UsageError(f"--shard auto: {here}, but the tasks {first} to {last} have gaps", _SAID)
        count = by_range
    if count is None and told is None:
        found = f"--shard auto: {here}, but {each.name} does not tell how many there are"
        raise UsageError(found, "give their number: --shard auto/N")
    if count is not None and told not in (None, count):
        found = f"--shard auto/{told}: {each.name} has {count} task{'s' if count > 1 else ''} here"
        raise UsageError(found, f"give this task's share itself: --shard I/{told}")
    total = told or count or 0
    place, rest = divmod(index - first, step)
    if rest or not 0 <= place < total:
        raise UsageError(f"--shard auto: {here}, not one of {first} to {first + step * (total - 1)}", _SAID)
    return Shard(place + 1, total)


def _is_array(each: Scheduler, variables: Mapping[str, str]) -> bool:
    """Whether a task of this scheduler's arrays runs here; SGE and LSF set their variables for other tasks, too."""
    index = variables.get(each.index, "")
    return bool(index) and not (each.name in ("SGE", "LSF") and index in ("undefined", "0"))


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None
